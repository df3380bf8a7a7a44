"""Edits of a dataset, and the small drawn one to try them on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet.errors import Refusal
from train.dataset import Dataset
from train.drawn import SHAPES, draw
from train.edits import Edit, apply, edited, read_edits, to_json
from train.ingest import ingest


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder, per_class=6)
    return ingest(folder)


def labels(dataset: Dataset) -> dict[str, str]:
    return {image.name: image.label for image in dataset.images}


def test_shapes_in_colours_the_same_for_a_seed(drawn: Dataset, tmp_path: Path) -> None:
    assert drawn.classes == tuple(sorted(SHAPES)) and len(drawn.images) == 6 * len(SHAPES)
    assert not drawn.report.exact and not drawn.report.left_out.unreadable
    for seed, same in ((0, True), (1, False)):
        draw(tmp_path / str(seed), per_class=6, seed=seed)
        files = sorted((tmp_path / str(seed)).rglob("*.png"))
        pairs = [(file.read_bytes(), image.path.read_bytes()) for file, image in zip(files, drawn.images, strict=True)]
        assert all(one == other for one, other in pairs) == same


def test_nothing_but_the_shape_tells_the_class(tmp_path: Path) -> None:
    """Mean colours and inked areas of the classes overlap: no class is found by them alone."""
    draw(tmp_path, per_class=60)
    means = {
        name: np.array([np.asarray(Image.open(file)).mean() for file in sorted((tmp_path / name).iterdir())])
        for name in SHAPES
    }
    for one in means.values():
        for other in means.values():
            assert abs(one.mean() - other.mean()) < 0.7 * min(one.std(), other.std())


def test_edits_apply_in_order_and_can_be_taken_back(drawn: Dataset) -> None:
    before = labels(drawn)
    edits = (Edit("circle/000.png"), Edit("star/001.png", "square"), Edit("star/002.png", "moon"))
    after = edited(drawn, edits)
    assert labels(after) == {
        name: {"star/001.png": "square", "star/002.png": "moon"}.get(name, label)
        for name, label in before.items()
        if name != "circle/000.png"
    }
    assert "moon" in after.classes and after.report.images == drawn.report.images - 1
    assert labels(edited(drawn, edits[1:])) == labels(edited(drawn, (*edits, Edit("circle/000.png", "circle"))))
    assert edited(drawn, ()) is drawn
    assert to_json(edits)[1] == {"name": "star/001.png", "label": "square"}


def test_of_an_image_that_was_edited_twice_the_last_edit_counts(drawn: Dataset) -> None:
    name = "star/001.png"
    assert name not in labels(edited(drawn, (Edit(name, "square"), Edit(name))))
    assert labels(edited(drawn, (Edit(name), Edit(name, "square"))))[name] == "square"


def test_an_image_that_is_not_there_is_no_edit(drawn: Dataset) -> None:
    for edit in (Edit("star/999.png"), Edit("star/999.png", "circle")):
        with pytest.raises(KeyError):
            edited(drawn, (edit,))


def test_edits_are_read_as_they_were_written(drawn: Dataset, tmp_path: Path) -> None:
    edits = (Edit("circle/000.png"), Edit("star/001.png", "正方形"), Edit("star/002.png", "正方形"))
    file = tmp_path / "edits.json"
    file.write_text(json.dumps(to_json(edits)), "utf-8")
    assert read_edits(file) == edits
    assert labels(apply(drawn, read_edits(file))) == labels(edited(drawn, edits))


def test_a_class_is_called_as_in_a_folder(drawn: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "edits.json"
    file.write_text(json.dumps([{"name": "star/001.png", "label": "\u3000my\u00a0\u202esquare\ud83d"}]))
    assert read_edits(file) == (Edit("star/001.png", "my square\N{REPLACEMENT CHARACTER}"),)
    json.dumps(to_json(read_edits(file)), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "[[]]", '[{"name": 1}]', '[{"label": "x"}]', '[{"name": "a", "label": 2}]', "[" * 100_000,
     '[{"name": "a", "label": " "}]', '[{"name": "a", "label": "\u200b"}]',
     f'[{{"name": "a", "label": "{"x" * 1001}"}}]', "\x00"],
)  # fmt: skip
def test_what_is_no_list_of_edits_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "edits.json").write_text(text)
    with pytest.raises(Refusal, match=r"edits\.json holds no edits"):
        read_edits(tmp_path / "edits.json")


def test_no_file_of_edits_and_edits_of_another_dataset_are_refused(drawn: Dataset, tmp_path: Path) -> None:
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(Refusal, match="no file"):
            read_edits(missing)
    with pytest.raises(Refusal, match=r"no image ants/1\.jpg in drawn"):
        apply(drawn, (Edit("ants/1.jpg"),))
    everything = [Edit(name) for name, label in labels(drawn).items() if label != "star"]
    with pytest.raises(Refusal, match="only one class, star"):
        apply(drawn, everything)

"""``python -m train evaluate``: the figures of the run that made the model, and what Classify says, counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics

from resnet.photos import find_photos
from tests.pictures import jpeg
from train.__main__ import main
from train.drawn import draw
from train.job import Job
from train.run import run
from weights.checkpoint import Checkpoint, read_folder, write_folder


@pytest.fixture
def model(make_job: Callable[..., Job]) -> Path:
    """Trained on the shapes without a third of them."""
    job = make_job("head")
    list(run(job))
    return job.out


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The shapes that it was trained on and judged by."""
    draw(tmp_path / "shapes", per_class=10)
    return tmp_path / "shapes"


def measured(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_the_part_kept_apart_has_the_figures_of_the_run(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads((model / "metrics.json").read_text())
    found = measured(capsys, photos, "--model", model, "--part", "val", "--val", 0.3)
    for key in ("photos", "accuracy", "macro", "classes", "confusion", "none_of_these", "calibration"):
        assert found[key] == told[key], key
    assert [one["file"] for one in found["mistakes"]] == [one["file"] for one in told["mistakes"]]
    assert found["stored_temperature"]["temperature"] == told["calibration"]["temperature"]


def test_all_photos_as_scikit_learn_counts_them(model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = read_folder(model).classifier("cpu")
    paths = [photo.path for photo in find_photos([photos])]
    rows = classifier.predict(paths, top_k=1)
    true = [path.parent.name for path in paths]
    named = [row.predictions[0].label for row in rows]
    found = measured(capsys, photos, "--model", model, "--others", photos)
    assert found["photos"] == 40 and found["accuracy"]["value"] == sklearn.metrics.accuracy_score(true, named)
    matrix = sklearn.metrics.confusion_matrix(true, named, labels=list(classifier.label_names))
    assert found["confusion"] == matrix.tolist()
    flagged = sum(row.verdict == "none" for row in rows)
    assert found["others"][str(photos)]["right"] == found["none_of_these"]["flagged"]["right"] == flagged
    capsys.readouterr()
    assert main(["evaluate", str(photos), "--model", str(model), "--others", str(photos)]) == 0
    said = capsys.readouterr().out
    assert f"Accuracy on 40 photos: {100 * found['accuracy']['value']:.1f} %" in said and "energy under" in said


def test_a_test_part_some_classes_and_a_photo_that_cant_be_read(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(folder.name for folder in photos.iterdir())
    for name in names[:2]:
        (tmp_path / "parts" / "train").mkdir(parents=True, exist_ok=True)
        shutil.copytree(photos / name, tmp_path / "parts" / "train" / name)
        for file in sorted((photos / name).iterdir())[:3]:
            (tmp_path / "parts" / "test" / name).mkdir(parents=True, exist_ok=True)
            file.rename(tmp_path / "parts" / "test" / name / file.name)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "broken.jpg").write_bytes(jpeg(1)[:200])
    arguments = (tmp_path / "parts", "--model", model, "--part", "test", "--others", tmp_path / "other")
    found = measured(capsys, *arguments, code=1)
    assert found["photos"] == 6 and found["others"][str(tmp_path / "other")]["total"] == 0


def test_refusals(model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = read_folder(model)
    config = checkpoint.config.with_classes(0)
    state = {key: value for key, value in checkpoint.state_dict.items() if not key.startswith("fc.")}
    write_folder(Checkpoint(config, state, checkpoint.preprocess, ()), tmp_path / "base")
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    next(iter(other.iterdir())).rename(other / "unheard-of")
    for arguments, said in (
        ((photos, "--model", tmp_path / "base"), "names no classes"),
        ((other, "--model", model), "unheard-of is none of the classes"),
        ((photos, "--model", model, "--part", "test"), "holds no test part"),
    ):
        capsys.readouterr()
        assert main(["evaluate", *map(str, arguments)]) == 2
        assert said in capsys.readouterr().err

"""From a dataset to a folder that everybody reads: our own reader, timm, the terminal; and what can go wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from resnet.errors import Refusal
from resnet.preprocess import Preprocess
from tests.waiting import PATIENCE_S
from train import saving
from train.__main__ import main
from train.cache import ROOM, Shelf, Skipped, decode, planned_bytes, smaller
from train.dataset import Dataset, make_dataset
from train.drawn import draw
from train.edits import EDITS, Edit, edited, read_edits
from train.events import Baseline, Event, Finished, Fitted, Unwritten
from train.events import Skipped as SkippedEvent
from train.ingest import ingest
from train.job import Job
from train.report import Report
from train.run import run
from train.split import split
from weights.checkpoint import Checkpoint, Source, read_folder

ROOT = Path(__file__).resolve().parents[2]


def finished(events: list[Event]) -> Finished:
    (found,) = [event for event in events if isinstance(event, Finished)]
    return found


@pytest.mark.parametrize("method", ["head", "all"])
def test_the_folder_is_what_was_measured(method: str, make_job: Callable[..., Job]) -> None:
    job = make_job(method)
    found = finished(list(run(job)))
    checkpoint = read_folder(found.folder)
    assert checkpoint.label_names == job.dataset.classes and checkpoint.license == "mit"
    assert checkpoint.temperature == found.report.calibration.temperature and checkpoint.rule == found.report.rule
    assert Report.from_json(json.loads((found.folder / "metrics.json").read_text())) == found.report
    indices = json.loads((found.folder / "class_indices.json").read_text())
    assert indices == {str(index): name for index, name in enumerate(job.dataset.classes)}
    # Named once more, from the files: the same answers to the last one.
    classifier = checkpoint.classifier("cpu")
    images = {image.name: image for image in job.dataset.images}
    rows = classifier.predict([images[name].path for name in found.answers], top_k=1)
    assert [row.predictions[0].index for row in rows] == [named for _, named in found.answers.values()]
    mistakes = {one.file: one.probability for one in found.report.mistakes}
    for name, row in zip(found.answers, rows, strict=True):
        if name in mistakes:
            assert row.predictions[0].probability == pytest.approx(mistakes[name], abs=1e-6)
    assert sum(true == named for true, named in found.answers.values()) == found.report.accuracy.right
    card = (found.folder / "README.md").read_text()
    assert "library_name: timm" in card and method in card and "95 %" in card


def test_timm_gives_the_same_logits(make_job: Callable[..., Job]) -> None:
    found = finished(list(run(make_job("all", epochs=1))))
    checkpoint = read_folder(found.folder)
    theirs = timm.create_model(f"local-dir:{found.folder}", pretrained=True).eval()
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(batch), checkpoint.network()(batch), atol=1e-4, rtol=1e-4)


def test_the_better_of_training_and_baseline_is_kept(make_job: Callable[..., Job]) -> None:
    """A learning rate that ruins everything: the baseline is what one leaves with, and it is said."""
    events = list(run(make_job("all", epochs=1, learning_rate=5.0, ema=0)))
    found = finished(events)
    (baseline,) = [event for event in events if isinstance(event, Baseline)]
    assert found.kept == "baseline" and found.report.accuracy.right >= baseline.accuracy.right - 1


def test_a_test_part_has_no_say_and_is_what_is_reported(shapes: Dataset, make_job: Callable[..., Job]) -> None:
    """Labels of the test part are turned upside down: nothing but the report may notice."""
    parts = ("train", "train", "train", "val", "test")
    images = [replace(image, split=parts[index % 5]) for index, image in enumerate(shapes.images)]
    after = dict(zip(shapes.classes, (*shapes.classes[1:], shapes.classes[0]), strict=True))
    turned = [replace(one, label=after[one.label]) if one.split == "test" else one for one in images]
    jobs = []
    for number, some in enumerate((images, turned)):
        dataset = make_dataset(some, name="shapes")
        job = make_job("all", epochs=2, image_size=64)
        jobs.append(replace(job, dataset=dataset, split=split(dataset), out=job.out / str(number)))
    first, second = (finished(list(run(job))) for job in jobs)
    held = {image.name for image in images if image.split == "test"}
    assert set(first.answers) == set(second.answers) == held
    for found in (first, second):
        assert found.report.photos == len(held) and not found.report.chosen
        assert "on these same photos" not in (card := (found.folder / "README.md").read_text())
        assert "| photos | train | val | test |" in card and "split: test" in card
    assert first.kept == second.kept
    weights, other = (read_folder(found.folder).state_dict for found in (first, second))
    assert all(torch.equal(weights[key], other[key]) for key in weights)
    assert first.report.accuracy != second.report.accuracy


def test_without_a_test_part_it_is_said_that_the_photos_took_part_in_the_choice(make_job: Callable[..., Job]) -> None:
    found = finished(list(run(make_job("head", views=1))))
    assert found.report.chosen and "chosen on these same photos" in (found.folder / "README.md").read_text()
    assert json.loads((found.folder / "metrics.json").read_text())["chosen_on_these_photos"] is True


def test_edits_are_kept_beside_the_model(shapes: Dataset, make_job: Callable[..., Job]) -> None:
    edits = (Edit(shapes.images[0].name), Edit(shapes.images[1].name, "star"))
    dataset = edited(shapes, edits)
    job = replace(make_job("head", views=1), dataset=dataset, split=split(dataset, 0.3), edits=edits)
    found = finished(list(run(job)))
    assert read_edits(found.folder / EDITS) == edits
    card = (found.folder / "README.md").read_text()
    assert "Changed by hand (2" in card and "moved to star" in card and "left out" in card
    again = finished(list(run(make_job("head", views=1, out=job.out / "plain"))))
    assert not (again.folder / EDITS).exists() and "Changed by hand" not in (again.folder / "README.md").read_text()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("odd"), KeyError("odd")])
@pytest.mark.parametrize("what", ["card", "to_json"])
def test_a_model_is_never_lost_for_what_is_written_beside_it(
    what: str, error: Exception, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr(*(saving, "card") if what == "card" else (Report, "to_json"), fail)
    events = list(run(make_job("head", views=1)))
    file = "README.md" if what == "card" else "metrics.json"
    (refusal,) = [event.refusal for event in events if isinstance(event, Unwritten)]
    reason = "No space left on device" if isinstance(error, OSError) else type(error).__name__
    assert str(refusal).startswith(f"{file} could not be written ({reason}); the model itself is complete")
    found = finished(events)
    assert {"README.md", "metrics.json"} - {one.name for one in found.folder.iterdir()} == {file}
    assert read_folder(found.folder).label_names == found.report.names


def test_names_that_are_no_text_lose_no_model(make_job: Callable[..., Job], shapes: Dataset) -> None:
    """Of a zip on the command line, and of a base."""
    job = make_job("head", views=1)
    base = replace(job.base, source=Source("b\udcffse", path=Path("b\udcffse"))) if job.base else None
    events = list(run(replace(job, dataset=replace(shapes, name="sh\udcffpes"), name="n\udcffme", base=base)))
    assert not [event for event in events if isinstance(event, Unwritten)]
    assert read_folder(finished(events).folder).label_names == shapes.classes


def test_a_photo_that_breaks_is_skipped_counted_and_named(
    tmp_path: Path, tiny: Checkpoint, make_job: Callable[..., Job]
) -> None:
    draw(tmp_path / "data", per_class=8)
    dataset = ingest(tmp_path / "data")
    parts = split(dataset, 0.3)
    victims = [dataset.images[parts.train[0]], dataset.images[parts.val[0]]]
    victims[0].path.write_bytes(b"\x89PNG\r\n\x1a\n broken meanwhile")
    victims[1].path.unlink()
    events = list(run(replace(make_job("all", epochs=1), dataset=dataset, split=parts)))
    skipped = [event.name for event in events if isinstance(event, SkippedEvent)]
    assert skipped == [one.name for one in victims]
    assert finished(events).report.photos == len(parts.val) - 1
    assert all(one.name in (finished(events).folder / "README.md").read_text() for one in victims)


def test_a_class_that_breaks_is_a_refusal(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    draw(tmp_path / "data", per_class=4)
    dataset = ingest(tmp_path / "data")
    shutil.rmtree(tmp_path / "data/star")
    with pytest.raises(Refusal, match="No photo of star"):
        list(run(replace(make_job("head"), dataset=dataset, split=split(dataset, 0.3))))


def test_with_nothing_left_to_judge_by_there_is_no_training(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    draw(tmp_path / "data", per_class=4)
    dataset = ingest(tmp_path / "data")
    parts = split(dataset, 0.3)
    for index in parts.val:
        dataset.images[index].path.unlink()
    with pytest.raises(Refusal, match="nothing could be judged"):
        list(run(replace(make_job("all"), dataset=dataset, split=parts)))


def test_a_folder_that_can_not_be_made_is_named_before_anything_is_read(
    tmp_path: Path, make_job: Callable[..., Job]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="can't be written"):
        next(run(make_job("all", out=tmp_path / "file/out")))


def test_without_a_base_there_is_scratch_alone(make_job: Callable[..., Job]) -> None:
    with pytest.raises(Refusal, match="needs a base"):
        list(run(replace(make_job("all"), base=None)))


def test_scratch_begins_with_nothing_that_was_learnt(make_job: Callable[..., Job], tiny: Checkpoint) -> None:
    events = list(run(make_job("scratch", epochs=1)))
    assert not [event for event in events if isinstance(event, Baseline)]
    (fitted,) = [event for event in events if isinstance(event, Fitted)]
    assert not torch.allclose(fitted.state_dict["conv1.weight"], tiny.state_dict["conv1.weight"], atol=0.05)
    assert finished(events).report.baseline is None


def test_a_cache_on_disk_holds_what_one_in_memory_does(shapes: Dataset, tmp_path: Path, make_job: Any) -> None:
    here, there = Shelf(10**9, 10**9), Shelf(10**9, 0, tmp_path)
    assert not here.on_disk and there.on_disk
    for one in decode(shapes.images, Preprocess(size=64), 64):
        assert not isinstance(one, Skipped)
        here.add(one.photo)
        there.add(one.photo)
    assert len(here) == len(there) == len(shapes.images)
    for index in range(len(here)):
        np.testing.assert_array_equal(here[index], there[index])
    assert sum(here[index].size for index in range(len(here))) <= planned_bytes(shapes.images, 64)
    assert not list(tmp_path.iterdir()), "the file has no name, so nothing is left behind"
    in_memory, on_disk = (
        finished(list(run(replace(make_job("all", epochs=1), memory=memory)))) for memory in (10**9, 0)
    )
    assert in_memory.report == on_disk.report


@pytest.mark.parametrize(("width", "height"), [(1000, 500), (40, 30), (4000, 100), (100, 4000), (300, 300)])
def test_a_cached_photo_keeps_its_aspect_and_stays_small(width: int, height: int) -> None:
    found = smaller(Image.new("RGB", (width, height)), 64)
    wish = round(64 * ROOM)
    if min(width, height) <= wish:
        assert found.size == (width, height)
    elif max(width, height) < 4 * min(width, height):
        assert min(found.size) == wish and found.width / found.height == pytest.approx(width / height, rel=0.02)
    assert max(found.size) <= max(4 * wish, 40) or min(width, height) <= wish


# -- the terminal ------------------------------------------------------------------------------------------------------


def terminal(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "train", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_a_zip_to_a_model_in_one_command(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    draw(tmp_path / "shapes", per_class=6)
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as file:
        for image in sorted((tmp_path / "shapes").rglob("*.png")):
            file.write(image, image.relative_to(tmp_path))
    done = terminal("shapes.zip", "--method", "head", "--views", "1", "--image-size", "64", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("4 classes, 20 images to learn from", "Baseline after", "95 % interval", "precision", "shapes-head"):
        assert words in done.stdout, done.stdout
    assert read_folder(tmp_path / "shapes-head").preprocess.size == 64
    assert "chosen on these" in done.stdout
    code, _, said = command(main, "shapes.zip", "--method", "head", cwd=tmp_path)
    assert code == 2 and "is not empty" in said
    (tmp_path / "edits.json").write_text('[{"name": "circle/000.png"}, {"name": "star/001.png", "label": "square"}]')
    words = ["shapes.zip", "--method", "head", "--views", "1", "--image-size", "64", "--out", "edited"]
    code, changed, said = command(main, *words, "--edits", "edits.json", cwd=tmp_path)
    assert code == 0, said
    assert [one.name for one in read_edits(tmp_path / "edited/edits.json")] == ["circle/000.png", "star/001.png"]
    assert sum(map(int, re.findall(r"(\d+) (?:images to learn|kept apart)", changed))) == 23, changed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.zip"], "There is no nothing.zip"),
        (["."], "holds no images"),
        (["shapes", "--minutes", "-1"], "time budget"),
        (["shapes", "--batch-size", "1"], "batch size"),
        (["shapes", "--ema", "2"], "average of the weights"),
        (["shapes", "--val", "nan"], "not a number between 0 and 1"),
        (["shapes", "--device", "tpu"], "no device 'tpu'"),
        (["shapes", "--edits", "none.json"], "no file none.json"),
        (["shapes", "--base", "no-such-model"], "no-such-model"),
        (["shapes", "--method", "lora"], "invalid choice"),
        (["shapes", "--minutes", "1", "--epochs", "2"], "not allowed with"),
        (["split", "shapes"], "--out"),
        ([], "DATA"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, words: list[str], said: str, command: Callable[..., tuple[int, str, str]]
) -> None:
    if words[:1] != ["."]:
        draw(tmp_path / "shapes", per_class=3)
    code, _, told = command(main, *words, cwd=tmp_path)
    assert code == 2 and said in told and "Traceback" not in told


def test_what_is_wrong_is_said_by_a_process_too(tmp_path: Path) -> None:
    done = terminal("nothing.zip", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no nothing.zip" in done.stderr and done.stderr.count("\n") == 1

"""A run's panel in each of its states, and its curves."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest
import torch

from resnet.config import ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.dataset import Dataset
from train.drawn import draw
from train.edits import Edit
from train.events import (
    Advanced,
    Baseline,
    BatchHalved,
    Epoch,
    Event,
    Finished,
    Lent,
    Resumed,
    Skipped,
    Started,
    Step,
    Unwritten,
)
from train.ingest import ingest
from train.methods import METHODS, Method
from train.recipe import choose
from train.report import report
from train.shares import Share
from train.training import add_arguments
from ui.answers import progress
from ui.curves import curves, smoothed
from ui.jobs import View
from ui.models import Models
from ui.report_view import MISTAKES
from ui.training import Result, command_of, panel, result, runs_table
from ui.visits import Run
from weights.checkpoint import Checkpoint, write_folder

RUN = Run("secret-of-the-job", 2, "owner/<b>name</b>", "all", 5.0, "<i>mine</i>", 1234)


def events(epochs: int = 3) -> list[Event]:
    told: list[Event] = [Started("read", 10), Advanced("read", 10, 10, 50.0), Baseline(Share(80, 100), 0.1, 7.5)]
    for epoch in range(1, epochs + 1):
        for step in range(10):
            progress = ((epoch - 1) * 10 + step + 1) / (10 * epochs)
            told.append(Step(epoch, progress, 1 / epoch, 1e-4, 18.0, 100 * (1 - progress)))
        told.append(Epoch(epoch, 1 / epoch, 1.2 / epoch, 0.8 + 0.03 * epoch, 1e-4, 20.0, True))
    return told


def test_strangers_words_and_secrets() -> None:
    for view in (View("waiting", 3), View("running", 0, tuple(events())), View("done", 0, tuple(events()), None, 61.0)):
        text = panel(view, RUN) + runs_table([(RUN, view, None)])
        assert "<b>name" not in text and "<i>mine" not in text and "secret-of-the-job" not in text
        assert "1,234" in text


def test_each_state_is_told() -> None:
    assert "3 before it" in panel(View("waiting", 3), RUN) and "前面有 3 个" in panel(View("waiting", 3), RUN)
    running = panel(View("running", 0, tuple(events(1)), None, 30.0, True), RUN)
    assert "epoch 1" in running and "18 images a second" in running and "Stopping" in running
    assert "First model after 7.5 s: 80.0 %" in running and "95 % interval 71.1 to 86.7" in running
    assert "Done after 1:01" in panel(View("done", 0, tuple(events()), None, 61.0), RUN)
    assert "Stopped after 1:01" in panel(View("stopped", 0, tuple(events()), None, 61.0), RUN)
    failed = panel(View("failed", 0, (), Refusal("data.none", "Bring the <zip>.")), RUN)
    assert "Bring the &lt;zip&gt;" in failed and "请重新上传" in failed
    assert 'role="alert"' in panel(View("failed"), RUN)
    assert panel(None, RUN) == panel(View("done"), None) == runs_table([]) == ""


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Started("read", 5), "Reading photos"),
        (Advanced("views", 4, 8, 20.0), "4 of 8 photos, 20 a second, about 0:00 left"),
        (Started("baseline"), "first model"),
        (Started("measure"), "Measuring"),
        (Started("write"), "Writing"),
    ],
)
def test_each_phase_has_words(event: Event, words: str) -> None:
    assert words in panel(View("running", 0, (event,)), RUN)


def test_what_went_wrong_on_the_way_is_told() -> None:
    skipped = [Skipped(f"{number}.jpg", f"{number}<.jpg is broken.", "image.broken") for number in range(7)]
    text = panel(View("running", 0, (*events(1), BatchHalved(8), *skipped)), RUN)
    assert (
        "8 photos at a time" in text and "0&lt;.jpg is broken." in text and "5&lt;" not in text and "and 2 more" in text
    )


def test_an_interruption_says_why_and_what_is_kept() -> None:
    refusal = Refusal("loan.quota_wait", "Your quota is used up; go on in {wait}.", wait="1:00:00")
    told = (*events(1), Lent("NVIDIA <H200>", 42))
    text = panel(View("interrupted", 0, told, refusal, 61.0), RUN)
    assert "go on in 1:00:00" in text and "请在 1:00:00" in text and "before there was a model" in text
    assert "Loans of a GPU so far: 1" in text and "for 42 s at most (NVIDIA &lt;H200&gt;)" in text
    assert "interrupted" in runs_table([(RUN, View("interrupted", 0, told, refusal), None)])


def test_what_was_lost_is_not_drawn_twice() -> None:
    told = events(3)
    cut = next(number for number, event in enumerate(told) if isinstance(event, Epoch) and event.number == 2) + 1
    again = [*told[: cut + 4], Resumed(2, 20 / 30), *told[cut:]]  # four steps were lost
    assert panel(View("done", 0, tuple(again)), RUN) == panel(View("done", 0, tuple(told)), RUN)
    again = [*told[:cut], Resumed(2, 20 / 30), *told[cut:]]
    assert panel(View("done", 0, tuple(again)), RUN) == panel(View("done", 0, tuple(told)), RUN)


def test_curves_have_a_point_for_each_epoch_and_a_line_for_the_baseline() -> None:
    assert curves(events(0), "", "", "") == ""
    drawn = curves(events(), "loss", "accuracy", "first")
    first, second = (ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", drawn))
    assert len(list(first.iter("circle"))) == len(list(second.iter("circle"))) == 3
    heights = [float(one.get("cy") or "nan") for one in second.iter("circle")]
    assert heights == sorted(heights, reverse=True), "better is higher"
    heights = [float(one.get("cy") or "nan") for one in first.iter("circle")]
    assert heights == sorted(heights), "a falling loss falls"
    assert [one.get("class") for one in second.iter("path")].count("base") == 1 and "80.0 %" in drawn
    for root in (first, second):
        width, height = map(float, (root.get("viewBox") or "").split()[2:])
        for one in root.iter("circle"):
            assert 0 <= float(one.get("cx") or -1) <= width and 0 <= float(one.get("cy") or -1) <= height
        (last,) = (one for one in root.iter("text") if one.get("class") == "last")
        line = next(one for one in root.iter("polyline") if one.get("points"))
        ends = line.get("points", "").split()[-1].split(",")
        assert abs(float(last.get("x", "nan")) - float(ends[0])) < 10, "it stands beside the point that it is of"
        assert abs(float(last.get("y", "nan")) - float(ends[1])) < 20 and 10 < float(last.get("y", "nan")) < height
    places = [float(one.get("cx") or "nan") for one in second.iter("circle")]
    curves_of_more = curves(events()[:-11], "", "", "")
    assert [f'cx="{place:.1f}"' in curves_of_more for place in places] == [True, True, False], (
        "points stay where they are"
    )


def test_smoothing_begins_at_the_first_value() -> None:
    assert smoothed([2.0])[0] == pytest.approx(2.0)
    assert smoothed([1.0] * 50)[-1] == pytest.approx(1.0)
    assert 0 < smoothed([0.0] * 10 + [1.0])[-1] < 0.5


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Dataset, Finished]:
    """Drawn shapes, one of an odd name, and a model that knows nothing of them, in a folder."""
    draw(tmp_path / "data", per_class=4)
    (tmp_path / "data" / "star").rename(tmp_path / "data" / "st\u00adar\u3000👨\u200d👩")
    dataset = ingest(tmp_path / "data")
    assert "star 👨\u200d👩" in dataset.classes
    config = ResNetConfig("basic", (1, 1, 1, 1)).with_classes(4)
    checkpoint = Checkpoint(config, ResNet(config).state_dict(), Preprocess(size=32), dataset.classes)
    write_folder(checkpoint, tmp_path / "model")
    logits, targets = torch.eye(4).roll(1, 0)[list(dataset.targets)], torch.tensor(dataset.targets)
    names = [image.name for image in dataset.images]
    found = report(logits, targets, dataset.classes, names, majority_train=0)
    answers = {name: (int(true), int(row.argmax())) for name, true, row in zip(names, targets, logits, strict=True)}
    return dataset, Finished(found, "trained", tmp_path / "model", answers, 1.0, None)


CPU = cast("Models", SimpleNamespace(device="cpu"))


def test_a_result_is_the_model_and_pictures_of_its_mistakes(trained: tuple[Dataset, Finished]) -> None:
    (found,) = result(*trained, CPU)
    assert isinstance(found, Result) and found.archive is not None and found.archive.is_file()
    assert len(found.overlays) == min(MISTAKES, len(found.report.mistakes)) > 0


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("shutil.make_archive", "model.zip could not be written (OSError)"),
        ("ui.training.grad_cam", "could not be drawn"),
    ],
)
def test_a_result_outlives_what_could_not_be_made_of_it(
    broken: str, said: str, trained: tuple[Dataset, Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(broken, fail)
    warned, found = result(*trained, CPU)
    assert isinstance(warned, Unwritten) and said in str(warned.refusal)
    assert isinstance(found, Result) and found.folder.is_dir()
    assert (found.archive is None) == ("archive" in broken) and (not found.overlays) == ("grad" in broken)
    view = View("done", 0, (warned, found), None, 61.0)
    assert said in panel(view, RUN)
    told = progress(view, "run:x")
    assert told["events"] == [{"event": "unwritten", "refusal": str(warned.refusal)}] and told["metrics"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [{"minutes": 2.5}, {"epochs": 7}], ids=str)
def test_the_command_on_a_card_trains_the_same(method: Method, length: dict[str, float]) -> None:
    """Read by the terminal's own options, it gives the same recipe."""
    wishes: dict[str, Any] = {"seed": 5, "batch_size": 8, "learning_rate": 3e-4, "image_size": 96, **length}
    recipe = choose(method, 90, **wishes)
    words = shlex.split(command_of("own er/x;y", recipe, 0.25, (Edit("a.jpg"),)))
    assert words[:4] == ["python", "-m", "train", "DATA"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(words[3:])
    assert (args.base, args.method, args.val, args.edits) == ("own er/x;y", method, 0.25, "edits.json")
    again = choose(
        args.method, 90, minutes=args.minutes, epochs=args.epochs, batch_size=args.batch_size, learning_rate=args.lr,
        image_size=args.image_size, seed=args.seed,
    )  # fmt: skip
    assert again == recipe

"""A run on the page: the work of its job, and what its panel says while it goes on and when it is over."""

from __future__ import annotations

import itertools
import logging
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from resnet.classifier import Classifier
from resnet.errors import Refusal
from resnet.explain import grad_cam
from resnet.preprocess import open_image
from train.dataset import Dataset
from train.edits import EDITS, Edit
from train.ends import Ends
from train.events import (
    Advanced,
    Baseline,
    BatchHalved,
    Epoch,
    Event,
    Finished,
    Fitted,
    Interrupted,
    Lent,
    Resumed,
    Seen,
    Skipped,
    Started,
    Step,
    Unwritten,
    clock,
)
from train.job import Job
from train.loan import Lender
from train.recipe import Recipe
from train.report import Report
from train.run import run
from train.saving import device_name, missing
from train.split import split
from ui import jobs
from ui.curves import curves
from ui.drawing import data_uri, overlay
from ui.jobs import Stop, View
from ui.listing import plain_table
from ui.models import Models
from ui.report_view import MISTAKES, Answer, interval, share_text
from ui.texts import Markup, alert, both, plain, sentence
from ui.visits import Run
from weights.checkpoint import read_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a run leaves behind: its report, the photos it was judged on, and the model as a zip."""

    report: Report
    kept: str
    answers: tuple[Answer, ...]
    overlays: dict[str, tuple[str, str]]
    folder: Path
    archive: Path | None
    seconds: float


def work(
    dataset: Dataset, base: str, choose_recipe: Callable[[int], Recipe], share: float, folder: Path, models: Models,
    name: str, lender: Lender | None = None, edits: tuple[Edit, ...] = (),
    keep: Callable[[Seen], None] = lambda _: None, minutes: float | None = None,
) -> Callable[[Stop], Iterator[Any]]:  # fmt: skip
    """The work of a job: load the base, train, show its mistakes, pack the model.

    Called again after it was interrupted, it goes on from the state in its folder.

    Args:
        dataset: with its edits.
        base: a model's name, as in Classify.
        choose_recipe: number of training photos -> recipe.
        share: of each class that is kept apart, where no part was given.
        folder: of the run.
        models: knows where bases come from.
        name: of the model.
        lender: of devices to train on, where this process has none.
        edits: of the dataset, to be kept beside the model.
        keep: told what the base saw in the photos.
        minutes: that a run may take, whatever its recipe says.
    """

    def events(stop: Stop) -> Iterator[Any]:
        yield Started("read")
        ends = Ends(stop, minutes)
        checkpoint = models.base(base, lambda *_: ends.refuse())
        parts = split(dataset, share, choose_recipe(len(dataset.images)).seed)
        recipe = choose_recipe(len(parts.train))
        out = _unused(folder)
        command = command_of(base, recipe, share, edits)
        finished: Finished | None = None
        interrupted: Interrupted | None = None
        state, device = folder / "state", _device(models)
        job = Job(
            dataset, parts, checkpoint, recipe, out, state, device, name, command, lender=lender, edits=edits,
            minutes=ends.left(),
        )  # fmt: skip
        try:
            for event in run(job, stop):
                if isinstance(event, Fitted):
                    continue  # its weights are in the folder; an event stays for an hour
                if isinstance(event, Seen):
                    keep(event)
                elif isinstance(event, Interrupted):
                    interrupted = None if stop() else event
                elif isinstance(event, Finished):
                    finished = event
                else:
                    yield event
        except Refusal:
            if interrupted is None:
                raise  # else there is no model yet, and there can be one
        if finished is not None:
            yield from result(dataset, finished, models)
        if interrupted is not None:
            raise jobs.Interrupted(interrupted.refusal)
        shutil.rmtree(state, ignore_errors=True)  # last: a process that is killed before has all to go on with

    return events


def command_of(base: str, recipe: Recipe, share: float, edits: tuple[Edit, ...] = ()) -> str:
    """The command that trains the same in a terminal, for the model's card."""
    length = ("--epochs", recipe.epochs) if recipe.minutes is None else ("--minutes", recipe.minutes)
    options: dict[str, object] = {
        "--base": base, "--method": recipe.method, length[0]: length[1], "--batch-size": recipe.batch_size,
        "--lr": recipe.learning_rate, "--val": share, "--seed": recipe.seed,
    }  # fmt: skip
    options |= {"--image-size": recipe.image_size} if recipe.image_size else {}
    options |= {"--edits": EDITS} if edits else {}
    words = [f"{one:g}" if isinstance(one, float) else str(one) for pair in options.items() for one in pair]
    return f"python -m train DATA {shlex.join(words)}"


def _unused(folder: Path) -> Path:
    """Where a run's model goes: what there is already can be in use."""
    names = itertools.chain(["model"], (f"model-{time}" for time in itertools.count(2)))
    return next(path for name in names if not (path := folder / name).exists())


def still_true(event: Any) -> bool:
    """Whether what an interrupted run told is not told again when it goes on: photos, for one, are read again."""
    return isinstance(event, Step | Epoch | Lent | BatchHalved | Unwritten | Result)


def result_of(view: View | None) -> Result | None:
    """What a run left behind, where it has come so far."""
    return next((event for event in reversed(view.events) if isinstance(event, Result)), None) if view else None


def _device(models: Models) -> torch.device | None:
    return torch.device(models.device) if models.device else None


def training_device(models: Models) -> str:
    """The name of the device that trains here; see `train.run`."""
    return device_name(_device(models) or torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def result(dataset: Dataset, finished: Finished, models: Models) -> Iterator[Unwritten | Result]:
    """The model packed, and Grad-CAM of its most confident mistakes; before it, what of that could not be made."""
    paths = {image.name: image.path for image in dataset.images}
    answers = tuple(Answer(paths[name], name, *pair) for name, pair in finished.answers.items() if name in paths)
    archive, overlays = None, {}
    try:
        archive = Path(shutil.make_archive(str(finished.folder), "zip", finished.folder))
    except Exception as error:  # the model is there, and can be used and published
        yield Unwritten(missing(f"{finished.folder.name}.zip", error))
    try:
        overlays = _overlays(finished, paths, models)
    except Exception as error:
        log.exception("the pictures of mistakes")
        yield Unwritten(Refusal(
            "train.pictures", "Where its mistakes were seen could not be drawn ({reason}); the model itself is "
            "complete.",
            reason=type(error).__name__,
        ))  # fmt: skip
    yield Result(finished.report, finished.kept, answers, overlays, finished.folder, archive, finished.seconds)


def _overlays(finished: Finished, paths: Mapping[str, Path], models: Models) -> dict[str, tuple[str, str]]:
    """Name of an image -> where the class that it was named and its own were seen, of the most confident mistakes."""
    classifier = read_folder(finished.folder).classifier(models.device)
    found = {}
    for mistake in finished.report.mistakes[:MISTAKES]:
        if mistake.file in paths:
            true, named = finished.answers[mistake.file]
            if pictures := _seen(classifier, paths[mistake.file], (named, true)):
                found[mistake.file] = pictures
    return found


def _seen(classifier: Classifier, path: Path, classes: tuple[int, int]) -> tuple[str, str] | None:
    """Where each of two classes, by their indices, was seen in a photo; None if it can't be read any more."""
    try:
        crop = classifier.preprocess.pixels(open_image(path, path.name))
    except (Refusal, OSError):
        return None
    batch = classifier.preprocess.normalize([crop], classifier.device)
    first, second = (
        data_uri(overlay(crop, grad_cam(classifier.network, batch, index)[0]).resize(
            (150, 150), Image.Resampling.BILINEAR
        ), 80)
        for index in classes
    )  # fmt: skip
    return first, second


# -- the panel ---------------------------------------------------------------------------------------------------------


def panel(view: View | None, one: Run | None) -> str:
    """How far a run is: its phase in words, a bar, time left, speed, and the curves."""
    if view is None or one is None:
        return ""
    title = both(
        "run.title", number=one.number, base=one.base, method=method_words(one.method), dataset=one.dataset,
        images=f"{one.images:,}",
    )  # fmt: skip
    if view.state == "waiting":
        return f'<div class="card run"><h3>{title}</h3><p>{both("run.waiting", ahead=view.ahead)}</p></div>'
    if view.state == "failed":
        said = sentence(view.refusal) if view.refusal else both("error.unexpected")
        return f'<div class="card run"><h3>{title}</h3></div>{alert(said)}'
    events = _resumed([event for event in view.events if not isinstance(event, Result)])
    drawn = curves(events, both("run.loss"), both("run.val_accuracy"), both("run.baseline"))
    return (
        f'<div class="card run" aria-live="off"><h3>{title}</h3>{_now(view, events, one)}{_baseline(events)}{drawn}'
        f"{_notes(events)}</div>"
    )


def method_words(method: str) -> Markup:
    """What learns, in both languages."""
    return Markup(both(f"method.{method.replace('-', '_')}"))


def _resumed(events: Sequence[Event]) -> list[Event]:
    """Without the steps and epochs that were lost between the last saved state and an interruption."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, Resumed):
            found = [one for one in found if not _after(one, event)]
        found.append(event)
    return found


def _after(event: Event, resumed: Resumed) -> bool:
    if isinstance(event, Step):
        return event.progress > resumed.progress + 1e-9
    return isinstance(event, Epoch) and event.number > resumed.epoch


def _now(view: View, events: Sequence[Event], one: Run) -> str:
    """One line and a bar, or how it ended."""
    lent = next((event.device for event in reversed(events) if isinstance(event, Lent)), None)
    device = lent or one.device
    if view.state == "interrupted":
        kept = "run.interrupted" if any(isinstance(event, Result) for event in view.events) else "run.interrupted_empty"
        why = sentence(view.refusal) if view.refusal else both("error.unexpected")
        return f'<p class="doubt">{why}</p><p>{both(kept, seconds=clock(view.seconds))}</p>'
    if view.ended:
        key = "run.stopped" if view.state == "stopped" else "run.done"
        return f"<p>{both(key, seconds=clock(view.seconds), device=device)}</p>"
    last = next((event for event in reversed(events) if isinstance(event, Step | Advanced | Started)), None)
    if isinstance(last, Step):
        share = last.progress
        words = both(
            "run.step", epoch=last.epoch, loss=f"{last.loss:.3f}", speed=f"{last.images_per_second:.0f}",
            eta=clock(last.eta_s), device=device,
        )  # fmt: skip
    elif isinstance(last, Advanced):
        share = last.done / max(last.total, 1)
        speed, eta = last.images_per_second, (last.total - last.done) / max(last.images_per_second, 1e-6)
        words = both(f"run.phase_{last.phase}") + both(
            "run.advanced", done=f"{last.done:,}", total=f"{last.total:,}", speed=f"{speed:.0f}", eta=clock(eta)
        )
    else:
        share = 0.0
        words = both(f"run.phase_{last.phase}") if last else both("run.phase_read")
    stopping = f" {both('run.stopping')}" if view.stopping else ""
    return (
        f'<p>{words}{stopping}</p><span class="track" role="progressbar" aria-valuenow="{100 * share:.0f}">'
        f'<span class="fill" style="width:{100 * share:.1f}%"></span></span>'
    )


def _baseline(events: Sequence[Event]) -> str:
    found = next((event for event in events if isinstance(event, Baseline)), None)
    if found is None:
        return ""
    words = both("run.first_model", seconds=f"{found.seconds:.1f}", accuracy=share_text(found.accuracy))
    return f"<p>{words} <small>{interval(found.accuracy)}</small></p>"


def _notes(events: Sequence[Event]) -> str:
    lent = [event for event in events if isinstance(event, Lent)]
    notes = [both("run.lent", count=len(lent), seconds=lent[-1].seconds, device=lent[-1].device)] if lent else []
    notes += [both("run.halved", count=event.at_a_time) for event in events if isinstance(event, BatchHalved)]
    skipped = [event for event in events if isinstance(event, Skipped)]
    notes += [plain(event.reason) for event in skipped[:5]]
    if len(skipped) > 5:
        notes.append(both("data.more_odd", count=len(skipped) - 5))
    notes += [sentence(event.refusal) for event in events if isinstance(event, Unwritten)]
    epochs = [event for event in events if isinstance(event, Epoch)]
    if epochs:
        best = max(epochs, key=lambda one: (one.val_accuracy, -one.val_loss))
        notes.insert(0, both("run.best", epoch=best.number, accuracy=f"{100 * best.val_accuracy:.1f} %"))
    return "".join(f'<p class="hint">{note}</p>' for note in notes)


def runs_table(rows: Sequence[tuple[Run, View | None, Result | None]]) -> str:
    """The runs of a visit beside each other."""
    if not rows:
        return ""
    names = ("number", "dataset", "base", "method", "minutes", "accuracy", "state")
    lines = []
    for one, view, found in rows:
        accuracy = (
            f"{share_text(found.report.accuracy)} <small>{interval(found.report.accuracy)}</small>" if found else "–"
        )
        state = both(f"run.state_{view.state}") if view else both("run.state_gone")
        taken = f"{found.seconds / 60:.1f}" if found else "–"
        dataset = f"{plain(one.dataset)} ({one.images:,})"
        base, method = plain(one.base), method_words(one.method)
        lines.append((str(one.number), dataset, base, method, taken, accuracy, state))
    return f"<h3>{both('run.runs')}</h3>" + plain_table([both(f"run.column_{name}") for name in names], lines)

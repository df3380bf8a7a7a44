"""``python -m train DATA``: a dataset, a base, a method; a saved folder at the end."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm.auto import tqdm

from resnet.terminal import add_weights_option, device_of, say, shown
from train.dataset import Dataset
from train.distributed import processes
from train.edits import Edit, apply, read_edits
from train.events import (
    Advanced,
    Baseline,
    BatchHalved,
    Epoch,
    Event,
    Finished,
    Fitted,
    Skipped,
    Started,
    Step,
    Taught,
    Unwritten,
    clock,
)
from train.findings import findings
from train.job import Job
from train.methods import METHODS, Method
from train.opening import HELP, open_dataset
from train.recipe import choose
from train.run import run as run_job
from train.shallower import shallower, variant
from train.split import Split, split
from train.splitting import share
from train.tables import class_lines
from train.writing import refuse_used
from weights.checkpoint import Checkpoint
from weights.load import load

PHASES = {
    "read": "Reading photos and what the base sees in them",
    "views": "Features of random views",
    "baseline": "Fitting a regression on the features",
    "train": "Training",
    "measure": "Measuring",
    "write": "Writing",
}
WHY = {
    "patience": "No better for some epochs: training has ended early.",
    "time": "The time is up.",
    "stopped": "Stopped: the best so far is kept.",
    "disk": "The disk is full: training has ended, the best so far is kept.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("data", metavar="DATA", help=HELP)
    parser.add_argument(
        "--base", default="flowers", metavar="NAME",
        help="what to begin with: any model that `python -m resnet classify` takes (default: flowers)",
    )  # fmt: skip
    add_weights_option(parser)
    parser.add_argument(
        "--architecture", metavar="NAME",
        help="train this network (resnet18 …): the first blocks of each stage of the base, or with scratch any",
    )  # fmt: skip
    parser.add_argument("--edits", metavar="FILE", help="images to leave out or move: the edits.json of a saved folder")
    parser.add_argument("--method", choices=METHODS, default="all", help="what learns (default: all)")
    parser.add_argument("--out", metavar="DIR", help="folder of the checkpoint (default: NAME-METHOD here)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, metavar="M", help="time budget of the whole run")
    length.add_argument("--epochs", type=int, metavar="N", help="how often each photo is seen, at most")
    parser.add_argument(
        "--val", type=share, default=0.2, metavar="SHARE",
        help="how much of each class to keep apart where no val part is given (default: 0.2)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same one trains the same (default: 0)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="photos of one step (default: 16)")
    parser.add_argument("--lr", type=float, metavar="RATE", help="largest learning rate of the last stage")
    parser.add_argument("--image-size", type=int, metavar="N", help="side in pixels (default: the base's)")
    parser.add_argument("--start-size", type=float, metavar="SHARE", help="share of that side to begin with: faster")
    parser.add_argument(
        "--freeze-out", type=float, metavar="SHARE",
        help="of the training after which the lowest layers stop, and the next ones one by one; 1 for never",
    )  # fmt: skip
    parser.add_argument("--weight-decay", type=float, metavar="X", help="of convolutions and the head")
    parser.add_argument("--label-smoothing", type=float, metavar="X", help="how much of a target others get")
    parser.add_argument("--min-scale", type=float, metavar="SHARE", help="of a photo that a random crop shows at least")
    parser.add_argument("--colour", type=float, metavar="X", help="how far brightness, contrast, saturation are moved")
    parser.add_argument("--mixup", type=float, metavar="ALPHA", help="photos laid over each other; 0 for none")
    parser.add_argument("--ema", type=float, metavar="DECAY", help="of the average of the weights; 0 for none")
    parser.add_argument("--patience", type=int, metavar="N", help="epochs without a better one until it ends")
    parser.add_argument("--views", type=int, metavar="N", help="of each photo, for the method head")
    parser.add_argument("--teacher", metavar="NAME", help="a model that knows more, to learn from beside the labels")
    parser.add_argument("--teacher-weight", type=float, metavar="X", help="of its answers, beside the labels (0.7)")
    parser.add_argument("--teacher-temperature", type=float, metavar="T", help="that softens the answers (2)")
    parser.add_argument("--feature-weight", type=float, metavar="X", help="of the distance from what it sees (0.5)")
    parser.add_argument(
        "--mixed-precision", action=argparse.BooleanOptionalAction, default=None,
        help="compute in half of fp32 (default: where that is faster)",
    )  # fmt: skip
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 … (default: the GPU where there is one)")
    parser.add_argument("--resume", metavar="DIR",
                        help="keep the state of the training in DIR; go on from it where there is one")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Train and say what came of it.

    Raises:
        Refusal: as `ingest`, `split`, `load` and `run_job` do.
    """
    device = device_of(args.device)
    edits = read_edits(Path(args.edits)) if args.edits else ()
    with processes() as rank, tempfile.TemporaryDirectory(prefix="resnet-train-") as folder:
        quiet = rank != 0
        dataset = _dataset(args.data, Path(folder) / "data", edits, quiet)
        parts = split(dataset, args.val, args.seed)
        recipe = choose(
            args.method, len(parts.train), taught=args.teacher is not None, minutes=args.minutes, epochs=args.epochs,
            batch_size=args.batch_size, learning_rate=args.lr, image_size=args.image_size, start_size=args.start_size,
            freeze_out=args.freeze_out, weight_decay=args.weight_decay, label_smoothing=args.label_smoothing,
            mixup=args.mixup, ema=args.ema,
            patience=args.patience, views=args.views, seed=args.seed, min_scale=args.min_scale, colour=args.colour,
            mixed_precision=args.mixed_precision, teacher_weight=args.teacher_weight,
            teacher_temperature=args.teacher_temperature, feature_weight=args.feature_weight,
        )  # fmt: skip
        base = _base(load(args.base, local=True, kind=args.weights), args.architecture, args.method)
        teacher = load(args.teacher, local=True) if args.teacher else None
        name = f"{dataset.name}-{args.method}"
        out = Path(args.out or name)
        if not args.resume:
            refuse_used(out)
        state = Path(args.resume) if args.resume else None
        command = f"python -m train {shlex.join(sys.argv[1:])}"
        job = Job(dataset, parts, base, recipe, out, state, device, name, command, teacher=teacher, edits=edits)
        if not quiet:
            _say_split(dataset, parts)
        stop = _Interrupt()
        for event in run_job(job, stop):
            if not quiet:
                stop.screen.show(event)
    return 0


def _base(base: Checkpoint, architecture: str | None, method: Method) -> Checkpoint:
    """What training begins with, as the network that is wanted; `scratch` takes nothing from it but the shape."""
    if architecture is None:
        return base
    if method == "scratch":
        return replace(base, config=variant(architecture), label_names=())
    return shallower(base, architecture)


def _dataset(data: str, folder: Path, edits: tuple[Edit, ...], quiet: bool) -> Dataset:
    dataset = apply(open_dataset(data, folder, quiet=quiet), edits)
    if not quiet:
        for one in findings(dataset.report):
            say(f"- {one}" + (f" {', '.join(one.names[:4])}" if one.names else ""))
    return dataset


def _say_split(dataset: Dataset, parts: Split) -> None:
    words = {
        "drawn": "kept apart",
        "given": "in the val part that was given",
        "test": "in the test part that was given",
    }
    say(
        f"{dataset.name}: {len(dataset.classes)} classes, {len(parts.train):,} images to learn from, "
        f"{len(parts.val):,} {words[parts.origin]}"
        + (f", {len(parts.test):,} in the test part, which is only reported on." if parts.test else ".")
    )


class _Interrupt:
    """Ctrl-C asks the training to end with the best so far; a second one ends everything."""

    def __init__(self) -> None:
        self.screen = _Screen()
        self._asked = False
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, _: int, __: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        tqdm.write("Stopping; the best so far is kept. Once more to end at once.", file=sys.stderr)

    def __call__(self) -> bool:
        return self._asked


class _Screen:
    """Events on a terminal: phases in words, a bar for what takes long, a line for what is worth keeping."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._close()
            if event.phase in ("read", "views"):
                self._bar = tqdm(desc=PHASES[event.phase], total=event.total, unit=" photos", leave=False, disable=None)
            elif event.phase == "train":
                form = "{desc}: {percentage:3.0f}%|{bar}| {postfix}"
                self._bar = tqdm(desc="Training", total=1.0, leave=False, disable=None, bar_format=form)
        elif isinstance(event, Advanced) and self._bar is not None:
            self._bar.update(event.done - self._bar.n)
        elif isinstance(event, Step) and self._bar is not None:
            self._bar.set_postfix_str(
                f"epoch {event.epoch}, loss {event.loss:.3f}, {event.images_per_second:.0f} images/s, "
                f"{clock(event.eta_s)} left", refresh=False,
            )  # fmt: skip
            self._bar.update(event.progress - self._bar.n)
        else:
            line = self._line(event)
            if line:
                tqdm.write(shown(line))

    def _line(self, event: Event) -> str:
        if isinstance(event, Baseline):
            return f"Baseline after {event.seconds:.1f} s: {event.accuracy}"
        if isinstance(event, Taught):
            return f"The teacher {event.name}: {event.accuracy}"
        if isinstance(event, Epoch):
            mark = " *" if event.best else ""
            return (
                f"Epoch {event.number}: train loss {event.train_loss:.3f}, val loss {event.val_loss:.3f}, "
                f"val accuracy {100 * event.val_accuracy:.1f} %, {event.seconds:.1f} s{mark}"
            )
        if isinstance(event, Skipped):
            return f"Skipped: {event.reason}"
        if isinstance(event, BatchHalved):
            return f"The device's memory is too small: {event.at_a_time} photos at a time now, the step stays the same."
        if isinstance(event, Unwritten):
            return str(event.refusal)
        if isinstance(event, Fitted):
            return WHY.get(event.why, "")
        if isinstance(event, Finished):
            self._close()
            return _summary(event)
        return ""

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _summary(event: Finished) -> str:
    report = event.report
    lines = ["", f"Accuracy on {report.photos:,} photos kept apart: {report.accuracy}"]
    if report.chosen:
        lines.append(
            "  The best epoch or the baseline was chosen on these same photos: expect a little less on others."
        )
    else:
        lines.append("  Of the test part, which had no part in any choice.")
    if report.baseline:
        lines.append(f"  the baseline: {report.baseline.accuracy}")
        if event.kept == "baseline":
            lines.append("  Training made it no better: the baseline is what was kept.")
    lines.append(f"  always {report.names[report.majority]}: {report.majority_accuracy}")
    calibration = report.calibration
    lines.append(
        f"Expected calibration error {100 * calibration.before.ece:.1f} %, after a temperature of "
        f"{calibration.temperature:.2f}: {100 * calibration.after.ece:.1f} % (cross-fitted)"
    )
    lines += ["", *class_lines(report)]
    for mistake in report.mistakes[:3]:
        lines.append(
            f"Most confident mistakes: {mistake.file} is {mistake.true}, named {mistake.named} "
            f"({100 * mistake.probability:.1f} %)"
        )
    lines += [
        "",
        f"{event.folder} after {event.seconds:.1f} s. Use it: python -m resnet classify --model {event.folder} PHOTO",
    ]
    return "\n".join(lines)

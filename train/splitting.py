"""``python -m train split DATA --out DIR``: a dataset as the folders ``train/class`` and ``val/class``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from resnet.terminal import say
from train.dataset import Dataset
from train.findings import findings
from train.opening import HELP, on_hub, open_dataset
from train.split import Split, split
from train.unpack import disk_refusal
from train.writing import refuse_used, write_folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("data", metavar="DATA", help=HELP)
    parser.add_argument("--out", required=True, metavar="DIR", help="where to write; empty, or not there yet")
    parser.add_argument(
        "--val", type=share, default=0.2, metavar="SHARE",
        help="how much of each class to keep apart, between 0 and 1 (default: 0.2)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same one draws the same (default: 0)")
    parser.add_argument(
        "--drop-leaked", action="store_true", help="leave out of train what has a copy in a val part that was given"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", action="store_true", help="copy the files (the default)")
    how.add_argument("--link", action="store_true", help="link them (hard links), which takes no space")


def share(text: str) -> float:
    """A number between 0 and 1 that was typed."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Split, write, and say what went where.

    Raises:
        Refusal: as `ingest`, `split` and `write_folders` do.
    """
    out = Path(args.out)
    refuse_used(out)
    if not on_hub(args.data) and Path(args.data).is_dir():
        return _run(None, out, args)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside the result, which needs the space there anyway; and links reach it.
        folder = tempfile.TemporaryDirectory(prefix=".split-", dir=out.parent)
    except OSError as error:
        raise disk_refusal(error, str(out)) from None
    with folder as name:
        return _run(Path(name), out, args)


def _run(folder: Path | None, out: Path, args: argparse.Namespace) -> int:
    dataset = open_dataset(args.data, folder)
    found = split(dataset, args.val, args.seed, drop_leaked=args.drop_leaked)
    parts: list[str | None] = [None] * len(dataset.images)
    for part, indices in (("train", found.train), ("val", found.val), ("test", found.test)):
        for index in indices:
            parts[index] = part
    write_folders(dataset, parts, out, args.link)
    _print(dataset, found, parts)
    return 0


def _print(dataset: Dataset, found: Split, parts: list[str | None]) -> None:
    """A line for each class, and one for each thing that a person should know."""
    counts = Counter((image.label, part) for image, part in zip(dataset.images, parts, strict=True))
    shown = [part for part in ("train", "val", "test") if any(one == part for one in parts)]
    width = max(20, *(len(label) + 2 for label in dataset.classes))
    for label in dataset.classes:
        say(f"{label:{width}}" + "".join(f"{part} {counts[label, part]:<8,}" for part in shown).rstrip())
    say(f"{'in all':{width}}" + "".join(f"{part} {parts.count(part):<8,}" for part in shown).rstrip())
    report = dataset.report
    if found.origin != "drawn":
        given = "The val part" if found.origin == "given" else "The test part, which serves as val,"
        say(f"{given} was given and is kept as it is.")
    if found.leaked:
        names = ", ".join(dataset.images[index].name for index in found.leaked[:5])
        say(f"{len(found.leaked):,} of its images have a copy in train ({names}); --drop-leaked leaves those out.")
    if found.dropped:
        say(f"{len(found.dropped):,} images with a copy in val are left out of train.")
    if found.absent:
        say(f"No image of {', '.join(found.absent)} was given to val.")
    if copies := len(report.exact) + len(report.near):
        say(f"Groups of copies or look-alikes: {copies:,}{_sides(found)}.")
    if found.chained:
        say(f"All images of {', '.join(found.chained)} look alike, so look-alikes of them are on both sides.")
    for one in findings(report):
        if one.code not in ("exact", "near", "unreadable"):
            names = f" {', '.join(one.names[:5])}{' …' if len(one.names) > 5 else ''}" if one.names else ""
            say(f"{one}{names}", file=sys.stderr)
    for file in report.left_out.unreadable:
        say(f"Left out: {file.name}. {file.reason}", file=sys.stderr)


def _sides(found: Split) -> str:
    return "; each stands on one side" if found.origin == "drawn" and not found.chained else ""

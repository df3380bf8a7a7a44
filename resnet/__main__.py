"""``python -m resnet classify PATH...``: names for photos, in files, folders and zips."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm.auto import tqdm

from resnet.classifier import Classification, Classifier
from resnet.errors import Refusal
from resnet.photos import find_photos
from resnet.rows import header, to_json, to_table


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1 where a photo could not be read, 2 where nothing could be done."""
    parser = argparse.ArgumentParser(prog="python -m resnet", description="What a ResNet sees.")
    commands = parser.add_subparsers(dest="command", required=True)
    classify = commands.add_parser("classify", help="name what is in photos")
    classify.add_argument("paths", nargs="+", metavar="PATH", help="photos, folders (with all below) or zip archives")
    classify.add_argument(
        "--model", default="flowers", metavar="NAME", help="as `python -m weights show` takes it (default: flowers)"
    )
    classify.add_argument("--top-k", type=_positive, default=5, metavar="K", help="names for each photo (default: 5)")
    classify.add_argument(
        "--batch-size", type=_positive, default=32, metavar="N", help="photos at a time (default: 32)"
    )
    classify.add_argument("--device", help="cpu, cuda, mps … (default: the GPU where there is one)")
    classify.add_argument("--csv", metavar="FILE", help="write a table as well")
    classify.add_argument("--json", action="store_true", help="print one JSON object a line")
    args = parser.parse_args(argv)
    try:
        return _classify(args)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _load(args: argparse.Namespace) -> Classifier:
    from weights.load import load  # a door may call any package

    return load(args.model).classifier(args.device)


def _classify(args: argparse.Namespace) -> int:
    classifier = _load(args)
    photos = find_photos(args.paths)
    top_k = min(args.top_k, max(1, len(classifier.label_names)))
    failed = 0
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(_table(args.csv, top_k)) if args.csv else None
        rows: Iterable[Classification] = classifier.predict_iter(photos, top_k, args.batch_size)
        for row in tqdm(rows, total=len(photos), unit=" photos", disable=not sys.stderr.isatty(), file=sys.stderr):
            failed += row.refusal is not None
            print(json.dumps(to_json(row), ensure_ascii=False) if args.json else _line(row))
            if table:
                table.writerow(to_table(row, row.name, top_k))
    if failed:
        print(f"{failed} of {len(photos)} could not be classified.", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def _table(path: str, top_k: int) -> Iterator[Any]:
    try:
        with open(path, "w", newline="", encoding="utf-8-sig") as file:  # noqa: PTH123 (signature for spreadsheets)
            writer = csv.writer(file)
            writer.writerow(header(top_k))
            yield writer
    except OSError as error:
        raise Refusal(
            "csv.write", "{file} can't be written ({reason}); choose another place.", file=path, reason=error.strerror
        ) from None


def _line(row: Classification) -> str:
    if row.refusal:
        return f"{row.name}: {row.refusal}"
    note = {"none": " (may be none of the classes)", "close": " (the first two are close)", "clear": ""}[row.verdict]
    names = ", ".join(f"{one.label} {one.probability:.1%}" for one in row.predictions)
    return f"{row.name}: {names}{note}"


if __name__ == "__main__":
    sys.exit(main())

"""``python -m resnet classify PATH...`` names photos; ``python -m resnet layers NAME``: what a network is made of."""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from tqdm.auto import tqdm

from resnet.classifier import Classification, Classifier
from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.naming import escaped
from resnet.photos import find_photos
from resnet.rows import header, to_json, to_table
from resnet.summary import LayerFacts, Part, layers, parts, to_csv
from resnet.terminal import add_weights_option, as_json, device_of, run_command, say


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1 where a photo could not be read, 2 where nothing could be done."""
    parser = argparse.ArgumentParser(prog="python -m resnet", description="What a ResNet sees.")
    commands = parser.add_subparsers(dest="command", required=True)
    classify = commands.add_parser("classify", help="name what is in photos")
    classify.add_argument("paths", nargs="+", metavar="PATH", help="photos, folders (with all below) or zip archives")
    classify.add_argument(
        "--model", default="flowers", metavar="NAME", help="as `python -m weights show` takes it (default: flowers)"
    )
    add_weights_option(classify)
    classify.add_argument("--top-k", type=_positive, default=5, metavar="K", help="names for each photo (default: 5)")
    classify.add_argument(
        "--batch-size", type=_positive, default=32, metavar="N", help="photos at a time (default: 32)"
    )
    classify.add_argument("--device", help="cpu, cuda, mps … (default: the GPU where there is one)")
    classify.add_argument("--csv", metavar="FILE", help="write a table as well")
    classify.add_argument("--json", action="store_true", help="print one JSON object a line")
    classify.set_defaults(run=_classify)
    inspect = commands.add_parser("layers", help="what a network is made of, and what each part costs")
    inspect.add_argument(
        "name", metavar="NAME", help=f"{', '.join(VARIANTS)}, or a model as `classify --model` takes it"
    )
    inspect.add_argument(
        "--image-size", type=_image_size, default=224, metavar="N", help="pixels, or HEIGHTxWIDTH (default: 224)"
    )
    inspect.add_argument("--depth", choices=("stage", "block", "layer"), default="stage", help="(default: stage)")
    inspect.add_argument("--csv", metavar="FILE", help="write a table instead")
    inspect.add_argument("--json", action="store_true", help="print one JSON object a line")
    inspect.set_defaults(run=_layers)
    args = parser.parse_args(argv)
    return run_command(args)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def _image_size(text: str) -> int | tuple[int, int]:
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"{text} is neither a number of pixels nor HEIGHTxWIDTH")
    return int(numbers[0]) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))


def _layers(args: argparse.Namespace) -> int:
    from weights.load import load  # a door may call any package

    config = VARIANTS[args.name] if args.name in VARIANTS else load(args.name).config
    facts = layers(config, args.image_size)
    found: Sequence[LayerFacts | Part] = facts if args.depth == "layer" else parts(facts, args.depth)
    if args.csv:
        with _writable(args.csv) as file:
            file.write(to_csv(found))
    elif args.json:
        for one in found:
            say(as_json(asdict(one)))
    else:
        say(f"{'part':22}{'output':>20}{'parameters':>14}{'MACs':>17}{'activations':>15}{'field':>7}  shortcut")
        for part in parts(facts, args.depth):
            output = " x ".join(map(str, (*part.output_shape[2:], part.output_shape[1])))
            say(
                f"{part.name:22}{output:>20}{part.parameters:>14,}{part.macs:>17,}{part.activation_bytes:>13,} B"
                f"{part.receptive_field or '-':>7}  {part.shortcut or ''}"
            )
        say(
            f"{'in all':42}{sum(one.parameters for one in facts):>14,}{sum(one.macs for one in facts):>17,}"
            f"{sum(one.activation_bytes for one in facts):>13,} B"
        )
    return 0


def _load(args: argparse.Namespace) -> Classifier:
    from weights.load import load  # a door may call any package

    device = device_of(args.device)
    return load(args.model, kind=args.weights).classifier(device)


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
            with tqdm.external_write_mode():  # the bar makes way where both go to one terminal
                say(as_json(to_json(row)) if args.json else _line(row))
            if table:
                table.writerow(to_table(row, row.name, top_k))
    if failed:
        say(f"{failed} of {len(photos)} could not be classified.", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def _table(path: str, top_k: int) -> Iterator[Any]:
    with _writable(path) as file:
        writer = csv.writer(file)
        writer.writerow(header(top_k))
        yield writer


@contextlib.contextmanager
def _writable(path: str) -> Iterator[TextIO]:
    try:
        # With the signature that tells spreadsheets it is UTF-8.
        with Path(path).open("w", newline="", encoding="utf-8-sig", errors="backslashreplace") as file:
            yield file
    except BrokenPipeError:  # of the terminal, not of the table
        raise
    except OSError as error:
        raise Refusal(
            "csv.write", "{file} can't be written ({reason}); choose another place.", file=path, reason=error.strerror
        ) from None


def _line(row: Classification) -> str:
    if row.refusal:
        return f"{escaped(row.name)}: {row.refusal}"
    note = {"none": " (may be none of the classes)", "close": " (the first two are close)", "clear": ""}[row.verdict]
    names = ", ".join(f"{one.label} {one.probability:.1%}" for one in row.predictions)
    return f"{escaped(row.name)}: {names}{note}"


if __name__ == "__main__":
    sys.exit(main())

"""``python -m train evaluate DATA``: how good a model is on photos of its classes, and what it says to others."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor
from tqdm.auto import tqdm

from resnet.classifier import Classifier, NoneOfThese
from resnet.errors import Refusal
from resnet.naming import escaped
from resnet.photos import Photo, find_photos
from resnet.terminal import add_weights_option, as_json, device_of, say
from train import tables
from train.calibration import Score, fit_rule, reliability
from train.dataset import Dataset
from train.edits import apply, read_edits
from train.markdown import percent
from train.opening import HELP, open_dataset
from train.report import Report, report
from train.shares import Share
from train.split import split
from train.splitting import share
from weights.load import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("data", metavar="DATA", help=HELP)
    parser.add_argument(
        "--model", default="flowers", metavar="NAME", help="as `python -m resnet classify` takes it (default: flowers)"
    )
    add_weights_option(parser)
    parser.add_argument(
        "--part", choices=("all", "val", "test"), default="all",
        help="which images: all of them, a given test part, or the val part that was given or that training drew",
    )  # fmt: skip
    parser.add_argument("--val", type=share, default=0.2, metavar="SHARE", help="that training drew (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="that training drew by (default: 0)")
    parser.add_argument("--edits", metavar="FILE", help="the edits.json that training was given")
    parser.add_argument(
        "--others", nargs="+", default=[], metavar="PATH",
        help="photos, folders or zips that show none of the classes: how many of them the model says so of",
    )  # fmt: skip
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 … (default: the GPU where there is one)")
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, and say it; the exit code is 1 where a photo could not be read.

    Raises:
        Refusal: as `load` and `ingest` do; if a class is none of the model's, there is no such part, or none of its
            photos can be read.
    """
    checkpoint = load(args.model, kind=args.weights)
    if not checkpoint.label_names:
        raise Refusal(
            "evaluate.base", "{name} names no classes, so there is nothing to measure; train it first.", name=args.model
        )  # fmt: skip
    classifier = checkpoint.classifier(device_of(args.device))
    unread: list[Refusal] = []
    with tempfile.TemporaryDirectory(prefix="resnet-evaluate-") as folder:
        dataset = open_dataset(args.data, Path(folder) / "data", quiet=args.json)
        if args.edits:
            dataset = apply(dataset, read_edits(Path(args.edits)))
        found, logits, labels = _measure(dataset, classifier, args, unread)
        others = {
            path: _logits(find_photos([path]), classifier, f"Naming {path}", args.json, unread)[0]
            for path in args.others
        }
    flagged = {path: _flagged(classifier.rule, one) for path, one in others.items()}
    own = reliability(logits.double() / classifier.temperature, labels)
    if args.json:
        measured = {
            **found.to_json(),
            "stored_temperature": {"temperature": classifier.temperature, "ece": own.ece, "log_loss": own.log_loss},
            "others": {path: one.to_json() for path, one in flagged.items()},
        }
        say(as_json(measured))
    else:
        say("\n".join(_lines(found, classifier, own.ece, flagged)))
        if others:
            say("\n".join(_scores(logits, others)))
    for refusal in unread:
        say(refusal, file=sys.stderr)
    return 1 if unread else 0


def _measure(
    dataset: Dataset, classifier: Classifier, args: argparse.Namespace, unread: list[Refusal]
) -> tuple[Report, Tensor, Tensor]:
    """A report, with the logits and the labels that it was made of."""
    index = {label: place for place, label in enumerate(classifier.label_names)}
    for label in dataset.classes:
        if label not in index:
            raise Refusal(
                "evaluate.class", "{label} is none of the classes of {model} ({classes}); rename the folder, or leave "
                "it out.",
                label=label, model=args.model, classes=", ".join(classifier.label_names[:10]),
            )  # fmt: skip
    images = [dataset.images[place] for place in _part(dataset, args)]
    photos = [Photo(image.name, image.path) for image in images]
    logits, kept = _logits(photos, classifier, f"Naming {dataset.name}", args.json, unread)
    labels = torch.tensor([index[images[place].label] for place in kept], dtype=torch.long)
    most = Counter(labels.tolist()).most_common(1)[0][0] if kept else 0
    files = [images[place].name for place in kept]
    found = report(logits, labels, classifier.label_names, files, majority_train=most, rule=classifier.rule)
    return found, logits, labels


def _part(dataset: Dataset, args: argparse.Namespace) -> Sequence[int]:
    if args.part == "all":
        return range(len(dataset.images))
    parts = split(dataset, args.val, args.seed)
    if args.part == "val":
        return parts.val
    if not parts.test and parts.origin != "test":
        raise Refusal("evaluate.part", "{name} holds no test part; leave out --part.", name=dataset.name)
    return parts.test or parts.val


def _logits(
    photos: Sequence[Photo], classifier: Classifier, words: str, quiet: bool, unread: list[Refusal]
) -> tuple[Tensor, list[int]]:
    """``(N, K)`` of those that can be read, and which these are."""
    found, kept = [torch.empty(0, len(classifier.label_names))], []
    bar = tqdm(
        desc=escaped(words), total=len(photos), unit=" photos", disable=quiet or not sys.stderr.isatty(), leave=False
    )
    with bar:
        for place, one in enumerate(classifier.logits_iter(photos)):
            if isinstance(one, Refusal):
                unread.append(one)
            else:
                kept.append(place)
                found.append(one[None])
            bar.update()
    return torch.cat(found), kept


def _flagged(rule: NoneOfThese, logits: Tensor) -> Share:
    return Share(int((rule.scores(logits) < rule.threshold).sum()), len(logits))


def _lines(found: Report, classifier: Classifier, ece: float, flagged: dict[str, Share]) -> list[str]:
    lines = [
        f"Accuracy on {found.photos:,} photos: {found.accuracy}",
        f"  always {found.names[found.majority]}: {found.majority_accuracy}",
        f"Expected calibration error with its temperature of {classifier.temperature:.2f}: {100 * ece:.1f} %",
        "",
        *tables.class_lines(found),
        "",
        f"Said to show perhaps none of the classes: {found.flagged} of these photos",
    ]
    return lines + [f"  {path}: {one} of {one.total:,}" for path, one in flagged.items()]


def _scores(logits: Tensor, others: dict[str, Tensor]) -> list[str]:
    """What each score would flag of the others where its threshold flags 5 % of the photos of the classes."""
    lines = ["", "With a threshold that flags 5 % of the photos of the classes:"]
    for score in get_args(Score):
        rule = fit_rule(logits, score=score)
        shares = ", ".join(f"{percent(_flagged(rule, one).value)} of {path}" for path, one in others.items())
        lines.append(f"  {score} under {rule.threshold:g}: {shares}")
    return lines

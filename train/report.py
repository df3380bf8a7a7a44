"""What a training run says at the end: accuracy with its interval beside what is cheaper to have, and what goes wrong.

Pure functions of the logits of photos that were not trained on. `Report.to_json` is `metrics.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from resnet.classifier import NoneOfThese
from resnet.errors import Refusal
from train import tables
from train.calibration import Bin, Calibration, Reliability, Score, calibrate, fit_rule
from train.shares import ClassFigures, Comparison, Share
from weights.layouts import shorten

#: Of `metrics.json`: a reader knows by it whether it understands the rest.
VERSION = 1
TOP_K = 5


@dataclass(frozen=True)
class Mistake:
    """A photo that is named wrongly: its file, its class, what it is named and with what probability, and the
    probability of its class; after the temperature, as Classify says them.
    """

    file: str
    true: str
    named: str
    probability: float
    true_probability: float


@dataclass(frozen=True)
class Report:
    """What is known of a trained network from photos that it was not trained on.

    `confusion` counts photos: row by true class, column by named class, both in the order of `names`. `majority` is the
    index of the class that most training photos show. `top5` is there where there are more than 5 classes. `flagged`
    says how many of the photos `rule` would say "may be none of these" of. `mistakes` begins with the most confident.
    `chosen` says whether the photos have also decided which weights were kept: the accuracy is somewhat too high then.
    """

    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    majority: int
    top5: Share | None
    baseline: Comparison | None
    calibration: Calibration
    rule: NoneOfThese
    flagged: Share
    mistakes: tuple[Mistake, ...]
    chosen: bool = False

    @property
    def photos(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> Share:
        return Share(sum(row[index] for index, row in enumerate(self.confusion)), self.photos)

    @property
    def majority_accuracy(self) -> Share:
        """Of who always names the class that most training photos show."""
        return Share(sum(self.confusion[self.majority]), self.photos)

    @property
    def classes(self) -> tuple[ClassFigures, ...]:
        return tuple(
            ClassFigures(name, Share(row[index], sum(row)), Share(row[index], sum(column)))
            for index, (name, row, column) in enumerate(
                zip(self.names, self.confusion, zip(*self.confusion, strict=True), strict=True)
            )
        )

    @property
    def macro(self) -> dict[str, float]:
        """Precision, recall and F1, each class counting the same: those that have photos here, as of the others no
        recall can be told. A class that is never named has precision 0 in it, as scikit-learn does it.
        """
        shown = [one for one in self.classes if one.support]
        sums = {
            "precision": sum(one.precision.value or 0.0 for one in shown),
            "recall": sum(one.recall.value or 0.0 for one in shown),
            "f1": sum(one.f1 or 0.0 for one in shown),
        }
        return {key: value / len(shown) for key, value in sums.items()}

    def confusions(self, limit: int = 10) -> list[tuple[str, str, int, int]]:
        """The most frequent mistakes: true class, named class, how many photos, of how many of that class."""
        found = [
            (self.names[true], self.names[named], count, sum(row))
            for true, row in enumerate(self.confusion)
            for named, count in enumerate(row)
            if count and true != named
        ]
        return sorted(found, key=lambda one: -one[2])[:limit]

    def to_json(self) -> dict[str, Any]:
        """`metrics.json`: everything above as plain numbers, texts and lists; None where there is nothing to say."""
        compared, calibration = self.baseline, self.calibration
        return {
            "version": VERSION,
            "photos": self.photos,
            "chosen_on_these_photos": self.chosen,
            "accuracy": self.accuracy.to_json(),
            "top5": self.top5.to_json() if self.top5 else None,
            "baseline": {
                "accuracy": compared.accuracy.to_json(),
                "only_model": compared.only_model,
                "only_baseline": compared.only_baseline,
                "p_value": compared.p_value,
            }
            if compared
            else None,
            "majority": {"index": self.majority, "name": self.names[self.majority], **self.majority_accuracy.to_json()},
            "macro": self.macro,
            "classes": [
                {
                    "name": one.name,
                    "support": one.support,
                    "precision": one.precision.to_json(),
                    "recall": one.recall.to_json(),
                    "f1": one.f1,
                }
                for one in self.classes
            ],
            "confusion": [list(row) for row in self.confusion],
            "calibration": {
                "temperature": calibration.temperature,
                "fold_temperatures": list(calibration.fold_temperatures),
                "before": _reliability_to_json(calibration.before),
                "after": _reliability_to_json(calibration.after),
            },
            "none_of_these": {**asdict(self.rule), "flagged": self.flagged.to_json()},
            "mistakes": [asdict(one) for one in self.mistakes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """What `to_json` gave; keys that it doesn't know are passed over.

        Raises:
            Refusal: if it is something else, or of a later version.
        """
        try:
            return _from_json(data)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise Refusal(
                "report.metrics", "The metrics.json of this model can't be understood ({reason}); train it again, or "
                "delete the file.", reason=shorten(str(error)) or type(error).__name__,
            ) from error  # fmt: skip

    def to_markdown(self) -> str:
        """Tables for a model card: accuracy, classes, confusions and calibration, each under a heading."""
        return "\n\n".join(
            (tables.accuracy(self), tables.per_class(self), tables.confusion(self), tables.calibration(self))
        )


def report(
    logits: Tensor,
    labels: Tensor,
    names: Sequence[str],
    files: Sequence[str],
    *,
    majority_train: int,
    baseline_logits: Tensor | None = None,
    rule: NoneOfThese | None = None,
    most_mistakes: int = 50,
    seed: int = 0,
    chosen: bool = False,
) -> Report:
    """Measure a network on photos that it was not trained on.

    Args:
        logits: ``(N, K)``, before any temperature, as `Classifier.logits` gives them.
        labels: ``(N,)``, the true classes, 0..K-1.
        names: K names of classes.
        files: N names of files.
        majority_train: the class that most photos of the training part show.
        baseline_logits: ``(N, K)`` of the baseline, for the same photos.
        rule: when to say "may be none of these"; fitted on these photos by default.
        most_mistakes: how many of the mistakes to keep.
        seed: which photos fall into which fold of the cross-fitting.
        chosen: whether these photos have also decided which weights are kept.

    Raises:
        Refusal: if there are no photos, or an answer is no number.
        ValueError: if the shapes don't match.
    """
    count, classes = len(files), len(names)
    for given in (logits, logits if baseline_logits is None else baseline_logits):
        if tuple(given.shape) != (count, classes) or tuple(labels.shape) != (count,):
            raise ValueError(
                f"{tuple(given.shape)} logits, {tuple(labels.shape)} labels: {count} files, {classes} names"
            )
    if count == 0:
        raise Refusal(
            "report.empty", "None of the photos that were kept apart can be read, so nothing can be measured; add "
            "photos and train again.",
        )  # fmt: skip
    logits, labels = logits.detach().cpu().float(), labels.detach().cpu().long()
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes or not 0 <= majority_train < classes:
        raise ValueError(f"a class is none of 0 to {classes - 1}")
    if not logits.isfinite().all():
        raise Refusal(
            "report.diverged", "The network's answers are no numbers any more, as its training went astray; train "
            "again with a lower learning rate.",
        )  # fmt: skip
    named = logits.argmax(1)
    calibration = calibrate(logits, labels, seed)
    rule = rule or fit_rule(logits)
    flagged = rule.scores(logits) < rule.threshold
    top5 = (logits.topk(TOP_K, 1).indices == labels[:, None]).any(1) if classes > TOP_K else None
    return Report(
        tuple(names),
        tuple(map(tuple, torch.bincount(labels * classes + named, minlength=classes**2).view(classes, -1).tolist())),
        majority_train,
        None if top5 is None else _share(top5),
        None if baseline_logits is None else _compare(named == labels, baseline_logits.cpu().argmax(1) == labels),
        calibration,
        rule,
        _share(flagged),
        _mistakes(logits.div(calibration.temperature).softmax(1), labels, named, names, files)[:most_mistakes],
        chosen,
    )


def _share(right: Tensor) -> Share:
    return Share(int(right.sum()), len(right))


def _compare(model: Tensor, baseline: Tensor) -> Comparison:
    return Comparison(_share(baseline), int((model & ~baseline).sum()), int((baseline & ~model).sum()))


def _mistakes(
    probabilities: Tensor, labels: Tensor, named: Tensor, names: Sequence[str], files: Sequence[str]
) -> tuple[Mistake, ...]:
    """The photos that are named wrongly, the most confident first."""
    rows = torch.arange(len(labels))
    of_named, of_true = probabilities[rows, named], probabilities[rows, labels]
    order = of_named.argsort(descending=True, stable=True)
    return tuple(
        Mistake(files[row], names[int(labels[row])], names[int(named[row])], float(of_named[row]), float(of_true[row]))
        for row in order[(named != labels)[order]].tolist()
    )


def _reliability_to_json(found: Reliability) -> dict[str, Any]:
    return {"log_loss": found.log_loss, "ece": found.ece, "bins": [asdict(one) for one in found.bins]}


def _from_json(data: Mapping[str, Any]) -> Report:
    """Counts are read, and what follows from them is counted again: a file can't contradict itself."""
    if data["version"] != VERSION:
        raise ValueError(f"it is of version {data['version']!r}, not {VERSION}")

    def share(found: Mapping[str, Any]) -> Share:
        return Share(int(found["right"]), int(found["total"]))

    def reliability(found: Mapping[str, Any]) -> Reliability:
        bins = [
            Bin(float(one["low"]), float(one["high"]), int(one["photos"]), int(one["right"]), float(one["confidence"]))
            for one in found["bins"]
        ]
        return Reliability(float(found["log_loss"]), tuple(bins))

    compared, fitted, rule = data["baseline"], data["calibration"], data["none_of_these"]
    names = tuple(str(one["name"]) for one in data["classes"])
    if rule["score"] not in get_args(Score):
        raise ValueError(f"score is {rule['score']!r}")
    found = Report(
        names,
        tuple(tuple(int(count) for count in row) for row in data["confusion"]),
        range(len(names)).index(data["majority"]["index"]),
        share(data["top5"]) if data["top5"] is not None else None,
        Comparison(share(compared["accuracy"]), int(compared["only_model"]), int(compared["only_baseline"]))
        if compared is not None
        else None,
        Calibration(
            float(fitted["temperature"]),
            tuple(float(one) for one in fitted["fold_temperatures"]),
            reliability(fitted["before"]),
            reliability(fitted["after"]),
        ),
        NoneOfThese(rule["score"], float(rule["threshold"])),
        share(rule["flagged"]),
        tuple(
            Mistake(
                str(one["file"]),
                str(one["true"]),
                str(one["named"]),
                float(one["probability"]),
                float(one["true_probability"]),
            )
            for one in data["mistakes"]
        ),
        data.get("chosen_on_these_photos") is True,
    )
    json.dumps(found.to_json(), allow_nan=False)  # whatever can't be said again was not said by us
    return found

"""A report as Markdown, one function a table, each under a heading; and as lines of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from train.markdown import number, percent, table, text
from train.shares import Share

if TYPE_CHECKING:
    from train.report import Report

#: A confusion matrix of more classes is no table to read: the most frequent confusions stand in its place.
MATRIX_CLASSES = 20


def _row(what: str, share: Share) -> list[str]:
    return [what, f"{share.right:,} of {share.total:,}", percent(share.value), _interval(share)]


def _interval(share: Share) -> str:
    return f"{100 * share.low:.1f} to {100 * share.high:.1f} %"


def accuracy(report: Report) -> str:
    """The network's accuracy above those of the baseline and of who always names the same class."""
    rows = [_row("**this model**", report.accuracy)]
    if report.top5:
        rows.append(_row("the true class among its first 5", report.top5))
    if report.baseline:
        rows.append(_row("baseline: regression on the base's features", report.baseline.accuracy))
    rows.append(_row(f"always “{text(report.names[report.majority])}”", report.majority_accuracy))
    lines = [
        f"## Accuracy on {report.photos:,} photos kept apart",
        table(["", "right", "accuracy", "95 % interval"], rows),
    ]
    if report.chosen:
        lines.append(
            "The best epoch, or the baseline in its place, was chosen on these same photos, so new ones may go a "
            "little less well."
        )
    if compared := report.baseline:
        lines.append(
            f"Photos that only this model names rightly: {compared.only_model:,}; that only the baseline does: "
            f"{compared.only_baseline:,} (exact McNemar test: p = {compared.p_value:.2g})."
        )
    return "\n\n".join(lines)


def per_class(report: Report) -> str:
    """Precision, recall with interval and F1 of each class, and their means."""
    rows = [
        [
            text(one.name),
            f"{one.support:,}",
            percent(one.precision.value),
            percent(one.recall.value),
            _interval(one.recall) if one.support else "–",
            number(one.f1),
        ]
        for one in report.classes
    ]
    means = report.macro
    rows.append(
        ["*mean*", f"{report.photos:,}", percent(means["precision"]), percent(means["recall"]), "", number(means["f1"])]
    )
    header = ["class", "photos", "precision", "recall", "its 95 % interval", "F1"]
    return f"## Per class\n\n{table(header, rows)}"


def confusion(report: Report) -> str:
    """Counts by true and named class, or the most frequent mistakes where there are too many classes for that."""
    if len(report.names) <= MATRIX_CLASSES:
        header = ["true class", *(f"named {text(name)}" for name in report.names)]
        rows = [
            [text(name), *(f"**{count}**" if index == place else str(count) for place, count in enumerate(row))]
            for index, (name, row) in enumerate(zip(report.names, report.confusion, strict=True))
        ]
    else:
        header = ["true class", "named", "photos", "of"]
        rows = [[text(true), text(named), str(count), str(of)] for true, named, count, of in report.confusions()]
    return f"## Confusion matrix\n\n{table(header, rows)}"


def calibration(report: Report) -> str:
    """Log loss and calibration error before and after the temperature, and the bins of a reliability diagram."""
    found = report.calibration
    rows = [
        [when, number(one.log_loss, 4), percent(one.ece, 2)]
        for when, one in (("before the temperature", found.before), ("after it", found.after))
    ]
    bins = [
        [
            f"{100 * one.low:.0f} to {100 * one.high:.0f} %",
            f"{one.photos:,}",
            percent(one.confidence),
            percent(one.right / one.photos),
        ]
        for one in found.after.bins
    ]
    how = (
        f"Logits are divided by {found.temperature:.3f} before the softmax. What is said of “after it” is cross-fitted "
        f"in {len(found.fold_temperatures)} folds: each photo is judged with a temperature that was fitted without it."
        if found.fold_temperatures
        else "One photo is too few to fit a temperature on."
    )
    return "\n\n".join(
        (
            "## Calibration",
            how,
            table(["", "log loss", "expected calibration error"], rows),
            table(["probability of the first name", "photos", "their mean probability", "right"], bins),
        )
    )


def class_lines(report: Report) -> list[str]:
    """For a terminal: precision, recall and F1, a line for each class below a line of their names."""
    width = max(len(one.name) for one in report.classes)
    lines = [f"{'':{width}}  photos  precision  recall     F1"]
    for one in report.classes:
        precision, recall = percent(one.precision.value), percent(one.recall.value)
        lines.append(f"{one.name:{width}}  {one.support:6,}  {precision:>9}  {recall:>6}  {number(one.f1):>5}")
    return lines

"""An `IngestReport` for reading: a table of the classes, and one line for each thing that a person should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from resnet.rows import harmless
from train.dataset import Group, IngestReport
from train.layout import part_of

#: From here on the largest class is said to outweigh the smallest.
IMBALANCE = 3.0
#: What tools add, in words.
KINDS = {
    "macos": "files that macOS adds",
    "windows": "files that Windows adds",
    "notebook": "copies that notebooks keep",
    "hidden": "hidden files",
    "empty_folder": "empty folders",
    "link": "links that lead elsewhere",
    "special": "pipes and devices",
}


@dataclass(frozen=True)
class Finding:
    """One thing to know of a dataset: its kind, a sentence with ``{facts}`` in it, and the images that it is about."""

    code: str
    template: str
    names: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.facts)


def class_table(report: IngestReport) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: each class with its images, and with those of each part of a split that was given."""
    parts = [part for part in ("train", "val", "test") if any(getattr(one, part) for one in report.classes)]
    rows = [[harmless(one.label), one.images, *(getattr(one, part) for part in parts)] for one in report.classes]
    return ["class", "images", *parts], rows


def finding_table(report: IngestReport) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: each finding's kind, its sentence and the images that it is about."""
    rows = [[one.code, harmless(str(one)), harmless(", ".join(one.names))] for one in findings(report)]
    return ["finding", "what", "images"], list(rows)


def findings(report: IngestReport) -> tuple[Finding, ...]:
    """What there is to know; what spoils a result most comes first."""
    found = [*_copies("exact", "the same", report.exact), *_copies("near", "nearly the same", report.near)]
    if report.near_unfinished:
        found.append(Finding("near_unfinished", "So many images look alike that not all look-alikes are listed."))
    found += [*_classes(report), *_left_out(report)]
    order = {
        "like_parts": -2,
        "near_unfinished": -1,
        "exact_across_splits": 0,
        "near_across_splits": 1,
        "exact_across_classes": 2,
        "near_across_classes": 3,
    }
    return tuple(sorted(found, key=lambda one: order.get(one.code, len(order))))


def _copies(code: str, words: str, groups: tuple[Group, ...]) -> Iterator[Finding]:
    for group in groups:
        facts = {"count": len(group.names), "words": words, "labels": ", ".join(group.labels)}
        if group.across_splits:
            facts["splits"] = " and ".join(group.splits)
            yield Finding(f"{code}_across_splits", "{count} images are {words}, in {splits}.", group.names, facts)
        elif group.across_classes:
            yield Finding(f"{code}_across_classes", "{count} images are {words}, in {labels}.", group.names, facts)
        else:
            yield Finding(code, "{count} images of {labels} are {words}.", group.names, facts)


def _classes(report: IngestReport) -> Iterator[Finding]:
    if parts := [one.label for one in report.classes if part_of(one.label)]:
        yield Finding(
            "like_parts", "The classes {labels} sound like parts of a split (train, validation, test) rather than "
            "classes; look at the folders.", facts={"labels": ", ".join(parts)},
        )  # fmt: skip
    for one in report.classes:
        if one.label in report.tiny:
            yield Finding("tiny", "Few images of {label}: {count}.", facts={"label": one.label, "count": one.images})
    if report.imbalance >= IMBALANCE:
        facts = {"ratio": f"{report.imbalance:.1f}"}
        yield Finding("imbalance", "The largest class has {ratio} times as many images as the smallest.", facts=facts)


def _left_out(report: IngestReport) -> Iterator[Finding]:
    left_out = report.left_out
    for one in left_out.unreadable:
        yield Finding("unreadable", "{reason}", (one.name,), {"reason": one.reason, "refusal": one.code})
    if left_out.loose:
        facts = {"count": len(left_out.loose)}
        yield Finding("loose", "Left out, as they lie in no class folder: {count}.", left_out.loose, facts)
    if left_out.others:
        facts = {"count": len(left_out.others)}
        yield Finding("other", "Left out, as they are no images: {count}.", left_out.others, facts)
    for kind, count in left_out.ignored.items():
        facts = {"count": count}
        yield Finding(f"ignored_{kind}", f"Left out, {KINDS[kind]}: {{count}}.", facts=facts)

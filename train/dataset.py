"""`Dataset`: images with their classes, and what there is to know before anyone trains on them.

Edits are data: `without` and `moved` give a new dataset, and the files stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from resnet.errors import Refusal
from train import duplicates
from train.layout import Part
from train.look import Look
from train.names import natural

#: A class of fewer images is said to be tiny.
TINY_CLASS = 5


@dataclass(frozen=True)
class Image(Look):
    """One image of a dataset: what `look` saw of it, where it lies, what it is called, and its class.

    `name` is unique in its dataset and never changes: ``ants/1.jpg``, or ``train/ants/1.jpg`` where a split was given.
    `label` is the class, also after the image was moved to another; `split` the part that it was given to.
    """

    path: Path
    name: str
    label: str
    split: Part | None

    @property
    def sides(self) -> tuple[int, int]:
        """The short side and the long one, in pixels."""
        return min(self.width, self.height), max(self.width, self.height)


@dataclass(frozen=True)
class Unreadable:
    """A file that looks like an image and can't be used: its name, the refusal's code and its sentence."""

    name: str
    code: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """What was given and is not in the dataset.

    `ignored` counts what tools add, by kind: ``macos``, ``windows``, ``notebook``, ``hidden``, ``empty_folder``,
    ``link``, ``special``. `others` are files that are no images; `loose` are images that lie in no class folder.
    """

    ignored: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    others: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassCount:
    """How many images a class has, and how many of them were given to each part of a split."""

    label: str
    images: int
    train: int = 0
    val: int = 0
    test: int = 0


@dataclass(frozen=True)
class Group:
    """Images that are the same: their names, and the classes and the parts of the split that they are found in."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def across_classes(self) -> bool:
        """Whether at least one of them must be in the wrong class."""
        return len(self.labels) > 1

    @property
    def across_splits(self) -> bool:
        """Whether an image that is learnt from is also judged on."""
        return len(self.splits) > 1


@dataclass(frozen=True)
class IngestReport:
    """What there is to know of a dataset before it is trained on.

    `exact` are groups of the same bytes; `near` groups that look the same and are not all the same bytes, not all of
    them where `near_unfinished`. `imbalance` is the largest class divided by the smallest. `short_sides` and
    `long_sides` are the smallest, median and largest of all images, in pixels.
    """

    classes: tuple[ClassCount, ...]
    left_out: LeftOut
    exact: tuple[Group, ...]
    near: tuple[Group, ...]
    tiny: tuple[str, ...]
    imbalance: float
    short_sides: tuple[int, int, int]
    long_sides: tuple[int, int, int]
    formats: Mapping[str, int]
    near_unfinished: bool = False

    @property
    def images(self) -> int:
        return sum(one.images for one in self.classes)

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"images": self.images, **asdict(self)}


@dataclass(frozen=True)
class Dataset:
    """Images in classes, with a report; `name` is what the person called it."""

    classes: tuple[str, ...]
    images: tuple[Image, ...]
    report: IngestReport
    name: str = "the dataset"

    @property
    def targets(self) -> tuple[int, ...]:
        """The index of each image's class."""
        index = {label: place for place, label in enumerate(self.classes)}
        return tuple(index[image.label] for image in self.images)


@dataclass(frozen=True)
class Alike:
    """Groups of images that look the same, as `near_groups` found them: their indices, and whether that is not all."""

    groups: Sequence[tuple[int, ...]]
    unfinished: bool = False


def make_dataset(
    images: Iterable[Image], left_out: LeftOut = LeftOut(), name: str = "the dataset", known: IngestReport | None = None
) -> Dataset:
    """A dataset of these images, in order of class and name, with its report.

    Args:
        images: of any order.
        left_out: what was given and is none of them.
        name: what the person calls it.
        known: the report of a dataset that had all of these images: what looks the same in it still does.
    """
    ordered = tuple(sorted(images, key=lambda image: (natural(image.label), natural(image.name))))
    report = _report(ordered, left_out, near_groups(ordered) if known is None else _still_alike(ordered, known))
    return Dataset(tuple(one.label for one in report.classes), ordered, report, name)


def _report(images: Sequence[Image], left_out: LeftOut, alike: Alike) -> IngestReport:
    counts = Counter(image.label for image in images)
    parts = Counter((image.label, image.split) for image in images)
    classes = tuple(
        ClassCount(label, count, parts[label, "train"], parts[label, "val"], parts[label, "test"])
        for label, count in counts.items()
    )
    same = duplicates.exact([image.sha256 for image in images])
    short, long = zip(*(image.sides for image in images), strict=True) if images else ((0,), (0,))
    return IngestReport(
        classes,
        left_out,
        tuple(_group(images, group) for group in same),
        tuple(_group(images, group) for group in alike.groups),
        tuple(label for label, count in counts.items() if count < TINY_CLASS),
        max(counts.values(), default=0) / min(counts.values(), default=1),
        (min(short), int(median(short)), max(short)),
        (min(long), int(median(long)), max(long)),
        dict(Counter(image.format for image in images).most_common()),
        alike.unfinished,
    )


def near_groups(images: Sequence[Image]) -> Alike:
    """Images that look the same and are not all the same bytes; exact copies stand beside their original."""
    first: dict[str, int] = {}
    copies: dict[int, list[int]] = {}
    for index, image in enumerate(images):
        copies.setdefault(first.setdefault(image.sha256, index), []).append(index)
    originals = list(copies)
    members = [images[one] for one in originals]
    groups, whole = duplicates.search(
        [one.dhash for one in members], [one.thumb for one in members], [one.colours for one in members]
    )
    return Alike(
        [tuple(sorted(index for one in group for index in copies[originals[one]])) for group in groups], not whole
    )


def _still_alike(images: Sequence[Image], known: IngestReport) -> Alike:
    """What is left of groups that were found among these images and others; they are not compared again.

    Two that looked the same only by way of a third stay together without it: to keep them on one side is never wrong.
    """
    index = {image.name: place for place, image in enumerate(images)}
    left = [sorted(index[name] for name in group.names if name in index) for group in known.near]
    groups = [tuple(group) for group in left if len({images[one].sha256 for one in group}) > 1]
    return Alike(sorted(groups), known.near_unfinished)


def _group(images: Sequence[Image], indices: Sequence[int]) -> Group:
    members = [images[index] for index in indices]
    return Group(
        tuple(image.name for image in members),
        tuple(dict.fromkeys(image.label for image in members)),
        tuple(dict.fromkeys(image.split for image in members if image.split)),
    )


def without(dataset: Dataset, names: Collection[str]) -> Dataset:
    """The dataset without these images; a class that is left without any is gone.

    Raises:
        KeyError: if there is no image of such a name.
    """
    _require(dataset, names)
    gone = set(names)
    kept = (one for one in dataset.images if one.name not in gone)
    return make_dataset(kept, dataset.report.left_out, dataset.name, dataset.report)


def moved(dataset: Dataset, labels: Mapping[str, str]) -> Dataset:
    """The dataset with these images in other classes, also in new ones; their names stay.

    Args:
        labels: name of an image -> its new class.

    Raises:
        KeyError: if there is no image of such a name.
    """
    _require(dataset, labels)
    images = (replace(one, label=labels.get(one.name, one.label)) for one in dataset.images)
    return make_dataset(images, dataset.report.left_out, dataset.name, dataset.report)


def _require(dataset: Dataset, names: Iterable[str]) -> None:
    known = {image.name for image in dataset.images}
    for name in names:
        if name not in known:
            raise KeyError(name)


def check(dataset: Dataset) -> None:
    """See that there is something to learn: two or more classes of two or more images.

    Raises:
        Refusal: that says what is missing.
    """
    counts, left_out = dataset.report.classes, dataset.report.left_out
    if not counts and left_out.loose:
        raise Refusal(
            "data.no_folders", "{name} holds {count} images but no class folders; put the images of each class into a "
            "folder with its name.",
            name=dataset.name, count=len(left_out.loose),
        )  # fmt: skip
    if not counts and left_out.unreadable:
        first = left_out.unreadable[0]
        raise Refusal(
            "data.unreadable", "None of the {count} images in {name} can be read; of the first it is said: {reason}",
            name=dataset.name, count=len(left_out.unreadable), reason=first.reason,
        )  # fmt: skip
    if not counts:
        raise Refusal(
            "data.no_images", "{name} holds no images; it needs two or more folders of them, one for each class.",
            name=dataset.name,
        )  # fmt: skip
    if len(counts) == 1:
        raise Refusal(
            "data.one_class", "{name} holds only one class, {label}; add a folder with images of another.",
            name=dataset.name, label=counts[0].label,
        )  # fmt: skip
    if single := [one.label for one in counts if one.images < 2]:
        raise Refusal(
            "data.one_image", "{name} holds only one image of {labels}; add more of it, or leave the class out.",
            name=dataset.name, labels=", ".join(single[:5]) + (" …" if len(single) > 5 else ""),
        )  # fmt: skip
    if any(one.train for one in counts):
        for one in counts:
            if one.images == one.val + one.test and (one.val or one.test):
                raise Refusal(
                    "data.not_in_train", "{label} of {name} has images to test with and none to train on; add some to "
                    "its train folder, or leave the class out.",
                    name=dataset.name, label=one.label,
                )  # fmt: skip

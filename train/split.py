"""Which images are learnt from and which are kept apart to judge by: by class, by copies, and by a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resnet.errors import Refusal
from train import duplicates
from train.dataset import Dataset, Group, check

#: Orders that are tried where copies stand in the way of the sizes wished for.
TRIES = 40


@dataclass(frozen=True)
class Split:
    """Indices into a dataset's images, each in ascending order; no image is in two of them.

    Args:
        train: to learn from.
        val: to judge by.
        test: given for a test beside a val part; kept out of both.
        leaked: those of a given val part that have a copy in `train`; of a drawn one there are none.
        dropped: left out of `train` because a copy is in `val`, where that was asked for.
        origin: of `val`: ``"drawn"`` here, ``"given"`` as val, or ``"test"``, which serves as val where only that was
            given.
        chained: classes of which all images look alike, so that only copies to the byte are kept on one side.
        absent: classes that a given val part has no image of.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...] = ()
    leaked: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    origin: Literal["drawn", "given", "test"] = "drawn"
    chained: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def split(dataset: Dataset, val: float = 0.2, seed: int = 0, *, drop_leaked: bool = False) -> Split:
    """Keep a part of a dataset apart; a part that was given is kept as it is.

    A drawn part has about `val` of each class, at least one image and never all. Copies, exact or near, are on one side
    together, also where they stand in different classes; sizes come as near to the wish as that allows.

    Args:
        dataset: of two or more classes.
        val: the share wished for, between 0 and 1; without effect where a part was given.
        seed: the same one draws the same images.
        drop_leaked: of a given part: leave out of `train` what has a copy in it, but for the last of a class.

    Raises:
        Refusal: if there is too little to split, or copies leave no way to have each class on both sides.
        ValueError: if `val` is not between 0 and 1.
    """
    if not 0 < val < 1:
        raise ValueError(f"val is {val}; it must be between 0 and 1")
    check(dataset)
    parts = {image.split for image in dataset.images}
    held = next((part for part in ("val", "test") if part in parts), None)
    if held is None or not parts & {"train", None}:
        return _draw(dataset, val, seed)
    return _keep(dataset, held == "val", drop_leaked)


def groups(dataset: Dataset, near: bool = True) -> list[tuple[int, ...]]:
    """Indices of images that belong on one side, by their copies; two or more in each.

    Args:
        dataset: whose report names the copies.
        near: whether those that only look the same count as well.
    """
    index = {image.name: place for place, image in enumerate(dataset.images)}
    found: tuple[Group, ...] = dataset.report.exact + (dataset.report.near if near else ())
    return duplicates.connected(len(dataset.images), [[index[name] for name in group.names] for group in found])


def _keep(dataset: Dataset, has_val: bool, drop_leaked: bool) -> Split:
    part = "val" if has_val else "test"
    by_part = [image.split for image in dataset.images]
    val = {index for index, one in enumerate(by_part) if one == part}
    train = {index for index, one in enumerate(by_part) if one in ("train", None)}
    crossing = [set(group) for group in groups(dataset) if val & set(group) and train & set(group)]
    dropped: set[int] = set()
    if drop_leaked:
        targets = dataset.targets
        remaining = Counter(targets[index] for index in train)
        for index in sorted(set().union(*crossing) & train):
            if remaining[targets[index]] > 1:
                remaining[targets[index]] -= 1
                dropped.add(index)
        train -= dropped
    leaked = {index for group in crossing if group & train for index in group & val}
    seen = {dataset.images[index].label for index in val}
    return Split(
        _ordered(train),
        _ordered(val),
        _ordered(set(range(len(by_part))) - train - val - dropped),
        _ordered(leaked),
        _ordered(dropped),
        "given" if has_val else "test",
        absent=tuple(label for label in dataset.classes if label not in seen),
    )


def _ordered(indices: set[int]) -> tuple[int, ...]:
    return tuple(sorted(indices))


def _draw(dataset: Dataset, share: float, seed: int) -> Split:
    targets = dataset.targets
    whole = Counter(targets)
    wish = {label: min(max(round(share * count), 1), count - 1) for label, count in whole.items()}
    together = groups(dataset)
    chosen, lacking = _choose(_all_groups(together, len(targets)), targets, wish, seed)
    chained: set[int] = set()
    if lacking:
        # A chain of look-alikes may hold a whole class: a burst of one scene, or drawings. Better a val part that is
        # too easy, and said to be so, than none; but what is the same to the byte stays together.
        same = groups(dataset, near=False)
        while lacking - chained:
            chained |= lacking
            loose = {index for group in together if any(targets[one] in chained for one in group) for index in group}
            kept = [group for group in together if not loose & set(group)]
            kept += [group for group in same if loose & set(group)]
            chosen, lacking = _choose(_all_groups(kept, len(targets)), targets, wish, seed)
    if lacking:
        raise Refusal(
            "split.copies", "The images of {labels} in {name} are copies of one another, so that none of them can be "
            "kept apart; add others.",
            name=dataset.name, labels=", ".join(dataset.classes[label] for label in sorted(lacking)[:5]),
        )  # fmt: skip
    return Split(
        _ordered(set(range(len(targets))) - chosen),
        _ordered(chosen),
        chained=tuple(dataset.classes[label] for label in sorted(chained)),
    )


def _all_groups(together: Sequence[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    grouped = {index for group in together for index in group}
    return sorted([*together, *((index,) for index in range(count) if index not in grouped)])


def _choose(
    units: Sequence[tuple[int, ...]], targets: Sequence[int], wish: dict[int, int], seed: int
) -> tuple[set[int], set[int]]:
    """Of several random orders the one that comes nearest to the wish: the indices chosen, and the classes that have
    none on one of the sides.
    """
    counts = [Counter(targets[index] for index in unit) for unit in units]
    best: tuple[int, int] | None = None
    found: tuple[set[int], set[int]] = set(), set()
    for attempt in range(TRIES):
        order = list(range(len(units)))
        random.Random(f"{seed} {attempt}").shuffle(order)
        chosen, need, lacking = _fill(counts, order, wish, Counter(targets))
        cost = len(lacking), sum(map(abs, need.values()))
        if best is None or cost < best:
            best, found = cost, ({index for unit in chosen for index in units[unit]}, lacking)
        if cost == (0, 0):
            break
    return found


def _fill(
    counts: Sequence[Counter[int]], order: Sequence[int], wish: dict[int, int], left: Counter[int]
) -> tuple[set[int], dict[int, int], set[int]]:
    """Take units in their order as long as they fit into what is still wished for.

    Returns:
        The units taken, how many images of each class are still wished for (below 0: too many), and the classes that
        have no image on one of the sides.
    """
    need, chosen = dict(wish), set()

    def take(unit: int) -> None:
        chosen.add(unit)
        for label, count in counts[unit].items():
            need[label] -= count
            left[label] -= count

    def spared(unit: int) -> bool:
        return all(left[label] > count for label, count in counts[unit].items())

    for unit in order:
        if all(need[label] >= count for label, count in counts[unit].items()):
            take(unit)
    # What is left is larger than what is still wished for. It is taken where that comes nearer to the wish, or where a
    # class would else have nothing to be judged by.
    for label in wish:
        while need[label] > 0:
            options = [unit for unit in order if unit not in chosen and label in counts[unit] and spared(unit)]
            gain, unit = min(((_gain(counts[unit], need), unit) for unit in options), default=(0, -1))
            if unit < 0 or (gain >= 0 and need[label] < wish[label]):
                break
            take(unit)
    return chosen, need, {label for label in wish if need[label] == wish[label] or left[label] < 1}


def _gain(count: Counter[int], need: dict[int, int]) -> int:
    """How much farther from the wish it is with a unit than without."""
    return sum(abs(need[label] - one) - abs(need[label]) for label, one in count.items())

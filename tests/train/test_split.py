"""What is kept apart: of each class, copies together, the same for the same seed; against scikit-learn's splitter."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from resnet.errors import Refusal
from tests.pictures import entry
from train.dataset import Dataset, make_dataset
from train.layout import Part
from train.split import Split, groups, split


def plain(**counts: int) -> Dataset:
    """So many images of each class, none like another."""
    numbers = iter(range(10_000))
    return make_dataset(
        entry(label, number, number)
        for label, count in counts.items()
        for number in (next(numbers) for _ in range(count))
    )


def scattered(seed: int) -> Dataset:
    """Random classes with random copies in and across them, exact and near; each class has enough else."""
    rng = random.Random(seed)
    images, content = [], 0
    for label in range(rng.randint(2, 6)):
        for _ in range(rng.randint(2, 60)):
            content += 1
            images.append(entry(f"c{label}", len(images), content))
    labels = sorted({image.label for image in images})
    for image in rng.sample(images, len(images) // 3):
        for _ in range(rng.choice([1, 1, 1, 2, 6])):
            label = image.label if rng.random() < 0.8 else rng.choice(labels)
            original = int(image.sha256, 16)
            if rng.random() < 0.5:
                images.append(entry(label, len(images), original))
            else:
                images.append(entry(label, len(images), 10_000 + len(images), hash_=original))
    return make_dataset(images)


def sides(dataset: Dataset, found: Split) -> tuple[Counter[str], Counter[str]]:
    train = Counter(dataset.images[index].label for index in found.train)
    return train, Counter(dataset.images[index].label for index in found.val)


@pytest.mark.parametrize("seed", range(40))
def test_of_any_dataset(seed: int) -> None:
    dataset = scattered(seed)
    share = random.Random(seed).choice([0.05, 0.1, 0.2, 0.3, 0.5])
    found = split(dataset, share, seed)
    assert found == split(dataset, share, seed)
    assert sorted(found.train + found.val) == list(range(len(dataset.images)))
    assert (found.train, found.val) == (tuple(sorted(found.train)), tuple(sorted(found.val)))
    assert not (found.test or found.leaked or found.dropped or found.absent or found.chained)
    assert found.origin == "drawn"
    train, val = set(found.train), set(found.val)
    for group in groups(dataset):
        assert set(group) <= train or set(group) <= val
    in_train, in_val = sides(dataset, found)
    largest = max(map(len, groups(dataset)), default=1)
    for one in dataset.report.classes:
        assert in_train[one.label] >= 1 and in_val[one.label] >= 1
        wish = min(max(round(share * one.images), 1), one.images - 1)
        assert abs(in_val[one.label] - wish) <= largest


@pytest.mark.parametrize("seed", range(8))
def test_sizes_are_no_farther_from_the_wish_than_sklearns(seed: int) -> None:
    dataset = scattered(100 + seed)
    numbers = np.arange(len(dataset.images))
    for group in groups(dataset):
        numbers[list(group)] = group[0]
    whole = Counter(dataset.targets)

    def deviation(val: Counter[int]) -> float:
        return sum(abs(val[label] - count / 5) for label, count in whole.items())

    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    theirs = [
        deviation(Counter(dataset.targets[index] for index in val))
        for _, val in splitter.split(numbers, dataset.targets, numbers)
    ]
    ours = deviation(Counter(dataset.targets[index] for index in split(dataset, 0.2, seed).val))
    assert ours <= max(float(np.mean(theirs)), 0.5 * len(whole))


def test_without_copies_sizes_are_exact() -> None:
    dataset = plain(ants=100, bees=7, wasps=2, flies=10)
    for share, expected in ((0.2, (20, 1, 1, 2)), (0.01, (1, 1, 1, 1)), (0.99, (99, 6, 1, 9)), (0.5, (50, 4, 1, 5))):
        val = sides(dataset, split(dataset, share))[1]
        assert tuple(val[label] for label in ("ants", "bees", "wasps", "flies")) == expected


def test_seeds_draw_differently_and_evenly() -> None:
    dataset = plain(ants=20, bees=20)
    drawn = Counter(index for seed in range(400) for index in split(dataset, 0.25, seed).val)
    assert len({split(dataset, 0.25, seed).val for seed in range(20)}) == 20
    assert len(drawn) == 40 and min(drawn.values()) >= 60 and max(drawn.values()) <= 140  # 100 each, by chance


def test_one_image_with_two_labels_is_on_one_side() -> None:
    images = [entry(label, number, content) for label in "ab" for content, number in enumerate(range(10))]
    dataset = make_dataset(images)
    assert all(group.across_classes for group in dataset.report.exact) and len(dataset.report.exact) == 10
    found = split(dataset)
    kept = Counter(dataset.images[index].sha256 for index in found.val)
    assert sorted(kept.values()) == [2, 2]


def test_a_group_that_is_too_large_is_taken_where_nothing_else_is() -> None:
    """Of ten images eight are copies: the wish is 2, and two singles are it; of nine copies and one more, one is."""
    for copies, expected in ((8, 2), (9, 1)):
        images = [entry("a", number, 0) for number in range(copies)]
        images += [entry("a", number, number) for number in range(copies, 10)]
        dataset = make_dataset(images + [entry("b", number, 100 + number) for number in range(10)])
        for seed in range(10):
            assert sides(dataset, split(dataset, 0.2, seed))[1] == {"a": expected, "b": 2}


def test_crossing_copies_leave_a_way_that_is_found() -> None:
    """Only few of the ways to put these groups on sides leave each class on both."""
    pairs = list(combinations("abcd", 2))
    images = [entry(label, number, number) for number, pair in enumerate(pairs) for label in pair]
    dataset = make_dataset(images)
    for seed in range(10):
        train, val = sides(dataset, split(dataset, 0.5, seed))
        assert len(train) == len(val) == 4


def test_a_class_of_copies_alone_is_refused() -> None:
    images = [entry("a", number, 0) for number in range(5)] + [entry("b", number, 10 + number) for number in range(5)]
    with pytest.raises(Refusal, match="images of a in the dataset are copies of one another") as caught:
        split(make_dataset(images))
    assert caught.value.code == "split.copies" and caught.value.facts["labels"] == "a"


def test_a_class_of_look_alikes_is_split_and_said_to_be_so() -> None:
    images = [entry("a", number, number, hash_=0) for number in range(6)] + [
        entry("a", number, 5) for number in range(6, 8)
    ]
    images += [entry("b", number, 10 + number) for number in range(10)] + [
        entry("b", 10 + number, 19) for number in (1, 2)
    ]
    dataset = make_dataset(images)
    found = split(dataset, 0.25)
    assert found.chained == ("a",)
    assert sides(dataset, found)[1] == {"a": 2, "b": 3}
    for group in groups(dataset, near=False):  # to the byte they still are on one side
        assert set(group) <= set(found.train) or set(group) <= set(found.val)


def test_too_little_is_refused() -> None:
    for counts, code in (({"a": 5}, "data.one_class"), ({"a": 5, "b": 1}, "data.one_image"), ({}, "data.no_images")):
        with pytest.raises(Refusal) as caught:
            split(plain(**counts))
        assert caught.value.code == code


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split(plain(a=5, b=5), share)


# -- parts that were given ---------------------------------------------------------------------------------------------


def given(*parts: tuple[str, Part | None, int]) -> Dataset:
    """Images by label, part and content."""
    return make_dataset(entry(label, number, content, part) for number, (label, part, content) in enumerate(parts))


def in_part(dataset: Dataset, part: Part | None) -> tuple[int, ...]:
    return tuple(index for index, image in enumerate(dataset.images) if image.split == part)


def test_a_given_part_is_kept() -> None:
    dataset = given(
        *(("a", "train", number) for number in range(5)), *(("b", "train", number) for number in range(10, 15)),
        *(("a", "val", number) for number in range(20, 29)), ("b", "val", 30), ("a", "test", 40), ("b", "test", 41),
    )  # fmt: skip
    found = split(dataset, 0.9, 5)
    assert found == Split(in_part(dataset, "train"), in_part(dataset, "val"), in_part(dataset, "test"), origin="given")


def test_a_given_test_serves_as_val() -> None:
    dataset = given(
        *(("a", "train", n) for n in range(3)),
        *(("b", "train", n) for n in (5, 6)),
        ("a", "test", 9),
        ("b", "test", 10),
    )
    found = split(dataset)
    assert (found.val, found.test, found.origin) == (in_part(dataset, "test"), (), "test")


def test_leaks_are_named_and_can_be_dropped_from_train() -> None:
    dataset = given(
        ("a", "train", 1), ("a", "train", 1), ("a", "train", 2), ("b", "train", 3), ("b", "train", 4),
        ("a", "val", 1), ("a", "val", 7), ("b", "val", 3), ("b", "val", 8), ("b", "val", 8),
    )  # fmt: skip
    content = [int(image.sha256, 16) for image in dataset.images]
    found = split(dataset)
    assert [content[index] for index in found.leaked] == [1, 3]
    assert found.val == in_part(dataset, "val") and found.train == in_part(dataset, "train") and not found.dropped
    dropped = split(dataset, drop_leaked=True)
    assert dropped.val == found.val and dropped.leaked == ()
    assert [content[index] for index in dropped.dropped] == [1, 1, 3]
    assert set(dropped.train) == set(found.train) - set(dropped.dropped)
    assert not dropped.test


def test_the_last_of_a_class_is_not_dropped() -> None:
    dataset = given(("a", "train", 1), ("a", "train", 1), ("b", "train", 3), ("a", "val", 1), ("b", "val", 4))
    found = split(dataset, drop_leaked=True)
    assert len(found.dropped) == 1 and len(found.leaked) == 1
    assert {dataset.images[index].label for index in found.train} == {"a", "b"}


def test_a_class_that_val_lacks_is_named() -> None:
    dataset = given(*(("a", "train", n) for n in range(3)), *(("b", "train", n) for n in (5, 6)), ("a", "val", 9))
    assert split(dataset).absent == ("b",)


def test_what_is_left_of_a_given_split_is_split_anew() -> None:
    """Where an edit took the whole of a part away."""
    for part in ("train", "val"):
        dataset = given(
            *(("a", part, number) for number in range(5)), *(("b", part, number) for number in range(5, 10))
        )
        found = split(dataset)
        assert found.origin == "drawn" and len(found.val) == 2


def test_images_in_new_classes_and_no_part_are_trained_on() -> None:
    dataset = given(("a", "train", 1), ("a", None, 2), ("b", None, 3), ("a", "val", 4), ("b", "val", 5))
    assert split(dataset).train == tuple(sorted(in_part(dataset, "train") + in_part(dataset, None)))


def test_thousands_of_images_take_no_time() -> None:
    rng = random.Random(0)
    images = [entry(f"c{number % 50}", number, number) for number in range(5000)]
    images += [
        entry(image.label, 5000 + number, int(image.sha256, 16))
        for number, image in enumerate(rng.sample(images, 1000))
    ]
    dataset = make_dataset(images)
    found = split(dataset)
    assert len(found.val) == sum(round(0.2 * one.images) for one in dataset.report.classes)

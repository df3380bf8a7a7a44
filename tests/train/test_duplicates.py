"""Copies: found whatever was done to them, and what only resembles is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import load_digits

from bench.copies import alike, changed
from tests.effort import at_once
from tests.pictures import PHOTOS, encoded, entry, jpeg, picture, tree, zipped
from train import duplicates
from train.dataset import Dataset, make_dataset, moved, without
from train.dataset import Image as Entry
from train.duplicates import Groups, connected, exact, near
from train.findings import findings
from train.ingest import ingest
from train.look import Look, look


def seen(image: Image.Image, tmp_path: Path, **options: object) -> Look:
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(image, **({"quality": 90} | options)))
    return look(path, path.name)


def near_of(looks: Sequence[Look | Entry]) -> Groups:
    return near([one.dhash for one in looks], [one.thumb for one in looks], [one.colours for one in looks])


# -- groups ------------------------------------------------------------------------------------------------------------


def test_exact_copies() -> None:
    assert exact([]) == exact(["a", "b"]) == []
    assert exact(["a", "b", "a", "c", "b", "a"]) == [(0, 2, 5), (1, 4)]


@pytest.mark.parametrize("seed", range(10))
def test_connected_groups_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    pairs = rng.integers(0, count, (int(rng.integers(0, 60)), 2))
    found = connected(count, pairs)
    number, labels = connected_components(
        coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count)), directed=False
    )
    expected = [tuple(np.nonzero(labels == label)[0].tolist()) for label in range(number)]
    assert found == sorted(group for group in expected if len(group) > 1)


def test_longer_sequences_join_all() -> None:
    assert connected(7, [(0, 2, 4), (5, 6), (4, 6)]) == [(0, 2, 4, 5, 6)]


# -- copies that were changed ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers() -> Dataset:
    return ingest(PHOTOS / "flowers")


@pytest.mark.parametrize("what", ["same", "half", "double", "brighter", "squashed", "cropped"])
def test_copies_of_flowers_are_found(flowers: Dataset, tmp_path: Path, what: str) -> None:
    """Each is recompressed as well, at a quality of 30. Of 2,600 flowers `bench.copies` counts them."""
    rng = random.Random(0)
    for image in flowers.images[::2]:
        with Image.open(image.path) as original:
            copy = seen(changed(original, what, rng), tmp_path, quality=30)
        assert alike(image, copy), image.name


# -- what only resembles -----------------------------------------------------------------------------------------------


def test_sheets_of_one_colour_are_the_same_only_in_the_same_colour(tmp_path: Path) -> None:
    red, blue, dark, again = (
        seen(Image.new("RGB", (64, 48), colour), tmp_path) for colour in ("red", "blue", "maroon", (255, 1, 0))
    )
    assert not alike(red, blue) and not alike(red, dark)
    assert alike(red, again)


def test_drawn_shapes_are_told_apart(tmp_path: Path) -> None:
    def drawn(colour: str, ground: str = "white", shape: str = "ellipse", side: int = 96, quality: int = 90) -> Look:
        image = Image.new("RGB", (96, 96), ground)
        getattr(ImageDraw.Draw(image), shape)((20, 30, 60, 70), fill=colour)
        return seen(image.resize((side, side)), tmp_path, quality=quality)

    assert alike(drawn("red"), drawn("red"))
    assert alike(drawn("red"), drawn("red", side=64)) and alike(drawn("red"), drawn("red", quality=40))
    assert not alike(drawn("red"), drawn("blue"))
    assert not alike(drawn("red"), drawn("red", "lime"))
    assert not alike(drawn("red"), drawn("red", shape="rectangle"))


def test_scanned_digits_are_not_all_copies_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a hash they are; a chain of look-alikes would put all of a class on one side."""
    digits = load_digits().images[:600]
    looks = [
        seen(Image.fromarray((digit / 16 * 255).astype(np.uint8)).resize((64, 64)), tmp_path, quality=95)
        for digit in digits
    ]
    with monkeypatch.context() as patched:
        patched.setattr(duplicates, "TIGHTER", ())
        assert max(map(len, near_of(looks))) > 80
    groups = near_of(looks)
    assert max(map(len, groups), default=0) <= 30
    again = near_of([*looks, *looks[:5]])
    for index in range(5):  # and still a copy is one
        assert any({index, 600 + index} <= set(group) for group in again)


def test_of_many_images_the_copies_are_found() -> None:
    """How long 10,000 take says `bench.copies`; that none is compared with each other in Python, the count of calls."""
    rng = random.Random(0)
    hashes = [rng.getrandbits(128) for _ in range(4_000)]
    thumbs = [rng.randbytes(192) for _ in range(4_000)]
    hashes[3900], thumbs[3900] = hashes[10] ^ 0b1011, thumbs[10]
    assert at_once(lambda: near(hashes, thumbs, [100.0] * len(hashes)), most=100_000) == [(10, 3900)]


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    base = [rng.getrandbits(128) for _ in range(40)]
    hashes = [rng.choice(base) ^ (1 << rng.randrange(128)) for _ in range(150)]
    thumbs = [bytes(192)] * 150
    whole = near(hashes, thumbs, [100.0] * len(hashes))
    for name, size in (("BLOCK", 7), ("COLUMNS", 11), ("PAIRS", 3)):
        monkeypatch.setattr(duplicates, name, size)
        assert near(hashes, thumbs, [100.0] * len(hashes)) == whole != []


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_those_of_all_pairs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is joined on the way is skipped, and changes nothing: at each limit they are the groups of every pair."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    count = rng.randrange(2, 120)
    hashes = [rng.choice([0, 2**127 - 1]) ^ sum(1 << bit for bit in rng.sample(range(128), 6)) for _ in range(count)]
    base = noise.integers(0, 256, (4, 192))
    thumbs = [
        (base[rng.randrange(4)] + noise.normal(0, rng.choice([1, 9, 25]), 192)).clip(0, 255).astype(np.uint8).tobytes()
        for _ in range(count)
    ]
    looks = hashes, thumbs, [100.0] * count
    apart = duplicates._Joined(count)
    pairs, distances = (np.concatenate(one) for one in zip(*duplicates._candidates(*looks, apart), strict=True))
    monkeypatch.setattr(duplicates, "PAIRS", 5)
    for limit in (duplicates.MAX_THUMB_DISTANCE, *duplicates.TIGHTER):
        with monkeypatch.context() as patched:
            patched.setattr(duplicates, "MAX_THUMB_DISTANCE", limit)
            patched.setattr(duplicates, "TIGHTER", ())
            assert near(*looks) == connected(count, pairs[distances <= limit])


def test_thousands_of_the_same_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = [0] * 3000, [bytes(192)] * 3000, [1.0] * 3000
    assert at_once(lambda: near(*blank), most=100_000) == [tuple(range(3000))]
    pairs = 0
    kept = duplicates._candidates

    def counted(*arguments: Any) -> Any:
        nonlocal pairs
        for found in kept(*arguments):
            pairs += len(found[0])
            yield found

    monkeypatch.setattr(duplicates, "_candidates", counted)
    near(*blank)
    assert pairs < 3 * duplicates.PAIRS  # of 4.5 million


def test_a_search_that_would_not_end_is_ended_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that are all near, of images that all differ: each pair has to be looked at."""
    rng = random.Random(0)
    looks = [0] * 200, [*(rng.randbytes(192) for _ in range(198)), bytes(192), bytes(192)], [100.0] * 200
    assert duplicates.search(*looks) == ([(198, 199)], True)
    monkeypatch.setattr(duplicates, "PAIRS", 100)
    assert duplicates.search(*looks, most=1000) == ([], False)
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 1000)
    images = [replace(entry("ab"[number % 2], number, number, hash_=number), dhash=0) for number in range(200)]
    report = make_dataset(images).report
    assert report.near_unfinished and report.to_json()["near_unfinished"]
    assert "not all look-alikes are listed" in str(findings(report)[0])
    assert without(make_dataset(images), [images[0].name]).report.near_unfinished
    assert not make_dataset(images[:20]).report.near_unfinished


def test_of_nothing_there_are_no_copies() -> None:
    assert near([], [], []) == near([1], [bytes(192)], [1.0]) == []


# -- in a dataset ------------------------------------------------------------------------------------------------------


def test_the_report_says_where_copies_are(tmp_path: Path) -> None:
    large = picture(3, (320, 240))
    copy = encoded(large.resize((160, 120)), quality=60)
    entries = {
        "train/ants/1.jpg": jpeg(1), "train/ants/2.jpg": jpeg(1), "train/ants/3.jpg": encoded(large, quality=95),
        "train/bees/1.jpg": jpeg(2), "train/bees/2.jpg": copy, "val/ants/1.jpg": jpeg(4), "val/bees/1.jpg": jpeg(2),
        "val/bees/2.jpg": copy, "val/bees/3.jpg": jpeg(5),
    }  # fmt: skip
    report = ingest(zipped(tmp_path / "x.zip", entries), tmp_path / "y").report
    assert [(one.names, one.across_classes, one.across_splits) for one in report.exact] == [
        (("train/ants/1.jpg", "train/ants/2.jpg"), False, False),
        (("train/bees/1.jpg", "val/bees/1.jpg"), False, True),
        (("train/bees/2.jpg", "val/bees/2.jpg"), False, True),
    ]
    (group,) = report.near
    assert group.names == ("train/ants/3.jpg", "train/bees/2.jpg", "val/bees/2.jpg")
    assert group.labels == ("ants", "bees") and group.splits == ("train", "val")
    assert group.across_classes and group.across_splits


def test_copies_are_counted_again_after_an_edit(tmp_path: Path) -> None:
    dataset = ingest(tree(tmp_path, {f"{label}/{n}.jpg": jpeg(n) for label in "ab" for n in range(3)}))
    assert [one.names for one in dataset.report.exact] == [(f"a/{n}.jpg", f"b/{n}.jpg") for n in range(3)]
    assert len(without(dataset, ["a/0.jpg", "b/1.jpg"]).report.exact) == 1


def test_an_edit_compares_no_images_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks the same still does, whichever class it is in; of what is left out nothing is said any more."""
    images = [entry("ab"[number % 2], number, number // 2 * 2, hash_=number // 4) for number in range(40)]
    dataset = make_dataset(images)
    assert len(dataset.report.near) == 10
    monkeypatch.setattr(duplicates, "_candidates", None)
    name = [image.name for image in images]
    # Of four that look the same, 0 and 1 are the same bytes, as are 2 and 3.
    after = moved(without(dataset, [name[0], name[4], name[5]]), {name[8]: "b"})
    groups = {one.names for one in after.report.near}
    assert len(groups) == 9 and (name[2], name[1], name[3]) in groups
    assert not any(name[6] in group for group in groups)  # only its own copy is left of what looked like it
    assert moved(moved(dataset, {name[0]: "b"}), {name[0]: "a"}) == dataset
    assert [one.names for one in dataset.report.near] == [one.names for one in without(dataset, []).report.near]


def test_many_exact_copies_are_no_chain_of_look_alikes() -> None:
    """A hundred of the same do not make the search for look-alikes stricter."""
    images = [entry("a", number, 0, hash_=0) for number in range(100)] + [
        entry("b", number, number, hash_=(number + 1) // 2) for number in range(1, 41)
    ]
    report = make_dataset(images).report
    assert len(report.exact) == 1 and len(report.exact[0].names) == 100
    assert len(report.near) == 20

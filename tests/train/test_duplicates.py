"""Copies: found whatever was done to them, and what only resembles is left alone."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import load_digits

from tests.pictures import encoded, entry, jpeg, picture, tree, zipped
from train import duplicates
from train.dataset import Dataset, make_dataset, without
from train.dataset import Image as Entry
from train.duplicates import Groups, connected, exact, near
from train.ingest import ingest
from train.look import Look, look


def seen(image: Image.Image, tmp_path: Path, **options: object) -> Look:
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(image, **({"quality": 90} | options)))
    return look(path, path.name)


def near_of(looks: Sequence[Look | Entry]) -> Groups:
    return near([one.dhash for one in looks], [one.thumb for one in looks], [one.colours for one in looks])


def alike(*looks: Look | Entry) -> bool:
    return bool(near_of(looks))


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


def changed(image: Image.Image, what: str, rng: random.Random) -> Image.Image:
    width, height = image.size
    if what in ("half", "double"):
        factor = 0.5 if what == "half" else 2.0
        return image.resize((int(width * factor), int(height * factor)), Image.Resampling.LANCZOS)
    if what == "brighter":
        return ImageEnhance.Brightness(image).enhance(1.15)
    if what == "squashed":
        return image.resize((200, 200))
    if what == "cropped":  # by 1 % on each side, on average
        edges = [rng.random() * 0.02 for _ in range(4)]
        return image.crop(
            (int(width * edges[0]), int(height * edges[1]), int(width * (1 - edges[2])), int(height * (1 - edges[3])))
        )
    return image


@pytest.fixture(scope="module")
def flowers(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return ingest(shared / "data" / "flowers.zip", tmp_path_factory.mktemp("flowers"))


@pytest.mark.parametrize(
    ("what", "share"),
    [("same", 1.0), ("half", 1.0), ("double", 1.0), ("brighter", 0.98), ("squashed", 0.98), ("cropped", 0.97)],
)
def test_copies_of_flowers_are_found(flowers: Dataset, tmp_path: Path, what: str, share: float) -> None:
    """Each is recompressed as well, at a quality of 30."""
    rng = random.Random(0)
    found = 0
    chosen = flowers.images[::26]
    for image in chosen:
        with Image.open(image.path) as original:
            copy = seen(changed(original, what, rng), tmp_path, quality=30)
        found += alike(image, copy)
    assert found >= share * len(chosen)


def test_flowers_that_are_the_same_and_no_others(flowers: Dataset) -> None:
    """Each of these was looked at: the same scene, the same picture in other colours, or a second shot of it."""
    photo = {group.names: [name.split("/")[1].split("_")[0] for name in group.names] for group in flowers.report.near}
    assert sorted(photo.values()) == [
        ["10466290366", "10994032453"],
        ["10993710036", "10993818044"],
        ["12406418663", "12407768513"],
        ["13279526615", "13342823005"],
        ["14741866338", "14925398301", "14925398441"],
        ["1775233884", "2093263381"],
        ["4278757393", "4654848357"],
        ["4608559939", "4609168052"],
        ["4933824012", "4933824130"],
        ["506659320", "506660896"],
        ["6606809995", "6606813305"],
        ["8689302100", "8689302980"],
    ]
    assert [[name.split("/")[1].split("_")[0] for name in group.names] for group in flowers.report.exact] == [
        ["14889392928", "15066430311"],
        ["15069459615", "15072973261"],
    ]
    assert not any(group.across_classes for group in flowers.report.near + flowers.report.exact)


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


def test_scanned_digits_are_not_all_copies_of_each_other(tmp_path: Path) -> None:
    """To a hash they are; a chain of look-alikes would put all of a class on one side."""
    digits = load_digits().images[:600]
    looks = [
        seen(Image.fromarray((digit / 16 * 255).astype(np.uint8)).resize((64, 64)), tmp_path, quality=95)
        for digit in digits
    ]
    hashes, thumbs = [one.dhash for one in looks], [one.thumb for one in looks]
    loose = connected(600, duplicates._candidates(hashes, thumbs, [100.0] * 600)[0])
    assert max(map(len, loose)) > 80
    groups = near_of(looks)
    assert max(map(len, groups), default=0) <= 30
    again = near_of([*looks, *looks[:5]])
    for index in range(5):  # and still a copy is one
        assert any({index, 600 + index} <= set(group) for group in again)


def test_ten_thousand_images_take_a_second() -> None:
    rng = random.Random(0)
    hashes = [rng.getrandbits(128) for _ in range(10_000)]
    thumbs = [rng.randbytes(192) for _ in range(10_000)]
    hashes[9000], thumbs[9000] = hashes[10] ^ 0b1011, thumbs[10]
    start = time.perf_counter()
    assert near(hashes, thumbs, [100.0] * len(hashes)) == [(10, 9000)]
    assert time.perf_counter() - start < 10  # a second where nobody else is at work


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    base = [rng.getrandbits(128) for _ in range(40)]
    hashes = [rng.choice(base) ^ (1 << rng.randrange(128)) for _ in range(150)]
    thumbs = [bytes(192)] * 150
    whole = near(hashes, thumbs, [100.0] * len(hashes))
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    assert near(hashes, thumbs, [100.0] * len(hashes)) == whole != []


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


def test_many_exact_copies_are_no_chain_of_look_alikes() -> None:
    """A hundred of the same do not make the search for look-alikes stricter."""
    images = [entry("a", number, 0, hash_=0) for number in range(100)] + [
        entry("b", number, number, hash_=(number + 1) // 2) for number in range(1, 41)
    ]
    report = make_dataset(images).report
    assert len(report.exact) == 1 and len(report.exact[0].names) == 100
    assert len(report.near) == 20

"""From zips and folders to datasets: which layouts, which formats, what is left out and said to be, and edits."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet.errors import Refusal
from resnet.photos import find_photos
from resnet.preprocess import MAX_PIXELS, open_image
from tests.pictures import PHOTOS, encoded, entry, jpeg, picture, pictures, tree, zipped
from train.dataset import Dataset, check, make_dataset, moved, without
from train.findings import class_table, finding_table, findings
from train.ingest import ingest
from train.look import look
from train.names import apart, file_part, natural
from train.unlike import unlike
from train.writing import write_zip
from weights.load import load

FOUR = ("ants/1.jpg", "ants/2.jpg", "bees/1.jpg", "bees/2.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "unpacked"


def names(dataset: Dataset) -> list[str]:
    return [image.name for image in dataset.images]


def code(path: Path, folder: Path | None = None) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        ingest(path, folder)
    return caught.value.code, str(caught.value)


# -- layouts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", ["", "insects/", "a/b/c d/", "train/", "Test/"])
@pytest.mark.parametrize("as_zip", [True, False])
def test_class_folders_under_any_wrapping(tmp_path: Path, folder: Path, wrap: str, as_zip: bool) -> None:
    entries = pictures(*(wrap + name for name in FOUR))
    source = zipped(tmp_path / "x.zip", entries) if as_zip else tree(tmp_path / "x", entries)
    dataset = ingest(source, folder)
    assert dataset.classes == ("ants", "bees") and dataset.name == "x"
    assert names(dataset) == list(FOUR)
    assert {image.split for image in dataset.images} == {None}
    assert dataset.targets == (0, 0, 1, 1)
    for image in dataset.images:
        assert image.path.read_bytes() == entries[wrap + image.name]
    if not as_zip:
        assert not folder.exists()  # nothing is copied
        assert all(image.path.is_relative_to(source) for image in dataset.images)


@pytest.mark.parametrize("wrap", ["", "hymenoptera_data/", "a/b/"])
@pytest.mark.parametrize(
    ("train", "held", "part"),
    [
        ("train", "val", "val"),
        ("Train", "VALID", "val"),
        ("training", "validation", "val"),
        ("train", "test", "test"),
        ("TRAIN", "Testing", "test"),
        ("training_set", "test_set", "test"),
        ("train", "dev", "val"),
        ("01 Train", "02-Eval", "val"),
        ("训练集", "验证集", "val"),
        ("train", "holdout2", "test"),
    ],
)
def test_parts_that_were_given(tmp_path: Path, folder: Path, wrap: str, train: str, held: str, part: str) -> None:
    given = [f"{wrap}{train}/{name}" for name in FOUR] + [f"{wrap}{held}/ants/1.jpg", f"{wrap}{held}/bees/9.jpg"]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == ("ants", "bees")
    assert sorted(names(dataset)) == sorted(name.removeprefix(wrap) for name in given)
    assert Counter(image.split for image in dataset.images) == {"train": 4, part: 2}
    assert [vars(one)[part] for one in dataset.report.classes] == [1, 1]
    assert [one.train for one in dataset.report.classes] == [2, 2]


def test_a_part_that_says_again_which_it_is(tmp_path: Path, folder: Path) -> None:
    """As Intel's scenes are: ``seg_train/seg_train/forest``, and ``seg_pred`` unsorted beside them."""
    given = [f"seg_{part}/seg_{part}/{name}" for part in ("train", "test") for name in FOUR]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given, "seg_pred/seg_pred/1.jpg")), folder)
    assert dataset.classes == ("ants", "bees")
    assert Counter(image.split for image in dataset.images) == {"train": 4, "test": 4}


def test_a_folder_beside_train_that_holds_the_same_classes_is_none(tmp_path: Path, folder: Path) -> None:
    given = [f"{part}/{name}" for part in ("train", "extra") for name in FOUR]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == ("ants", "bees") and len(dataset.images) == 8
    assert {image.split for image in dataset.images} == {None}


def test_classes_that_hold_the_same_folders_stay_classes(tmp_path: Path, folder: Path) -> None:
    given = [
        f"{label}/{where}/{number}.jpg" for label in ("cat", "dog") for where in ("in", "out") for number in (1, 2)
    ]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == ("cat", "dog")
    assert "like_parts" not in [one.code for one in findings(dataset.report)]


@pytest.mark.parametrize("parts", [("train", "test"), ("Training Set", "验证集", "test_set")])
def test_parts_without_classes_are_no_classes(tmp_path: Path, folder: Path, parts: tuple[str, ...]) -> None:
    given = [f"data/{part}/{number}.jpg" for part in parts for number in range(3)]
    with pytest.raises(Refusal) as refused:
        ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert refused.value.code == "data.only_parts" and parts[0] in str(refused.value)


def test_a_class_that_sounds_like_a_part_is_told(tmp_path: Path, folder: Path) -> None:
    given = [f"{label}/{number}.jpg" for label in ("bus", "train") for number in (1, 2)]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    first = findings(dataset.report)[0]
    assert first.code == "like_parts" and "The classes train sound like" in str(first)


def test_three_parts_and_a_wrapping_inside_of_them(tmp_path: Path, folder: Path) -> None:
    given = [f"{part}/images/{name}" for part in ("train", "valid", "test") for name in FOUR]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert Counter(image.split for image in dataset.images) == {"train": 4, "val": 4, "test": 4}
    assert "valid/bees/2.jpg" in names(dataset)


def test_a_part_that_nobody_has_sorted_is_left_out(tmp_path: Path, folder: Path) -> None:
    given = [f"train/{name}" for name in FOUR] + ["test/1.jpg", "test/2.jpg", "test/3.jpg"]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert names(dataset) == list(FOUR)
    assert {image.split for image in dataset.images} == {None}
    assert dataset.report.left_out.loose == ("test/1.jpg", "test/2.jpg", "test/3.jpg")


def test_a_class_called_train(tmp_path: Path, folder: Path) -> None:
    given = [f"{label}/{number}.jpg" for label in ("bus", "plane", "train") for number in (1, 2)]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == ("bus", "plane", "train")
    dataset = ingest(zipped(tmp_path / "y.zip", pictures(*given, "test/1.jpg", "test/2.jpg")), tmp_path / "y")
    assert dataset.classes == ("bus", "plane", "test", "train")


def test_nested_folders_belong_to_their_class(tmp_path: Path, folder: Path) -> None:
    given = ["x/ants/red/1.jpg", "x/ants/black/deep/1.jpg", "x/ants/1.jpg", "x/bees/1.jpg", "x/bees/train/2.jpg"]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == ("ants", "bees")
    assert sorted(names(dataset)) == sorted(name.removeprefix("x/") for name in given)


def test_images_that_lie_about_are_left_out_and_named(tmp_path: Path, folder: Path) -> None:
    given = [*(f"set/{name}" for name in FOUR), "cover.jpg", "set/preview.png"]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert names(dataset) == list(FOUR)
    assert dataset.report.left_out.loose == ("cover.jpg", "set/preview.png")


def test_classes_are_in_natural_order(tmp_path: Path, folder: Path) -> None:
    labels = ["class 10", "class 2", "class 1", "Zebra", "ant", "10", "9", "n02102040", "n01440764", "花"]
    given = [f"{label}/{number}.jpg" for label in labels for number in (1, 2)]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == (
        "9", "10", "Zebra", "ant", "class 1", "class 2", "class 10", "n01440764", "n02102040", "花",
    )  # fmt: skip
    plain = ["Zebra", "ant", "n02102040", "n01440764", "ünïcode", "b", "a1", "a", "a1b"]
    assert sorted(plain, key=natural) == sorted(plain)


# -- names -------------------------------------------------------------------------------------------------------------


def unflagged(path: Path, entries: dict[str, bytes], encoding: str) -> Path:
    """A zip whose names are in an encoding that it says nothing of."""

    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:
            return self.filename.encode(encoding), self.flag_bits

    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(Info(name), data)
    with zipfile.ZipFile(path) as archive:
        assert not any(info.flag_bits & 0x800 for info in archive.infolist())
    return path


@pytest.mark.parametrize(
    ("encoding", "labels"),
    [
        ("utf-8", ("向日葵", "gänseblümchen")),
        ("gbk", ("向日葵", "郁金香", "表")),  # whose second byte is a backslash's in Shift-JIS
        ("gb18030", ("玫瑰", "翀菊", "蚂蚁", "蜜蜂")),  # of which one is not in GB2312
        ("big5", ("螞蟻", "蜜蜂", "功能")),  # whose second byte is a backslash
        ("cp932", ("ひまわり", "表示")),
        ("cp949", ("개미", "꿀벌")),
        ("cp866", ("роза", "тюльпан")),
        ("cp437", ("löwenzahn", "gänseblümchen")),
    ],
)
def test_names_without_the_flag_that_says_utf8(
    tmp_path: Path, folder: Path, encoding: str, labels: tuple[str, ...]
) -> None:
    given = [f"{label}/{number}.jpg" for label in labels for number in (1, 2)]
    path = unflagged(tmp_path / "x.zip", pictures(*given), encoding)
    dataset = ingest(path, folder)
    assert set(dataset.classes) == set(labels)
    assert sorted(names(dataset)) == sorted(given)
    assert [photo.name for photo in find_photos([path])] == [f"{path}/{name}" for name in given]


def test_flagged_names_and_decomposed_ones(tmp_path: Path, folder: Path) -> None:
    decomposed = "ga\N{LATIN SMALL LETTER U}\N{COMBINING DIAERESIS}"
    given = [f"train/{decomposed}/1.jpg", "train/gaü/2.jpg", "train/花 🌼/1.jpg", "val/gaü/3.jpg", "val/花 🌼/é.jpg"]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert dataset.classes == ("gaü", "花 🌼")  # macOS decomposes, others don't: the class is one
    assert [one.train for one in dataset.report.classes] == [2, 1]


def test_names_that_become_the_same_stay_apart(tmp_path: Path, folder: Path) -> None:
    given = ["ants/ü.jpg", "ants/u\N{COMBINING DIAERESIS}.jpg", "ants/Ü.jpg", "bees/1.jpg", "bees/2.jpg"]
    dataset = ingest(zipped(tmp_path / "x.zip", pictures(*given)), folder)
    assert names(dataset)[:3] == ["ants/Ü (3).jpg", "ants/ü (2).jpg", "ants/ü.jpg"]


def test_classes_are_called_as_they_look(tmp_path: Path, folder: Path) -> None:
    """Whatever spaces and invisible characters the folder's name holds; emoji and letters keep what joins them."""
    labels = {
        "red\u3000rose": "red rose",
        "soft\u00adly": "softly",
        "👨\u200d👩\u200d👧": "👨\u200d👩\u200d👧",
        "\u202ecba": "cba",
    }
    given = [f"{label}/{number}.jpg" for label in labels for number in (1, 2)]
    for source in (zipped(tmp_path / "x.zip", pictures(*given)), tree(tmp_path / "y", pictures(*given))):
        dataset = ingest(source, folder)
        assert set(dataset.classes) == set(labels.values()) and sorted(names(dataset)) == sorted(given)


@pytest.mark.parametrize("other", ["red\u3000rose", "red  rose", "red rose\u200b", "red\u00a0rose", "red \u202erose"])
def test_classes_that_look_the_same_are_refused_by_name(tmp_path: Path, folder: Path, other: str) -> None:
    given = [f"{label}/{number}.jpg" for label in ("red rose", other) for number in (1, 2)]
    found, said = code(zipped(tmp_path / "x.zip", pictures(*given, "bees/1.jpg", "bees/2.jpg")), folder)
    assert found == "data.same_class" and "'red rose'" in said and repr(other) in said
    assert not any(folder.iterdir())


def test_names_that_are_no_text(tmp_path: Path) -> None:
    source = tree(tmp_path / "x", pictures(*FOUR))
    try:
        os.rename(os.fsencode(source / "ants"), os.fsencode(source) + b"/an\xff\nts")  # noqa: PTH104 (bytes)
    except OSError:
        pytest.skip("this file system takes only text")
    dataset = ingest(source)
    assert dataset.classes == ("an\ufffd\ufffdts", "bees")
    json.dumps(dataset.report.to_json(), ensure_ascii=False).encode()


# -- what is left out --------------------------------------------------------------------------------------------------

LEFTOVERS = {
    "__MACOSX/ants/._1.jpg": b"x",
    "ants/._1.jpg": b"x",
    "ants/.DS_Store": b"x",
    "ants/Thumbs.db": b"x",
    "bees/desktop.ini": b"x",
    "ants/.ipynb_checkpoints/1-checkpoint.jpg": jpeg(0),
    ".git/config": b"x",
    "ants/.hidden.jpg": jpeg(0),
}


@pytest.mark.parametrize("as_zip", [True, False])
def test_what_tools_add_is_counted(tmp_path: Path, folder: Path, as_zip: bool) -> None:
    entries = pictures(*FOUR) | LEFTOVERS
    if as_zip:
        source = zipped(tmp_path / "x.zip", entries | {"empty/": b"", "wasps/none/": b"", "ants/": b""})
    else:
        source = tree(tmp_path / "x", entries)
        (source / "empty").mkdir()
        (source / "wasps" / "none").mkdir(parents=True)
    dataset = ingest(source, folder)
    assert names(dataset) == list(FOUR)
    assert dataset.report.left_out.ignored == {
        "macos": 3, "windows": 2, "notebook": 1, "hidden": 2, "empty_folder": 2,
    }  # fmt: skip
    assert not dataset.report.left_out.unreadable and not dataset.report.left_out.others
    if as_zip:
        assert len(list(folder.iterdir())) == 4


def test_files_that_are_no_images_are_named(tmp_path: Path, folder: Path) -> None:
    more = {"LICENSE": b"text", "ants/notes.txt": b"text", "ants/fake.jpg": b"text", "bees/empty.png": b""}
    more |= {"bees/cut.jpg": jpeg(5)[:900], "bees/dot.png": encoded(picture(1, (4, 4)), "PNG")}
    left_out = ingest(zipped(tmp_path / "x.zip", pictures(*FOUR) | more), folder).report.left_out
    assert left_out.others == ("LICENSE", "ants/notes.txt")
    assert [(one.name, one.code) for one in left_out.unreadable] == [
        ("ants/fake.jpg", "image.unknown"),
        ("bees/empty.png", "image.unknown"),
        ("bees/cut.jpg", "image.broken"),
        ("bees/dot.png", "image.small"),
    ]
    assert "4 x 4" in left_out.unreadable[3].reason
    assert len(list(folder.iterdir())) == 4


def test_links_are_followed_only_inside(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", pictures("1.jpg", "2.jpg", first=50))
    source = tree(tmp_path / "x", pictures(*FOUR))
    (source / "ants" / "inside.jpg").symlink_to(source / "bees" / "1.jpg")
    (source / "ants" / "outside.jpg").symlink_to(outside / "1.jpg")
    (source / "ants" / "up.jpg").symlink_to("../../outside/2.jpg")
    (source / "ants" / "nowhere.jpg").symlink_to("nowhere")
    (source / "ants" / "circle.jpg").symlink_to("circle.jpg")
    (source / "wasps").symlink_to(outside)
    (source / "loop").symlink_to(source)
    os.mkfifo(source / "ants" / "pipe.jpg")
    dataset = ingest(source)
    assert names(dataset) == ["ants/1.jpg", "ants/2.jpg", "ants/inside.jpg", "bees/1.jpg", "bees/2.jpg"]
    assert dataset.report.left_out.ignored == {"link": 5, "special": 2}


# -- formats -----------------------------------------------------------------------------------------------------------


def test_formats_are_told_by_content(tmp_path: Path, folder: Path) -> None:
    entries = {
        "ants/1.JPG": jpeg(1),
        "ants/2.txt": encoded(picture(2), "PNG"),
        "ants/3.jpg": encoded(picture(3), "WEBP"),
        "ants/4": encoded(picture(4), "TIFF"),
        "bees/1.Gif": encoded(picture(5), "GIF"),
        "bees/2.bmp": encoded(picture(6), "BMP"),
        "bees/3.png": encoded(picture(7).convert("L"), "PNG"),
    }
    dataset = ingest(zipped(tmp_path / "x.zip", entries), folder)
    assert [image.format for image in dataset.images] == ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PNG"]
    assert [image.mode for image in dataset.images][4:7] == ["P", "RGB", "L"]
    assert dataset.report.formats == {"PNG": 2, "JPEG": 1, "WEBP": 1, "TIFF": 1, "GIF": 1, "BMP": 1}
    for image in dataset.images:
        assert (image.width, image.height) == (64, 48)
        assert image.bytes == len(entries[image.name])
        assert open_image(image.path).size == (64, 48)


def test_a_photo_on_its_side_has_the_size_that_a_person_sees(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(encoded(picture(1), exif=exif))
    (tmp_path / "b.jpg").write_bytes(encoded(picture(1).rotate(-90, expand=True)))
    turned, upright = look(tmp_path / "a.jpg", "a.jpg"), look(tmp_path / "b.jpg", "b.jpg")
    assert (turned.width, turned.height) == (upright.width, upright.height) == (48, 64)
    assert (turned.dhash ^ upright.dhash).bit_count() <= 3


@pytest.mark.parametrize("size", [(6000, 8200), (8, 8), (7, 100), (8, 3000)])
@pytest.mark.parametrize("progressive", [False, True])
def test_what_is_acceptable_is_what_open_image_accepts(
    tmp_path: Path, size: tuple[int, int], progressive: bool
) -> None:
    """Also where a JPEG is decoded at an eighth of its size."""
    path = tmp_path / "a.jpg"
    Image.new("L", size, 128).save(path, progressive=progressive)
    try:
        expected: object = open_image(path).size
    except Refusal as refusal:
        expected = str(refusal)
    try:
        seen = look(path, "a.jpg")
        found: object = (seen.width, seen.height)
    except Refusal as refusal:
        found = str(refusal)
    if isinstance(expected, tuple) and size[0] * size[1] <= MAX_PIXELS:
        assert found == size == expected
    else:
        assert isinstance(found, tuple) == isinstance(expected, tuple)
        assert found == (expected if isinstance(expected, str) else size)


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    cases: dict[str, tuple[dict[str, bytes], str]] = {
        "nothing": ({}, "nothing holds no images"),
        "text": ({"ants/1.txt": b"text"}, "text holds no images"),
        "flat": (pictures("1.jpg", "2.jpg"), "2 images but no class folders"),
        "one": (pictures("x/ants/1.jpg", "x/ants/2.jpg"), "only one class, ants"),
        "single": (pictures(*FOUR, "wasps/1.jpg"), "only one image of wasps"),
        "broken": ({"ants/1.jpg": b"text", "bees/1.jpg": b"text"}, "1.jpg is not an image"),
        "untaught": (
            pictures(*(f"train/{name}" for name in FOUR), "val/wasps/1.jpg", "val/wasps/2.jpg"),
            "wasps of untaught has images to test with",
        ),
    }
    codes = []
    for name, (entries, said) in cases.items():
        for source in (zipped(tmp_path / f"{name}.zip", entries), tree(tmp_path / name, entries)):
            source.mkdir(exist_ok=True) if not source.suffix else None
            refusal, sentence = code(source, tmp_path / "unpacked")
            assert said in sentence and sentence.endswith(".")
            assert not any((tmp_path / "unpacked").iterdir()) if (tmp_path / "unpacked").exists() else True
        codes.append(refusal)
    assert codes == [
        "data.no_images", "data.no_images", "data.no_folders", "data.one_class", "data.one_image", "data.unreadable",
        "data.not_in_train",
    ]  # fmt: skip


def test_what_is_no_zip_and_no_folder(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "photos.rar").write_bytes(b"Rar!")
    assert code(tmp_path / "photos.rar", folder)[0] == "data.kind"
    for missing in ("gone.zip", "gone", "x" * 300, "nul\0"):
        assert code(tmp_path / missing, folder)[0] == "data.missing"
    assert not folder.exists()
    renamed = zipped(tmp_path / "photos.bin", pictures(*FOUR))
    assert len(ingest(renamed, folder).images) == 4


def test_a_folder_that_is_too_deep_is_named(tmp_path: Path) -> None:
    deepest = "/".join(["ants", *map(str, range(31))])
    tree(tmp_path / "x", pictures(*FOUR, f"{deepest}/1.jpg"))
    assert len(ingest(tmp_path / "x").images) == 5
    (tmp_path / "x" / deepest / "deeper" / "deeper").mkdir(parents=True)
    found, said = code(tmp_path / "x")
    assert found == "photos.deep" and said.startswith("x holds folders in more than 32 levels, ants/0/")


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_counts(tmp_path: Path, folder: Path) -> None:
    entries = pictures(*(f"bees/{number}.jpg" for number in range(12))) | {
        "ants/1.jpg": jpeg(100, (30, 90)),
        "ants/2.jpg": jpeg(101, (200, 100)),
    }
    calls: list[tuple[int, int]] = []
    report = ingest(zipped(tmp_path / "x.zip", entries), folder, progress=lambda *call: calls.append(call)).report
    assert calls == [(done, 14) for done in range(1, 15)]
    assert [(one.label, one.images) for one in report.classes] == [("ants", 2), ("bees", 12)]
    assert report.images == 14 and report.imbalance == 6 and report.tiny == ("ants",)
    assert report.short_sides == (30, 48, 100) and report.long_sides == (64, 64, 200)
    assert json.loads(json.dumps(report.to_json()))["classes"][1] == {
        "label": "bees", "images": 12, "train": 0, "val": 0, "test": 0,
    }  # fmt: skip
    assert {one.code for one in findings(report)} == {"tiny", "imbalance"}


def test_the_tables(tmp_path: Path, folder: Path) -> None:
    entries = pictures(*(f"train/{name}" for name in FOUR)) | {
        "val/ants/9.jpg": pictures(FOUR[0])[FOUR[0]],
        "val/=cmd()/1.jpg": jpeg(70),
        "train/=cmd()/2.jpg": jpeg(71),
        "notes.txt": b"x",
        "train/ants/cut.jpg": jpeg(72)[:800],
        ".DS_Store": b"x",
    }
    report = ingest(zipped(tmp_path / "x.zip", entries), folder).report
    header, rows = class_table(report)
    assert header == ["class", "images", "train", "val"]
    assert rows == [["'=cmd()", 2, 1, 1], ["ants", 3, 2, 1], ["bees", 2, 2, 0]]  # no spreadsheet runs a class
    header, rows = finding_table(report)
    assert header == ["finding", "what", "images"]
    assert rows[0] == [
        "exact_across_splits",
        "2 images are the same, in train and val.",
        "train/ants/1.jpg, val/ants/9.jpg",
    ]
    assert {str(row[0]) for row in rows} == {"exact_across_splits", "tiny", "unreadable", "other", "ignored_macos"}
    assert all(str(row[1]).endswith(".") for row in rows)


# -- edits -------------------------------------------------------------------------------------------------------------


def test_edits_give_new_datasets(tmp_path: Path) -> None:
    source = tree(tmp_path / "x", pictures(*FOUR, "ants/3.jpg", "wasps/1.jpg", "wasps/2.jpg"))
    before = ingest(source)
    after = moved(without(before, ["ants/1.jpg"]), {"wasps/1.jpg": "bees", "ants/2.jpg": "new one"})
    assert len(before.images) == 7 and before.classes == ("ants", "bees", "wasps")
    assert after.classes == ("ants", "bees", "new one", "wasps")
    assert {image.name: image.label for image in after.images} == {
        "ants/3.jpg": "ants", "bees/1.jpg": "bees", "bees/2.jpg": "bees", "wasps/1.jpg": "bees", "wasps/2.jpg": "wasps",
        "ants/2.jpg": "new one",
    }  # fmt: skip
    assert [one.images for one in after.report.classes] == [1, 3, 1, 1]
    assert moved(moved(before, {"ants/1.jpg": "bees"}), {"ants/1.jpg": "ants"}) == before  # undone
    assert without(before, ["wasps/1.jpg", "wasps/2.jpg"]).classes == ("ants", "bees")
    for wrong in (lambda: without(before, ["ants/9.jpg"]), lambda: moved(before, {"ants/9.jpg": "bees"})):
        with pytest.raises(KeyError, match=r"ants/9\.jpg"):
            wrong()
    with pytest.raises(Refusal, match="only one image of wasps"):
        check(without(before, ["wasps/1.jpg"]))


@pytest.mark.parametrize("parts", [False, True])
def test_a_dataset_written_as_a_zip_comes_back(tmp_path: Path, parts: bool) -> None:
    given = ["ants/red/1.jpg", "ants/1.png", "ants/2.jpg", "bees/1.jpg", "bees/ü 花.jpg"]
    given = [f"{part}/{name}" for part in ("Train", "valid") for name in given] if parts else given
    dataset = moved(ingest(tree(tmp_path / "x", pictures(*given))), {given[0]: "bees"})
    write_zip(dataset, tmp_path / "clean.zip")
    write_zip(dataset, tmp_path / "again.zip")
    assert (tmp_path / "clean.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    back = ingest(tmp_path / "clean.zip", tmp_path / "unpacked")
    assert Counter((one.label, one.split, one.sha256) for one in back.images) == Counter(
        (one.label, one.split, one.sha256) for one in dataset.images
    )
    assert ("train/bees/red/1.jpg" if parts else "bees/red/1.jpg") in names(back)
    assert not list(tmp_path.glob("*.part"))


def test_no_name_leads_out_of_a_written_zip(tmp_path: Path) -> None:
    dataset = ingest(tree(tmp_path / "x", pictures(*FOUR, "ants/A.jpg", "ants/a.JPG", "bees/a.jpg")))
    labels = dict.fromkeys(["bees/1.jpg"], "../../evil") | {
        "ants/1.jpg": "/abs",
        "ants/2.jpg": "C:\\x",
        "bees/2.jpg": "nul",
    }
    dataset = moved(dataset, labels | {"bees/a.jpg": "ants"})
    write_zip(dataset, tmp_path / "clean.zip")
    with zipfile.ZipFile(tmp_path / "clean.zip") as archive:
        written = archive.namelist()
    assert len({name.casefold() for name in written}) == 7
    for name in written:
        label, file = name.split("/")
        assert (
            label not in ("..", "nul", "") and ":" not in name and "\\" not in name and not name.startswith((".", "/"))
        )
        assert file.startswith(("1", "2", "a", "A"))
    assert {"ants/A.jpg", "ants/a (2).JPG", "ants/a (3).jpg"} <= set(written)


def test_names_for_files() -> None:
    for text in (
        "..",
        ".",
        "",
        " ",
        "a/b",
        "a\\b",
        "CON",
        "con.txt",
        ".hidden",
        "x" * 300,
        "花" * 100,
        "a\0b",
        "\udcff",
        "a. ",
    ):
        part = file_part(text)
        assert part and "/" not in part and "\\" not in part and "\0" not in part and not part.startswith(".")
        assert len(part.encode()) <= 210 and file_part(part) == part
    assert file_part(f"{'x' * 300}.jpg").endswith("x.jpg")
    many = apart(["ants/x.jpg"] * 100_000)
    assert len(set(many)) == 100_000 and many[-1] == "ants/x (100000).jpg"
    assert apart(["a", "A", "a", "b/a", "a (2)"], ["b"]) == ["a", "A (2)", "a (3)", "b/a", "a (2) (2)"]


def test_a_zip_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    dataset = ingest(tree(tmp_path / "x", pictures(*FOUR)))
    (tmp_path / "x" / "bees" / "2.jpg").unlink()
    with pytest.raises(Refusal, match=r"bees/2\.jpg is no longer") as caught:
        write_zip(dataset, tmp_path / "clean.zip")
    assert caught.value.code == "data.gone"
    with pytest.raises(Refusal) as caught:
        write_zip(dataset, tmp_path / "none" / "clean.zip")
    assert caught.value.code == "disk.write"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


# -- unlike the rest ---------------------------------------------------------------------------------------------------


def test_odd_images_are_named_with_their_reasons(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    entries = {
        f"{'ab'[number % 2]}/{number}.jpg": encoded(
            Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
        )
        for number in range(40)
    }
    sheet = Image.new("RGB", (160, 120), "white")
    sheet.paste((60, 60, 60), (40, 50, 90, 60))
    entries["a/placeholder.gif"] = encoded(sheet.convert("P"), "GIF")
    entries["a/icon.jpg"] = encoded(picture(500, (24, 18)))
    entries["b/banner.jpg"] = encoded(picture(501, (900, 120)))
    dataset = ingest(tree(tmp_path / "x", entries))
    found = unlike(dataset)
    reasons = {one.name: one.reasons for one in found}
    assert reasons == {
        "a/placeholder.gif": ("few_colours", "palette"),
        "a/icon.jpg": ("small", "few_colours"),  # so few pixels can't have many
        "b/banner.jpg": ("odd_shape",),
    }
    assert [one.oddness for one in found] == sorted((one.oddness for one in found), reverse=True)
    features = torch.randn(43, 8, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.ones(8)
    features[5] = -torch.ones(8)
    far = unlike(dataset, features)
    assert "far_in_features" in {one.name: one.reasons for one in far}[dataset.images[5].name]
    with pytest.raises(ValueError, match="42 images for 43"):
        unlike(dataset, features[1:])


def test_where_all_are_odd_none_is() -> None:
    few = make_dataset(entry(label, number, number) for label in "ab" for number in range(4))
    assert unlike(few) == ()
    same = make_dataset(entry(label, number, 0) for label in "ab" for number in range(40))
    assert unlike(same) == () == unlike(same, torch.ones(80, 4))


# -- real ones ---------------------------------------------------------------------------------------------------------


def test_photos_in_folders_of_classes() -> None:
    flowers = ingest(PHOTOS / "flowers")
    assert flowers.classes == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert [one.images for one in flowers.report.classes] == [12] * 5
    assert flowers.report.short_sides[0] >= 150 and flowers.report.long_sides[2] <= 400
    assert not any(vars(flowers.report.left_out).values())
    assert (flowers.report.exact, flowers.report.near) == ((), ())
    assert len(unlike(flowers)) <= 1
    things = ingest(PHOTOS / "imagenette")
    assert things.classes[0] == "n01440764" and [one.images for one in things.report.classes] == [2] * 10
    assert (things.report.exact, things.report.near, unlike(things)) == ((), (), ())


def test_photos_in_parts_with_a_placeholder_among_them(tmp_path: Path) -> None:
    dataset = ingest(PHOTOS / "hymenoptera")
    assert [vars(one) for one in dataset.report.classes] == [
        {"label": "ants", "images": 11, "train": 7, "val": 4, "test": 0},
        {"label": "bees", "images": 10, "train": 6, "val": 4, "test": 0},
    ]
    assert dataset.report.formats == {"JPEG": 20, "GIF": 1}
    assert (dataset.report.exact, dataset.report.near) == ((), ())
    (odd,) = unlike(dataset)
    assert odd.name == "train/ants/imageNotFound.gif" and set(odd.reasons) == {"few_colours", "palette"}
    cleaned = without(dataset, [odd.name])
    assert cleaned.report.formats == {"JPEG": 20}
    stream = tmp_path / "clean.zip"
    write_zip(cleaned, stream)
    with zipfile.ZipFile(io.BytesIO(stream.read_bytes())) as archive:
        assert len(archive.namelist()) == 20 and archive.testzip() is None


def test_the_placeholder_is_far_from_photos_in_features_too() -> None:
    """As the shipped network sees them, and it stays the oddest."""
    dataset = ingest(PHOTOS / "hymenoptera")
    classifier = load("flowers").classifier("cpu")
    odd = unlike(dataset, classifier.features([image.path for image in dataset.images]))
    assert odd[0].name.endswith("imageNotFound.gif")
    assert set(odd[0].reasons) == {"few_colours", "palette", "far_in_features"}

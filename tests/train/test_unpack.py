"""What a zip from a stranger can not do: every harm is refused with its own sentence, and leaves nothing behind."""

from __future__ import annotations

import errno
import io
import os
import random
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pytest

from resnet.errors import Refusal
from resnet.photos import find_photos
from tests.pictures import jpeg, pictures, zipped
from tests.zips import patched
from train import unpack
from train.dataset import Dataset
from train.ingest import Limits, ingest

GOOD = pictures("ants/1.jpg", "ants/2.jpg", "bees/1.jpg", "bees/2.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unpacked").mkdir()
    return tmp_path / "unpacked"


def refused(path: Path, folder: Path, limits: Limits | None = None) -> Refusal:
    """The refusal, which is one sentence, and has left the folder, and all that is around it, as they were."""
    before = set(folder.parent.rglob("*"))
    with pytest.raises(Refusal) as caught:
        ingest(path, folder, limits=limits or Limits())
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and "Error" not in text and len(text) < 400
    assert set(folder.parent.rglob("*")) == before
    return caught.value


def with_entry(path: Path, name: str, data: bytes = b"", **attributes: Any) -> Path:
    """A good zip with one entry more."""
    zipped(path, GOOD)
    info = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, data or jpeg(99))
    return path


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("zip.absolute", "/tmp/evil.jpg"),
        ("zip.absolute", "//server/evil.jpg"),
        ("zip.parent", "../evil.jpg"),
        ("zip.parent", "ants/../../evil.jpg"),
        ("zip.parent", "ants/.."),
        ("zip.parent", "__MACOSX/../../evil.jpg"),  # before it is known to be nothing of interest
        ("zip.drive", "C:evil.jpg"),
        ("zip.drive", "c:/evil.jpg"),
        ("zip.parent", "..\\evil.jpg"),
        ("zip.absolute", "\\\\server\\evil.jpg"),
        ("zip.drive", "C:\\evil.jpg"),
        ("zip.device", "ants/NUL"),
        ("zip.device", "con.jpg"),
        ("zip.device", "Aux/1.jpg"),
        ("zip.device", "ants/com1.tar.jpg"),
        ("zip.device", "ants/lpt9 .jpg"),
        ("zip.long_name", f"ants/{'x' * 300}.jpg"),
        ("zip.long_name", f"ants/{'花' * 90}.jpg"),
        ("zip.long_name", "a/" * 2500 + "1.jpg"),
        ("photos.deep", "a/" * 33 + "1.jpg"),
        ("photos.deep", "a/" * 2000),
        ("photos.deep", "__MACOSX/" + "a/" * 33 + "1.jpg"),
    ],
)
def test_a_harmful_name_is_refused(tmp_path: Path, folder: Path, code: str, name: str) -> None:
    path = zipped(tmp_path / "evil.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name  # as it is, whatever ZipInfo would have made of it
        archive.writestr(info, jpeg(99))
    refusal = refused(path, folder)
    assert refusal.code == code
    assert refusal.facts["name"] == "evil.zip"
    assert not Path("/tmp/evil.jpg").exists() and not (tmp_path / "evil.jpg").exists()


@pytest.mark.parametrize(
    "name",
    ["console/1.jpg", "ants/null.jpg", "ants/com.jpg", "a..b/1.jpg", "ants/...jpg", "x:/1.jpg", "a/./" * 32 + "1.jpg"],
)
def test_a_name_that_only_resembles_a_harmful_one(tmp_path: Path, folder: Path, name: str) -> None:
    """``x:/`` is a drive after all."""
    path = with_entry(tmp_path / "odd.zip", name)
    if name.startswith("x:"):
        assert refused(path, folder).code == "zip.drive"
    else:
        assert ingest_or_code(path, folder) in ("data.one_image", None)


def ingest_or_code(path: Path, folder: Path) -> str | None:
    try:
        ingest(path, folder)
    except Refusal as refusal:
        return refusal.code
    return None


def test_a_nul_in_a_name(tmp_path: Path, folder: Path) -> None:
    def change(data: bytearray, local: int, central: int) -> None:
        for start in (local + 30, central + 46):
            data[start + 7] = 0

    path = patched(with_entry(tmp_path / "evil.zip", "ants/evilx.jpg"), "ants/evilx.jpg", change)
    assert refused(path, folder).code == "zip.nul"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("code", "name"),
    [
        *(("zip.duplicate", again) for again in ("ants/1.jpg", "./ants//1.jpg", "ants\\1.jpg")),
        *(("zip.nested", archive) for archive in ("ants/more.zip", "ants/more.TAR", "annotations.tar.gz")),
    ],
)
def test_what_is_left_out_is_named_and_the_rest_is_read(tmp_path: Path, folder: Path, code: str, name: str) -> None:
    path = zipped(tmp_path / "odd.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, jpeg(99))
    dataset = ingest(path, folder)
    assert [image.name for image in dataset.images] == sorted(GOOD)
    assert len(list(folder.iterdir())) == len(GOOD)
    (left,) = dataset.report.left_out.unreadable
    assert left.name == PurePosixPath(name.replace("\\", "/")).as_posix() and left.code == code


def test_a_zip_of_archives_alone_is_refused(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "outer.zip", {"ants.zip": b"PK", "bees.zip": b"PK"})
    assert refused(path, folder).code == "zip.nested"


def test_backslashes_as_separators_mean_the_same(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "windows.zip", {})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in GOOD.items():
            info = zipfile.ZipInfo("x")
            info.filename = "data\\" + name.replace("/", "\\")
            archive.writestr(info, data)
    assert ingest(path, folder).classes == ingest(zipped(tmp_path / "unix.zip", GOOD), tmp_path / "other").classes
    assert [photo.name for photo in find_photos([path])] == [f"{path}/data/{name}" for name in GOOD]


def test_a_name_that_is_a_sentence_placeholder(tmp_path: Path, folder: Path) -> None:
    refusal = refused(with_entry(tmp_path / "{name}.zip", "../{entry}{0}\n\x1b[31m.jpg"), folder)
    assert "{entry}{0}" in str(refusal) and "\x1b" not in str(refusal)


# -- kinds of entries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "mode"),
    [("zip.link", 0o120777), ("zip.special", 0o010644), ("zip.special", 0o060644), ("zip.special", 0o140777)],
)
def test_links_and_devices(tmp_path: Path, folder: Path, code: str, mode: int) -> None:
    path = with_entry(
        tmp_path / "link.zip", "ants/link.jpg", b"../../../etc/passwd", create_system=3, external_attr=mode << 16
    )
    assert refused(path, folder).code == code


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2001])
def test_an_encrypted_entry(tmp_path: Path, folder: Path, flag: int) -> None:
    def change(data: bytearray, local: int, central: int) -> None:
        for start in (local + 6, central + 8):
            data[start : start + 2] = struct.pack("<H", struct.unpack_from("<H", data, start)[0] | flag)

    refusal = refused(patched(zipped(tmp_path / "secret.zip", GOOD), "bees/1.jpg", change), folder)
    assert refusal.code == "zip.encrypted"
    assert refusal.facts["name"] == "secret.zip/bees/1.jpg"


def test_an_encrypted_entry_that_only_its_own_header_admits(tmp_path: Path, folder: Path) -> None:
    def change(data: bytearray, local: int, central: int) -> None:
        data[local + 6] |= 1

    path = patched(zipped(tmp_path / "secret.zip", GOOD), "bees/1.jpg", change)
    assert ingest_or_code(path, folder) in ("zip.encrypted", "data.one_image", None)


@pytest.mark.parametrize("name", ["ants/3.jpg", "ants/archive"])
def test_an_archive_that_calls_itself_a_photo(tmp_path: Path, folder: Path, name: str) -> None:
    inner = zipped(tmp_path / "inner.zip", GOOD).read_bytes()
    assert refused(with_entry(tmp_path / "outer.zip", name, inner), folder).code == "zip.nested"


def test_a_document_is_an_archive_that_nobody_minds(tmp_path: Path, folder: Path) -> None:
    document = zipped(tmp_path / "inner.zip", {"word/document.xml": b"<xml/>"}).read_bytes()
    dataset = ingest(with_entry(tmp_path / "outer.zip", "notes.docx", document), folder)
    assert dataset.report.left_out.others == ("notes.docx",)


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_too_many_entries(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "many.zip", GOOD)
    assert refused(path, folder, Limits(entries=3)).code == "zip.entries"
    assert len(ingest(path, folder, limits=Limits(entries=4)).images) == 4


def test_a_table_of_contents_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "many.zip", {f"ants/{'x' * 200}{number}": b"" for number in range(20)})
    monkeypatch.setattr(zipfile, "ZipFile", lambda *args: pytest.fail("it was opened"))
    assert refused(path, folder, Limits(entries=5)).code == "zip.entries"


def test_a_hundred_thousand_and_one_entries(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:  # the same empty entry, named again and again
        archive.writestr("a", b"")
        info = archive.filelist[0]
        archive.filelist = [info] * 100_001
    refusal = refused(path, folder)
    assert refusal.code == "zip.entries" and refusal.facts["limit"] == 100_000


def test_too_much_in_all_is_counted_while_it_comes(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "large.zip", GOOD)
    total = sum(map(len, GOOD.values()))
    assert refused(path, folder, Limits(bytes=total - 1)).code == "zip.total"
    assert len(ingest(path, folder, limits=Limits(bytes=total)).images) == 4


def test_a_bomb(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", GOOD | {"ants/bomb.bmp": bytes(30 * 1024**2)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 60_000
    refusal = refused(path, folder)
    assert refusal.code == "zip.entry_ratio"
    assert (refusal.facts["entry"], refusal.facts["limit"]) == ("ants/bomb.bmp", "200")


def test_a_bomb_in_many_small_pieces(tmp_path: Path, folder: Path) -> None:
    pieces = {f"ants/{number}.bmp": bytes(900_000) for number in range(10)}
    assert refused(zipped(tmp_path / "bomb.zip", pieces, zipfile.ZIP_DEFLATED), folder).code == "zip.ratio"


def test_a_bomb_behind_much_that_is_not_packed_at_all(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", GOOD | {"noise.bin": os.urandom(200_000)})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ants/bomb.bmp", bytes(30 * 1024**2))
    assert refused(path, folder).code == "zip.entry_ratio"


def test_a_small_drawing_may_shrink_as_much_as_it_likes(tmp_path: Path, folder: Path) -> None:
    path = zipped(tmp_path / "flat.zip", GOOD | {"notes.txt": bytes(900_000)}, zipfile.ZIP_DEFLATED)
    assert len(ingest(path, folder).images) == 4


@pytest.mark.parametrize(("packed", "claimed"), [(False, 10), (False, 2**31), (True, 2**31)])
def test_a_header_that_lies_about_sizes_changes_nothing(
    tmp_path: Path, folder: Path, packed: bool, claimed: int
) -> None:
    """Whatever it claims, what counts is what comes out: no more than the limit is ever written."""

    def lie(data: bytearray, local: int, central: int) -> None:
        for offset in (local + 18, central + 20) if packed else (local + 22, central + 24):
            data[offset : offset + 4] = claimed.to_bytes(4, "little")

    path = zipped(tmp_path / "bomb.zip", GOOD | {"ants/bomb.bmp": bytes(30 * 1024**2)}, zipfile.ZIP_DEFLATED)
    patched(path, "ants/bomb.bmp", lie)
    most = 0
    original = unpack._write

    def watched(target: BinaryIO, chunk: bytes) -> None:
        nonlocal most
        original(target, chunk)
        most = max(most, target.tell())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "_write", watched)
        code = ingest_or_code(path, folder)
    # Said to end after 10 bytes, or far behind the end of the file, it is a damaged entry beside four good ones.
    assert code == (None if claimed == 10 or packed else "zip.entry_ratio")
    assert most < 60_000 * 200


def test_entries_that_share_their_bytes(tmp_path: Path, folder: Path) -> None:
    """A thousand times one packed file: small to send, as large as one likes to unpack, and unpacked once."""
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ants/x.jpg", bytes(512 * 1024))
        first = archive.filelist[0]
        archive.filelist = [first] * 1000
    refusal = refused(path, folder)
    assert refusal.code == "data.unreadable"


# -- damage ------------------------------------------------------------------------------------------------------------


def test_what_is_no_zip_or_is_cut_off(tmp_path: Path, folder: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", GOOD).read_bytes()
    for name, data in {"text.zip": b"text", "empty.zip": b"", "half.zip": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(data)
        assert refused(tmp_path / name, folder).code == "zip.broken"


def test_a_damaged_entry_is_named_and_its_neighbours_are_read(tmp_path: Path, folder: Path) -> None:
    def spoil(data: bytearray, local: int, central: int) -> None:
        data[local + 30 + len("bees/3.jpg") + 100] ^= 0xFF

    path = patched(zipped(tmp_path / "three.zip", GOOD | {"bees/3.jpg": jpeg(7)}), "bees/3.jpg", spoil)
    dataset = ingest(path, folder)
    assert [image.name for image in dataset.images] == list(GOOD)
    (unreadable,) = dataset.report.left_out.unreadable
    assert (unreadable.name, unreadable.code) == ("bees/3.jpg", "zip.entry")
    assert len(list(folder.iterdir())) == 4  # nothing is kept of what can't be used


def test_an_unknown_way_of_packing(tmp_path: Path, folder: Path) -> None:
    def deflate64(data: bytearray, local: int, central: int) -> None:
        data[local + 8] = data[central + 10] = 9

    path = patched(zipped(tmp_path / "windows.zip", GOOD | {"bees/3.jpg": jpeg(7)}), "bees/3.jpg", deflate64)
    assert [one.code for one in ingest(path, folder).report.left_out.unreadable] == ["zip.method"]


def test_flipped_bytes_never_raise_anything_but_a_refusal(tmp_path: Path, folder: Path) -> None:
    """Three hundred damaged archives, from a seed; a refused one leaves an empty folder, an accepted one its images."""
    small = pictures("a/1.png", "a/2.gif", "b/1.jpg", "b/2.bmp")
    path = tmp_path / "damaged.zip"
    whole = zipped(path, small, zipfile.ZIP_DEFLATED).read_bytes()
    rng, codes = random.Random(0), set()
    table = whole.index(b"PK\x01\x02")
    for number in range(300):
        data = bytearray(whole)
        place = rng.randrange(len(data)) if number % 2 else rng.randrange(table, len(data))
        data[place] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        try:
            dataset = ingest(path, folder)
        except Refusal as refusal:
            codes.add(refusal.code)
            assert not list(folder.iterdir())
        else:
            assert {image.path for image in dataset.images} <= set(folder.iterdir())
            unpack.clear(folder)
    assert {"zip.broken", "data.one_image"} <= codes


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk.full"), (errno.EIO, "disk.write")])
def test_a_disk_that_takes_no_more(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    written = 0

    def write(target: BinaryIO, chunk: bytes) -> None:
        nonlocal written
        written += 1
        if written > 2:
            raise OSError(number, os.strerror(number))
        target.write(chunk)

    monkeypatch.setattr(unpack, "_write", write)
    assert refused(zipped(tmp_path / "good.zip", GOOD), folder).code == code


def test_a_really_full_disk(tmp_path: Path) -> None:
    """A device that is always full, in the place of a file."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with zipfile.ZipFile(zipped(tmp_path / "good.zip", GOOD)) as archive:
        files = unpack.contents(archive, "good.zip")
        (tmp_path / "out").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "open", lambda *args: io.FileIO("/dev/full", "w"))
            with pytest.raises(Refusal) as caught:
                list(unpack.unpack(archive, files, tmp_path / "out", "good.zip"))
    assert caught.value.code == "disk.full"


def test_files_get_names_of_our_own(tmp_path: Path, folder: Path) -> None:
    names = ["ants/1.JPG", "ants/a b.jpeg", "bees/script.sh.jpg", "bees/none", "bees/x.php", "ants/ü.png"]
    dataset = ingest(zipped(tmp_path / "good.zip", pictures(*names)), folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "000001.jpg", "000002.jpeg", "000003.jpg", "000004", "000005", "000006.png",
    ]  # fmt: skip
    assert sorted(image.name for image in dataset.images) == sorted(names)


def test_whoever_stops_it_finds_nothing_left_behind(tmp_path: Path, folder: Path) -> None:
    def progress(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(zipped(tmp_path / "good.zip", GOOD), folder, progress=progress)
    assert not list(folder.iterdir())


def test_a_refusal_after_unpacking_leaves_nothing_behind_either(tmp_path: Path, folder: Path) -> None:
    assert refused(zipped(tmp_path / "one.zip", pictures("ants/1.jpg", "ants/2.jpg")), folder).code == "data.one_class"


def test_the_folder_has_to_be_empty_and_given(tmp_path: Path) -> None:
    path = zipped(tmp_path / "good.zip", GOOD)
    with pytest.raises(ValueError, match="not empty"):
        ingest(path, tmp_path)
    assert path.exists()
    with pytest.raises(ValueError, match="needs an empty folder"):
        ingest(path)
    assert isinstance(ingest(path, tmp_path / "new"), Dataset)

"""From files, folders and zips to photos: which, in what order, and what a hostile or damaged archive can not do."""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from resnet import photos
from resnet.errors import Refusal
from resnet.photos import Photo, find_photos
from resnet.preprocess import open_image
from tests.pictures import PHOTOS
from tests.zips import patched


def _jpeg(colour: str = "red", side: int = 16) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, "JPEG")
    return stream.getvalue()


def _zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def _tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_jpeg())


def _refusal(photo: Photo) -> Refusal:
    with pytest.raises(Refusal) as refused:
        photo.read()
    text = str(refused.value)
    assert text.endswith(".") and "\n" not in text and "Error" not in text
    assert Path(photo.name).name in text
    return refused.value


def _listing(path: Path) -> set[Path]:
    return set(path.rglob("*"))


def test_files_keep_the_order_given(tmp_path: Path) -> None:
    _tree(tmp_path, "b.jpg", "a.jpg")
    given = [tmp_path / "b.jpg", tmp_path / "a.jpg", tmp_path / "b.jpg"]
    found = find_photos(given)
    assert [photo.name for photo in found] == [str(path) for path in given]
    assert [photo.read() for photo in found] == given
    assert [photo.name for photo in find_photos(map(str, given))] == [str(path) for path in given]


def test_a_file_named_outright_is_taken_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    names = [tmp_path / "notes.txt", tmp_path / ".hidden.jpg", tmp_path / "missing.jpg"]
    assert [photo.name for photo in find_photos(names)] == [str(name) for name in names]


def test_a_folder_gives_its_images_by_name_with_all_below(tmp_path: Path) -> None:
    _tree(
        tmp_path, "b.jpg", "a/z.PNG", "a/a/deep.webp", "c.Jpeg", "a.tif", "tulips/10.bmp", "tulips/2.gif", "ümlaut.jpg"
    )
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "a" / "model.h5").write_text("no photo")
    found = find_photos([tmp_path])
    assert [photo.name for photo in found] == [str(path) for path in sorted(Path(photo.name) for photo in found)]
    assert {os.path.relpath(photo.name, tmp_path) for photo in found} == {
        *("b.jpg", "a/z.PNG", "a/a/deep.webp", "c.Jpeg", "a.tif", "tulips/10.bmp", "tulips/2.gif", "ümlaut.jpg")
    }


SHADOWS = ["._a.jpg", ".hidden.jpg", ".cache/a.jpg", "__MACOSX/a.jpg", "__MACOSX/b/._a.jpg", "c/.thumbs/a.jpg"]


def test_hidden_files_and_shadows_are_left_out_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".album"  # hidden itself, but asked for
    _tree(folder, "a.jpg", *SHADOWS)
    (folder / "folder.jpg").mkdir()
    assert [photo.name for photo in find_photos([folder])] == [str(folder / "a.jpg")]


def test_hidden_files_and_shadows_are_left_out_of_a_zip(tmp_path: Path) -> None:
    entries = {name: _jpeg() for name in [*SHADOWS, "a.jpg", "notes.txt"]} | {"folder.jpg/": b""}
    path = _zip(tmp_path / "album.zip", entries)
    assert [photo.name for photo in find_photos([path])] == [f"{path}/a.jpg"]


def test_a_folder_that_is_too_deep_is_named_and_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deepest = "/".join(map(str, range(photos.MAX_DEPTH)))
    _tree(tmp_path, "a.jpg", f"{deepest}/b.jpg", f"{deepest}/deeper/and/deeper/c.jpg", f"{deepest}/.hidden/d.jpg")
    walked = []

    def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for one in os_walk(root):
            walked.append(one[0])
            yield one

    os_walk = os.walk
    monkeypatch.setattr(os, "walk", walk)
    found = {os.path.relpath(photo.name, tmp_path): photo for photo in find_photos([tmp_path])}
    assert set(found) == {"a.jpg", f"{deepest}/b.jpg", f"{deepest}/deeper"}
    refusal = _refusal(found[f"{deepest}/deeper"])
    assert refusal.code == "photos.deep" and "32 levels, deeper;" in str(refusal)
    assert len(walked) == photos.MAX_DEPTH + 2
    assert all(photo.refusal is None for name, photo in found.items() if name.endswith(".jpg"))


def test_an_entry_of_a_zip_that_is_too_deep_has_its_row(tmp_path: Path) -> None:
    deepest = "a/" * photos.MAX_DEPTH
    path = _zip(tmp_path / "album.zip", {name: _jpeg() for name in (f"{deepest}1.jpg", f"{deepest}b/2.jpg", "3.jpg")})
    whole, deep, other = find_photos([path])
    assert [photo.name for photo in (whole, deep, other)] == [
        f"{path}/{deepest}1.jpg", f"{path}/…/2.jpg", f"{path}/3.jpg"
    ]  # fmt: skip
    assert whole.read() == other.read() == _jpeg()
    assert str(_refusal(deep)).startswith("album.zip holds folders in more than 32 levels, 2.jpg;")


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    (tmp_path / "empty" / "notes.txt").write_text("no photo")
    (photo,) = find_photos([tmp_path / "empty"])
    assert photo.name == str(tmp_path / "empty")
    assert _refusal(photo).code == "photos.empty"


def test_a_sentence_says_nothing_of_where_a_zip_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "album.zip", {"a/1.jpg": _jpeg(side=64), "a/2.jpg": _jpeg()}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(_jpeg(side=64), bytes(len(_jpeg(side=64))), 1))
    damaged, whole = find_photos([path])
    assert str(_refusal(damaged)).startswith("album.zip/a/1.jpg can't be unpacked")
    assert damaged.name == f"{path}/a/1.jpg", "its row still says it"
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 100)
    assert str(_refusal(whole)).startswith("album.zip/a/2.jpg unpacks to more")


def test_a_zip_without_images_says_so(tmp_path: Path) -> None:
    for name, entries in {"nothing.zip": {}, "text.zip": {"notes.txt": b"text"}}.items():
        (photo,) = find_photos([_zip(tmp_path / name, entries)])
        assert _refusal(photo).code == "photos.empty"


def test_what_is_missing_has_its_place(tmp_path: Path) -> None:
    _tree(tmp_path, "a.jpg", "z.jpg")
    paths = [tmp_path / "a.jpg", tmp_path / "gone.zip", tmp_path / "gone", tmp_path / "z.jpg"]
    found = find_photos(paths)
    assert [photo.name for photo in found] == [str(path) for path in paths]
    assert _refusal(found[1]).code == "image.missing"
    for photo in found[1:3]:
        with pytest.raises(Refusal) as refused:
            open_image(photo.read())
        assert refused.value.code == "image.missing"


def test_odd_names_raise_nothing() -> None:
    names = ["x" * 300 + ".jpg", "x" * 5000, "nul\0.jpg", "{braces}.zip", "%s.zip"]
    found = find_photos(names)
    assert [photo.name for photo in found] == names
    for photo in found:
        with pytest.raises(Refusal):
            open_image(photo.read())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_its_images_as_bytes_in_its_own_order(tmp_path: Path, method: int) -> None:
    entries = {
        "tulips/2.jpg": _jpeg("red"),
        "daisy/1.JPG": _jpeg("blue"),
        "notes.txt": b"text",
        "ö 花.jpg": _jpeg("lime"),
    }
    path = _zip(tmp_path / "flowers.zip", entries, method)
    found = find_photos([path])
    assert [photo.name for photo in found] == [f"{path}/{name}" for name in entries if name != "notes.txt"]
    assert [photo.read() for photo in found] == [data for name, data in entries.items() if name != "notes.txt"]


def test_a_zip_by_another_name_is_a_zip(tmp_path: Path) -> None:
    path = _zip(tmp_path / "photos.cbz", {"a.jpg": _jpeg()})
    assert [photo.name for photo in find_photos([path])] == [f"{path}/a.jpg"]
    photo = _zip(tmp_path / "photo.jpg", {"a.jpg": _jpeg()})
    assert [found.name for found in find_photos([photo])] == [str(photo)]  # its row says that it is no image


def test_photos_without_an_ending_are_told_by_their_content(tmp_path: Path) -> None:
    """As browsers and phones save them; what is no image has no row."""
    heic = next((PHOTOS / "heic").glob("*.heic")).read_bytes()
    entries = {
        "photo": _jpeg(),
        "IMG_1": heic,
        "README": b"words",
        "Makefile": b"",
        "b.txt": _jpeg(),
        ".hidden": _jpeg(),
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in entries.items():
        (folder / name).write_bytes(data)
    assert [photo.path.name for photo in find_photos([folder])] == ["IMG_1", "photo"]
    found = find_photos([_zip(tmp_path / "photos.zip", entries)])
    assert [photo.path.name for photo in found] == ["photo", "IMG_1"]
    assert open_image(found[1].read()).size == (114, 160)


def test_a_zip_is_read_from_many_threads(tmp_path: Path) -> None:
    entries = {f"{index}.jpg": _jpeg(side=8 + index) for index in range(60)}
    found = find_photos([_zip(tmp_path / "many.zip", entries)])
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda photo: photo.read(), found)) == list(entries.values())


def test_entries_are_found_by_place_not_by_a_name_made_tidy(tmp_path: Path) -> None:
    """Archives hold names that a path would change, and the same name more than once."""
    path = tmp_path / "odd.zip"
    names = ["./a.jpg", "b//c.jpg", "d/./e.jpg", "same.jpg", "same.jpg", "windows\\f.jpg"]
    colours = ["red", "lime", "blue", "white", "black", "yellow"]
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, colour in zip(names, colours, strict=True):
            archive.writestr(name, _jpeg(colour))
    found = find_photos([path])
    assert [photo.name for photo in found] == [f"{path}/{name}".replace("\\", "/") for name in names]
    assert [photo.read() for photo in found] == [_jpeg(colour) for colour in colours]


@pytest.mark.parametrize("name", ["../evil.jpg", "/tmp/evil.jpg", "a/../../evil.jpg", "C:\\evil.jpg", "..\\evil.jpg"])
def test_a_path_in_a_zip_leads_nowhere(tmp_path: Path, name: str) -> None:
    """Nothing is ever written, and a name that points at a real file does not read it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "evil.jpg").write_bytes(_jpeg("blue", 64))
    path = _zip(inside / "evil.zip", {name: _jpeg("red"), "good.jpg": _jpeg("lime")})
    before = _listing(tmp_path)
    found = find_photos([path])
    assert [photo.name for photo in found] == [f"{path}/{name}".replace("\\", "/"), f"{path}/good.jpg"]
    assert [photo.read() for photo in found] == [_jpeg("red"), _jpeg("lime")]
    assert _listing(tmp_path) == before
    assert not Path("/tmp/evil.jpg").exists()


def test_a_link_in_a_zip_is_only_bytes(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.jpg")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    (photo,) = find_photos([tmp_path / "link.zip"])
    assert photo.read() == b"/etc/passwd"


def test_a_zip_in_a_zip_is_left_alone(tmp_path: Path) -> None:
    inner = _zip(tmp_path / "inner.zip", {"b.jpg": _jpeg()}).read_bytes()
    path = _zip(tmp_path / "outer.zip", {"inner.zip": inner, "a.jpg": _jpeg()})
    assert [photo.name for photo in find_photos([path])] == [f"{path}/a.jpg"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.zip").write_bytes(inner)
    (photo,) = find_photos([tmp_path / "folder"])
    assert _refusal(photo).code == "photos.empty"


# -- damage and malice -------------------------------------------------------------------------------------------------


def _three(path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    return _zip(path, {"a.jpg": _jpeg("red"), "b.jpg": _jpeg("lime", 64), "c.jpg": _jpeg("blue")}, method)


def _set_bits(flag: int) -> Callable[[bytearray, int, int], None]:
    def change(data: bytearray, local: int, central: int) -> None:
        data[local + 6] |= flag
        data[central + 8] |= flag

    return change


def _set_method(method: int) -> Callable[[bytearray, int, int], None]:
    def change(data: bytearray, local: int, central: int) -> None:
        data[local + 8] = data[central + 10] = method

    return change


def _spoil(data: bytearray, local: int, central: int) -> None:
    start = local + 30 + len("b.jpg")
    data[start + 5 : start + 60] = b"\xaa" * 55


def _spoil_local_header(data: bytearray, local: int, central: int) -> None:
    data[local : local + 4] = b"NOPE"


def _wrong_checksum(data: bytearray, local: int, central: int) -> None:
    data[central + 16] ^= 0xFF


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("zip.encrypted", _set_bits(0x01)),
        ("zip.entry", _set_bits(0x40)),  # "strong encryption", which zipfile does not know at all
        ("zip.method", _set_method(9)),  # Deflate64, which Windows uses for large files
        ("zip.method", _set_method(99)),
        ("zip.entry", _spoil),
        ("zip.entry", _spoil_local_header),
        ("zip.entry", _wrong_checksum),
    ],
    ids=["encrypted", "strong encryption", "deflate64", "unknown method", "spoiled", "header", "checksum"],
)
def test_one_bad_entry_is_refused_and_its_neighbours_are_read(
    tmp_path: Path, code: str, change: Callable[[bytearray, int, int], None]
) -> None:
    found = find_photos([patched(_three(tmp_path / "three.zip"), "b.jpg", change)])
    assert [Path(photo.name).name for photo in found] == ["a.jpg", "b.jpg", "c.jpg"]
    assert _refusal(found[1]).code == code
    assert (found[0].read(), found[2].read()) == (_jpeg("red"), _jpeg("blue"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_unpacks_at_once_is_not_unpacked(tmp_path: Path, method: int) -> None:
    """A kilobyte of it can be a gigabyte, whatever is asked for."""
    found = find_photos([_zip(tmp_path / "packed.zip", {"a.jpg": bytes(1000), "IMG_1": _jpeg()}, method)])
    assert [_refusal(photo).code for photo in found] == ["zip.method"]
    assert ("bzip2" if method == zipfile.ZIP_BZIP2 else "LZMA") in str(_refusal(found[0]))


def test_a_zip_of_photos_keeps_to_the_limits_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = [os.urandom(4000) for _ in range(3)]
    path = _zip(
        tmp_path / "bomb.zip", {"zeros.jpg": bytes(5 * 1024**2), **{f"{n}.jpg": one for n, one in enumerate(noise)}}
    )
    zeros, *others = find_photos([path])
    assert _refusal(zeros).code == "zip.entry_ratio"
    assert [one.read() for one in others] == noise
    monkeypatch.setattr(photos, "MAX_TOTAL_BYTES", 10_000)
    found = find_photos([path])
    assert [one.read() for one in (found[1], found[1], found[2])] == [noise[0], noise[0], noise[1]]
    with pytest.raises(Refusal) as refused:
        found[3].read()
    assert refused.value.code == "zip.total"
    monkeypatch.setattr(photos, "RATIO_FLOOR", 2000)
    monkeypatch.setattr(photos, "MAX_RATIO", 0.5)
    assert _refusal(find_photos([path])[1]).code == "zip.entry_ratio"


def test_what_is_no_zip_or_is_cut_off(tmp_path: Path) -> None:
    whole = _three(tmp_path / "whole.zip").read_bytes()
    for name, data in {"text.zip": b"text", "empty.zip": b"", "half.zip": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(data)
        (photo,) = find_photos([tmp_path / name])
        assert photo.name == str(tmp_path / name)
        assert _refusal(photo).code == "zip.broken"


def test_a_bomb_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 1024**2)
    path = _zip(tmp_path / "bomb.zip", {"bomb.jpg": bytes(50 * 1024**2), "just.jpg": bytes(1024**2), "a.jpg": _jpeg()})
    bomb, just, good = find_photos([path])
    assert path.stat().st_size < 200_000
    assert _refusal(bomb).code == "zip.large"
    assert len(just.read()) == 1024**2
    assert good.read() == _jpeg()


def test_a_bomb_that_lies_about_its_size_stops_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header claims a small size; what counts is what comes out."""
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 1024**2)

    def lie(data: bytearray, local: int, central: int) -> None:
        for offset in (local + 22, central + 24):
            data[offset : offset + 4] = (1000).to_bytes(4, "little")

    path = _zip(tmp_path / "bomb.zip", {"bomb.jpg": bytes(50 * 1024**2)})
    (bomb,) = find_photos([patched(path, "bomb.jpg", lie)])
    assert _refusal(bomb).code in ("zip.large", "zip.entry")


def test_a_zip_with_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_ENTRIES", 3)
    assert len(find_photos([_three(tmp_path / "three.zip")])) == 3
    (photo,) = find_photos([_zip(tmp_path / "four.zip", {f"{index}.jpg": b"" for index in range(4)})])
    assert _refusal(photo).code == "zip.entries"


def test_flipped_bytes_never_raise_anything_but_a_refusal(tmp_path: Path) -> None:
    """A thousand damaged archives, from a seed."""
    path = tmp_path / "damaged.zip"
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(path, "w") as archive:
        for method in methods:
            archive.writestr(f"folder/{method}.jpg", _jpeg(), compress_type=method)
    whole = path.read_bytes()
    rng, codes = random.Random(0), set()
    for _ in range(1000):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        for photo in find_photos([path]):
            try:
                open_image(photo.read(), "photo")
            except Refusal as refusal:
                codes.add(refusal.code)
    assert {"zip.entry", "zip.broken"} <= codes

"""From what a person names (files, folders, zips) to a list of photos, each read only when its turn comes."""

from __future__ import annotations

import functools
import os
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from resnet.errors import Refusal
from resnet.preprocess import HEAD_BYTES, image_suffixes, looks_like_an_image
from resnet.zip_names import is_zip, zip_names

#: One file's bytes: larger than any photo that `open_image` takes, small enough to hold a few in memory.
MAX_FILE_BYTES = 256 * 1024**2
#: What an archive may unpack to.
MAX_TOTAL_BYTES = 4 * 1024**3
#: How many bytes may come out for each that went in; photos hardly shrink, and deflate ends at 1,032.
MAX_RATIO = 200
#: An entry that unpacks to less is never taken for a bomb: a drawing of one colour shrinks well, and harms nobody.
RATIO_FLOOR = 1024**2
#: Ways to pack an entry that are not read, by their numbers.
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
#: Entries of one archive.
MAX_ENTRIES = 100_000
#: Folders inside of one another: nobody sorts photos so deep, and what is made to be deep takes minutes to walk.
MAX_DEPTH = 32


@dataclass(frozen=True)
class Photo:
    """A photo that has not been read yet: `name` as a person would point at it, `read()` its path or its bytes."""

    name: str
    path: Path
    archive: _Archive | None = field(default=None, repr=False)
    refusal: Refusal | None = None
    entry: zipfile.ZipInfo | None = field(default=None, repr=False)

    def read(self) -> Path | bytes:
        """What `open_image` takes.

        Raises:
            Refusal: if an entry of an archive is encrypted, damaged or too large, or there is no such file.
        """
        if self.refusal:
            raise self.refusal
        return self.archive.read(self.entry, self.path) if self.archive and self.entry else self.path


class _Archive:
    """A zip that stays open while its photos are read, from any thread; nothing of it is ever unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self.file = zipfile.ZipFile(path)
        self.name = path.name
        self.bytes = path.stat().st_size
        self.lock = threading.Lock()
        self._unpacked: dict[int, int] = {}  # of each entry, by its place: one that is read again counts once
        self._total = 0  # of them all

    def beginning(self, entry: zipfile.ZipInfo) -> bytes:
        """The first bytes of an entry; none where it can't be read."""
        try:
            check_method(self.name, entry)
            with self.lock, self.file.open(entry) as stream:
                return stream.read(HEAD_BYTES)
        except Exception:  # whatever is wrong with it is no sign of a photo
            return b""

    def read(self, entry: zipfile.ZipInfo, inside: object) -> bytes:
        name = f"{self.name}/{inside}"  # in a sentence; where the zip lies is a matter of the row
        check_method(name, entry)
        with unpacking(name), self.lock, self.file.open(entry) as stream:
            # The size in the header is only what the archive claims: count while reading.
            most = int(min(MAX_FILE_BYTES, max(RATIO_FLOOR, MAX_RATIO * entry.compress_size)))
            data = stream.read(most + 1)
            self._total += len(data) - self._unpacked.get(entry.header_offset, 0)
            self._unpacked[entry.header_offset] = len(data)
            total = self._total
        if len(data) > MAX_FILE_BYTES:
            raise Refusal(
                "zip.large", "{name} unpacks to more than {limit} MB, which no photo does; leave it out.",
                name=name, limit=MAX_FILE_BYTES // 1024**2,
            )  # fmt: skip
        if len(data) > most:
            raise entry_ratio(self.name, str(inside), MAX_RATIO)
        if total > MAX_TOTAL_BYTES:
            raise beyond_total(self.name, MAX_TOTAL_BYTES)
        if total > RATIO_FLOOR and total > MAX_RATIO * self.bytes:
            raise beyond_ratio(self.name, MAX_RATIO)
        return data


def check_method(name: str, entry: zipfile.ZipInfo) -> None:
    """That an entry is packed by a method that can be unpacked bit by bit.

    Of bzip2 and LZMA Python unpacks kilobytes at once, which may be gigabytes: an archive of 881 bytes took two.

    Raises:
        Refusal: if it is packed by another one.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        raise Refusal(
            "zip.method", "{name} is packed with {method}, which is not read here; make the zip again with the usual "
            "method (Deflate).", name=name, method=method,
        )  # fmt: skip


def beyond_total(name: str, limit: int) -> Refusal:
    """Of an archive that holds too much."""
    return Refusal(
        "zip.total", "{name} unpacks to more than {limit} MB; make the photos smaller or split it.",
        name=name, limit=limit // 1024**2,
    )  # fmt: skip


def beyond_ratio(name: str, limit: float) -> Refusal:
    """Of an archive that was made to unpack to more than it could hold."""
    return Refusal(
        "zip.ratio", "{name} unpacks to more than {limit} times its size, which photos never do; make the zip again.",
        name=name, limit=f"{limit:g}",
    )  # fmt: skip


def entry_ratio(name: str, entry: str, limit: float) -> Refusal:
    """Of such an entry."""
    return Refusal(
        "zip.entry_ratio", "{entry} in {name} unpacks to more than {limit} times its size, which no photo does; leave "
        "it out.",
        name=name, entry=entry, limit=f"{limit:g}",
    )  # fmt: skip


@contextmanager
def unpacking(name: str) -> Iterator[None]:
    """Whatever goes wrong with an entry of a zip while it is read, said in a sentence.

    Args:
        name: of the entry.

    Raises:
        Refusal: if it is encrypted, damaged, or packed in a way that Python does not know.
    """
    try:
        yield
    except Exception as error:  # zlib.error and lzma.LZMAError share no base but this one
        if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
            raise encrypted(name) from None
        raise Refusal(
            "zip.entry",
            "{name} can't be unpacked: the archive is damaged there or packed unusually; make the zip again.",
            name=name,
        ) from None


def encrypted(name: str) -> Refusal:
    """Of an entry of a zip, or of the zip."""
    return Refusal("zip.encrypted", "{name} is encrypted; make a zip without a password.", name=name)


def find_photos(paths: Iterable[str | Path]) -> list[Photo]:
    """The photos in files, folders (with all below) and zips, in the order given; inside a folder, by name.

    Folders and zips give their image files; a file named outright is taken whatever it is, so that it gets its row.
    What can't be opened at all becomes one photo whose `read` says why.

    Args:
        paths: files, folders or zip archives.

    Raises:
        Nothing: every refusal waits in the photo that it belongs to.
    """
    return [photo for path in paths for photo in _expand(Path(path))]


def _expand(path: Path) -> Iterator[Photo]:
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long, or not ours to look at)
        found = sorted(_walk(path), key=lambda photo: photo.path)
        yield from found or [
            _refused(path, "photos.empty", "{name} holds no images; name a folder or a zip with some in it.")
        ]
    elif path.suffix.lower() == ".zip" or (path.suffix.lower() not in image_suffixes() and is_zip(path)):
        yield from _expand_zip(path)
    else:
        yield Photo(str(path), path)


def _walk(root: Path) -> Iterator[Photo]:
    """The images below a folder; a folder that lies too deep to be looked into is one that says so."""
    for name, folders, files in os.walk(root):
        folder = Path(name)
        if len(folder.relative_to(root).parts) > MAX_DEPTH:
            folders.clear()
            yield Photo(name, folder, refusal=too_deep(root.name or str(root), folder.name))
            continue
        folders[:] = [one for one in folders if not _is_hidden((one,))]
        for path in (folder / one for one in files):
            if path.is_file() and _is_photo(PurePosixPath(path.name), functools.partial(_beginning, path)):
                yield Photo(str(path), path)


def too_deep(name: str, entry: str) -> Refusal:
    """Of a folder or an archive, and what lies too deep in it."""
    return Refusal(
        "photos.deep", "{name} holds folders in more than {limit} levels, {entry}; put the photos nearer to its top.",
        name=name, entry=entry, limit=MAX_DEPTH,
    )  # fmt: skip


def _expand_zip(path: Path) -> Iterator[Photo]:
    try:
        archive = _Archive(path)
    except FileNotFoundError:
        yield _refused(path, "image.missing", "There is no file {name}; check the path.")
        return
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        yield _refused(path, "zip.broken", "{name} is not a zip archive or is cut off; make or download it again.")
        return
    entries = archive.file.infolist()
    if len(entries) > MAX_ENTRIES:
        yield _refused(path, "zip.entries", "{name} has more than {limit} entries; split it.", limit=MAX_ENTRIES)
        return
    names = zip_names(entries).names
    found = [
        _in_zip(path, archive, entry, name.replace("\\", "/"))
        for entry, name in zip(entries, names, strict=True)
        if name and not name.endswith(("/", "\\"))
    ]
    yield from [photo for photo in found if photo] or [
        _refused(path, "photos.empty", "{name} holds no images; name a folder or a zip with some in it.")
    ]


def _in_zip(path: Path, archive: _Archive, entry: zipfile.ZipInfo, name: str) -> Photo | None:
    """The photo of an entry; of one that lies too deep, only its own name: the way there may be as long as a book."""
    inside = PurePosixPath(name)
    if not _is_photo(inside, lambda: archive.beginning(entry)):
        return None
    if len(inside.parts) - 1 > MAX_DEPTH:
        return Photo(f"{path}/…/{inside.name}", Path(inside.name), refusal=too_deep(path.name, inside.name))
    return Photo(f"{path}/{name}", Path(name), archive, entry=entry)


def _refused(path: Path, code: str, sentence: str, **facts: object) -> Photo:
    return Photo(str(path), path, refusal=Refusal(code, sentence, name=path.name or str(path), **facts))


def _is_photo(path: PurePosixPath, beginning: Callable[[], bytes]) -> bool:
    """Whether this is an image, by its ending or, where it has none, by how it begins, and no shadow beside images."""
    if _is_hidden(path.parts):
        return False
    return path.suffix.lower() in image_suffixes() or (not path.suffix and looks_like_an_image(beginning()))


def _beginning(path: Path) -> bytes:
    """The first bytes of a file; none where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _is_hidden(parts: Iterable[str]) -> bool:
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)

"""From a zip that a stranger made to files under names that we choose; or a sentence, and nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from resnet.errors import Refusal
from resnet.photos import (
    MAX_ENTRIES,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
    RATIO_FLOOR,
    beyond_ratio,
    beyond_total,
    check_method,
    encrypted,
    entry_ratio,
    unpacking,
)
from resnet.preprocess import image_suffixes
from resnet.zip_names import zip_names
from train.names import ARCHIVE_MAGIC, ARCHIVE_SUFFIXES, leftover, refuse_name, short

CHUNK = 256 * 1024
ENCRYPTED = 0x1 | 0x40 | 0x2000  # by password, strongly, and with hidden names


@dataclass(frozen=True)
class Limits:
    """What an archive may ask of the machine: entries, unpacked bytes, and the ratio of unpacked to packed bytes.

    The ratio is held against the whole archive and against each entry, once either has given `floor` bytes.
    """

    entries: int = MAX_ENTRIES
    bytes: int = MAX_TOTAL_BYTES
    ratio: float = MAX_RATIO
    floor: int = RATIO_FLOOR


@dataclass(frozen=True)
class Found:
    """One file to look at: `name` as the person knows it, and `path`, where it lies; or why it can't be had."""

    name: str
    path: Path
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Contents:
    """What an archive holds: the files by their names, how many other things by kind, and what is left out and why."""

    files: tuple[tuple[str, zipfile.ZipInfo], ...]
    ignored: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[tuple[str, Refusal], ...] = ()


def open_zip(path: Path, limits: Limits = Limits()) -> zipfile.ZipFile:
    """The archive, opened.

    Raises:
        Refusal: if there is none, or it is damaged as a whole, or its table of contents alone is beyond the limits.
    """
    try:
        # Python holds ten times as much of the table of contents in memory before anyone can count its entries.
        if _directory_bytes(path) > limits.entries * 512:
            raise _too_many(path.name, limits)
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise Refusal("image.missing", "There is no file {name}; check the path.", name=path.name) from None
    except PermissionError:
        raise Refusal("image.unreadable", "{name} may not be read; check its permissions.", name=path.name) from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        raise Refusal(
            "zip.broken", "{name} is not a zip archive or is cut off; make or download it again.", name=path.name
        ) from None


def _too_many(name: str, limits: Limits) -> Refusal:
    return Refusal("zip.entries", "{name} has more than {limit} entries; split it.", name=name, limit=limits.entries)


def _directory_bytes(path: Path) -> int:
    """Size of a zip's table of contents, as its last record says."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 65536 - 22 - 20 - 56))
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    size = int(struct.unpack_from("<L", tail, place + 12)[0]) if place >= 0 else 0
    large = tail.rfind(b"PK\x06\x06", 0, max(place, 0))
    return int(struct.unpack_from("<Q", tail, large + 40)[0]) if size == 0xFFFFFFFF and large >= 0 else size


def contents(archive: zipfile.ZipFile, name: str, limits: Limits = Limits()) -> Contents:
    """What there is to unpack, judged by the table of contents alone.

    Args:
        archive: opened by `open_zip`.
        name: what to call it in a refusal.
        limits: how many entries it may have.

    Raises:
        Refusal: if an entry has a harmful name, is a link or encrypted, or if there are only archives in it.
    """
    entries = archive.infolist()
    if len(entries) > limits.entries:
        raise _too_many(name, limits)
    files: list[tuple[str, zipfile.ZipInfo]] = []
    folders: list[tuple[str, ...]] = []
    ignored: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    parents: set[tuple[str, ...]] = set()
    left_out: list[tuple[str, Refusal]] = []
    for meant, entry in zip(zip_names(entries).names, entries, strict=True):
        # Some tools of Windows write its own separator. It means the same; what it leads to is judged below.
        shown = meant.replace("\\", "/")
        _refuse_entry(name, shown, entry)
        parts = tuple(part for part in shown.split("/") if part not in ("", "."))
        parents.add(parts[:-1])
        if shown.endswith("/") or not parts:
            folders.append(parts)
            continue
        if parts in seen:
            again = Refusal(
                "zip.duplicate", "{name} holds {entry} twice; the first one is taken.", name=name, entry=short(shown)
            )
            left_out.append((shown, again))
            continue
        seen.add(parts)
        if kind := leftover(parts):
            ignored[kind] += 1
            continue
        if shown.lower().endswith(ARCHIVE_SUFFIXES):
            left_out.append((shown, _nested(name, shown)))
            continue
        files.append((shown, entry))
    if not files and left_out:
        raise left_out[0][1]
    for folder in folders:
        if folder and folder not in parents:
            ignored[leftover(folder) or "empty_folder"] += 1
    return Contents(tuple(files), dict(ignored), tuple(left_out))


def _refuse_entry(name: str, shown: str, entry: zipfile.ZipInfo) -> None:
    refuse_name(name, shown)
    facts = {"name": name, "entry": short(shown)}
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise Refusal(
            "zip.link", "{name} holds a symbolic link, {entry}; put the file itself in its place.", **facts
        )  # fmt: skip
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Refusal(
            "zip.special", "{name} holds {entry}, which is neither a file nor a folder; leave it out.", **facts
        )  # fmt: skip
    if entry.flag_bits & ENCRYPTED:
        raise encrypted(f"{name}/{short(shown)}")


def _nested(name: str, shown: str) -> Refusal:
    return Refusal(
        "zip.nested", "{name} holds another archive, {entry}; unpack that, and make one zip of all folders.",
        name=name, entry=short(shown),
    )  # fmt: skip


def unpack(
    archive: zipfile.ZipFile, files: Contents, folder: Path, name: str, limits: Limits = Limits(),
) -> Iterator[Found]:  # fmt: skip
    """Write an archive's files, one after the other, as ``000001.jpg`` and so on.

    An entry that is damaged, or left out, is found with a refusal, and its neighbours are unpacked. Whoever stops
    before the end, or is stopped by a refusal, has to clear the folder.

    Args:
        archive: opened by `open_zip`.
        files: its `contents`.
        folder: an empty one, to write into.
        name: what to call the archive in a refusal.
        limits: counted from what really comes out; headers are only claims.

    Raises:
        Refusal: if what comes out is beyond the limits, is itself an archive, or does not fit on the disk.
    """
    packed = Path(str(archive.filename)).stat().st_size
    total = 0
    yield from (Found(shown, folder / "nothing", refusal) for shown, refusal in files.left_out)
    for number, (shown, entry) in enumerate(files.files, 1):
        # Of the name only the ending is kept, and only where it is a known one.
        suffix = PurePosixPath(shown).suffix.lower()
        path = folder / f"{number:06d}{suffix if suffix in image_suffixes() else ''}"
        refusal, size = None, 0
        try:
            with path.open("xb") as target:
                for chunk in _chunks(archive, entry, f"{name}/{short(shown)}"):
                    if not size and chunk.startswith(ARCHIVE_MAGIC) and suffix in {"", *image_suffixes()}:
                        raise _nested(name, shown)
                    size += len(chunk)
                    total += len(chunk)
                    _hold(name, shown, limits, total, packed, size, entry.compress_size)
                    _write(target, chunk)
        except Refusal as error:
            if error.code not in ("zip.entry", "zip.method"):
                raise
            refusal = error.kept()
        except OSError as error:
            raise disk_refusal(error, name) from None
        if refusal:
            path.unlink()
        yield Found(shown, path, refusal)


def _write(target: BinaryIO, chunk: bytes) -> None:
    """One function, so that a test can fill the disk."""
    target.write(chunk)


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    check_method(name, entry)
    with unpacking(name), archive.open(entry) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _hold(name: str, shown: str, limits: Limits, total: int, packed: int, size: int, entry_packed: int) -> None:
    """Hold what has come out so far against the limits."""
    if total > limits.bytes:
        raise beyond_total(name, limits.bytes)
    if total > limits.floor and total > limits.ratio * packed:
        raise beyond_ratio(name, limits.ratio)
    if size > limits.floor and size > limits.ratio * max(entry_packed, 1):
        raise entry_ratio(name, short(shown), limits.ratio)


def disk_refusal(error: OSError, name: str) -> Refusal:
    """What to say when files can't be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(
            "disk.full", "The disk is full, so {name} can't be written; free some space and try again.", name=name
        )  # fmt: skip
    return Refusal(
        "disk.write", "{name} can't be written ({reason}); choose another place.",
        name=name, reason=error.strerror or type(error).__name__,
    )  # fmt: skip


def clear(folder: Path) -> None:
    """Remove what `unpack` wrote into `folder`, which had been empty."""
    with suppress(OSError):
        for file in folder.iterdir():
            with suppress(OSError):
                file.unlink()

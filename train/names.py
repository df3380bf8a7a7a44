"""Names that strangers gave to files: what is wrong with them, what is only left behind by tools, and their order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from resnet.errors import Refusal
from resnet.naming import printable
from resnet.photos import MAX_DEPTH, too_deep

#: Longest part of a path that common file systems hold, and longest path, in bytes of UTF-8.
MAX_PART_BYTES, MAX_PATH_BYTES = 255, 4096
#: Windows opens a device by these names, whatever ending follows.
DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?")
#: What an archive is called.
ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar", ".cab", ".iso", ".lz4",
    ".lzma",
)  # fmt: skip
#: How an archive begins: zip, gzip, bzip2, xz, zstd, 7z, rar.
ARCHIVE_MAGIC = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!")


def refuse_name(archive: str, name: str) -> None:
    """See that an archive's name for a file is one that a person could have given it.

    No name is ever used as a path here; but an archive with such a name was made to harm whoever does, or by a broken
    tool, and nothing else that it says is worth trusting.

    Args:
        archive: what to call it in a refusal.
        name: of an entry, as it stands in it.

    Raises:
        Refusal: if the name leads somewhere else, or is none that a file system takes.
    """

    def refuse(code: str, sentence: str) -> None:
        raise Refusal(code, sentence, name=archive, entry=short(name))

    parts = name.split("/")
    if "\0" in name:
        refuse("zip.nul", "{name} holds an entry with a NUL in its name, {entry}; make the zip again.")
    if name.startswith("/"):
        refuse("zip.absolute", "{name} holds an absolute path, {entry}; make the zip again from inside the folder.")
    if re.match("[A-Za-z]:", name):
        refuse(
            "zip.drive", "{name} holds a path with a drive letter, {entry}; make the zip again from inside the folder."
        )
    if ".." in parts:
        refuse(
            "zip.parent",
            "{name} holds a path that leads out of it, {entry}; make the zip again from inside the folder.",
        )
    if any(DEVICE.fullmatch(part.rstrip(" .")) for part in parts):
        refuse(
            "zip.device",
            "{name} holds {entry}, a name that Windows keeps for a device; rename it and make the zip again.",
        )
    if any(len(_bytes(part)) > MAX_PART_BYTES for part in parts) or len(_bytes(name)) > MAX_PATH_BYTES:
        refuse(
            "zip.long_name",
            "{name} holds a name too long for a file system, {entry}; shorten it and make the zip again.",
        )
    refuse_depth(archive, name)


def refuse_depth(given: str, name: str) -> None:
    """See that a path lies in no more folders than anybody sorts photos into.

    Args:
        given: what to call what it lies in.
        name: of a file, or of a folder with a slash at its end.

    Raises:
        Refusal: if it does.
    """
    if len([part for part in name.split("/")[:-1] if part not in ("", ".")]) > MAX_DEPTH:
        raise too_deep(given, short(name))


def short(name: str) -> str:
    """A name for a sentence: no longer than a line, and nothing in it that a terminal would obey."""
    text = printable(name, "?")
    return text if len(text) <= 100 else f"{text[:60]}…{text[-30:]}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def leftover(parts: Sequence[str]) -> str | None:
    """The kind of thing that a tool left beside the images, or None for a file that a person put there.

    Args:
        parts: of a path relative to what was given.

    Returns:
        ``"macos"``, ``"windows"``, ``"notebook"``, ``"hidden"`` or None.
    """
    for part in parts:
        if part == "__MACOSX" or part.startswith("._") or part == ".DS_Store":
            return "macos"
        if part.lower() in ("thumbs.db", "ehthumbs.db", "desktop.ini"):
            return "windows"
        if part == ".ipynb_checkpoints":
            return "notebook"
        if part.startswith("."):
            return "hidden"
    return None


def tidy(name: str) -> tuple[str, ...]:
    """The parts of a relative path as text: composed (macOS decomposes umlauts), without empty parts and ``.``.

    What is no character, or can't be seen, becomes a replacement character: names are printed, and become JSON.
    """
    shown = ("\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in ("Cc", "Cs") else one for one in name)
    text = unicodedata.normalize("NFC", "".join(shown))
    return tuple(part.strip() or "_" for part in text.split("/") if part not in ("", "."))


def natural(text: str) -> tuple[tuple[str | int, ...], str]:
    """A key that sorts ``class 2`` before ``class 10``, and names without numbers, or with equally long ones, as usual.

    That is also the order of torchvision's `ImageFolder`, so that indices agree with other people's checkpoints.
    """
    pieces = re.split(r"([0-9]+)", text)
    # Texts stand at even places and numbers at odd ones, so that like is compared with like.
    return tuple(int(one) if place % 2 else one for place, one in enumerate(pieces)), text


def file_part(text: str) -> str:
    """A text that a visitor chose -> one part of a path that every system can write, and that leads nowhere."""
    text = (
        re.sub(r'[\x00-\x1f\x7f\ud800-\udfff/\\:*?"<>|]', "_", unicodedata.normalize("NFC", text))
        .strip(" ")
        .rstrip(". ")
    )
    if not text or text.startswith(".") or DEVICE.fullmatch(text) or leftover((text,)):
        text = f"_{text.lstrip('.')}"
    stem, dot, ending = text.rpartition(".")
    if not stem or len(ending) > 10:
        stem, dot, ending = text, "", ""
    room = 200 - len(_bytes(dot + ending))  # and some for a number, where two have the same name
    return _bytes(stem)[:room].decode("utf-8", "ignore") + dot + ending


def apart(names: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """The same names, each made unlike those before it, and the reserved ones, by a number: ``a.jpg``, ``A (2).jpg``.

    Systems that don't tell ``a`` from ``A`` would write one over the other.
    """
    taken = {name.casefold() for name in reserved}
    numbers: dict[str, int] = {}  # the last of each name: counting from 1 again would take for ever where all are alike
    found = []
    for name in names:
        folder, slash, last = name.rpartition("/")
        stem, dot, ending = last.rpartition(".")
        if not stem:
            stem, dot, ending = last, "", ""
        number, chosen = numbers.get(name.casefold(), 1), name
        while chosen.casefold() in taken:
            number += 1
            chosen = f"{folder}{slash}{stem} ({number}){dot}{ending}"
        numbers[name.casefold()] = number
        taken.add(chosen.casefold())
        found.append(chosen)
    return found

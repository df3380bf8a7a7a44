"""Names in zips as they were meant: without the flag that says UTF-8 they are in an old code of the maker's country.

Nothing in the archive says which. All such names of an archive are read together in each code that is in use, and the
reading that looks most like names is taken: of characters that are common in that code, in words of one script.
(`charset-normalizer`, made for longer texts, reads 31 of 60 archives with two to five Chinese names rightly.)
"""

from __future__ import annotations

import math
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Bit 11 of an entry's flags: its name is UTF-8.
UTF8_NAMES = 0x800
#: What looks less like names than this is in none of these codes.
LEAST = 0.3
#: Two readings closer than this are both possible.
UNSURE = 0.08
#: Of a character of two bytes beside a Latin letter: more often these are an umlaut and the letter after it.
BESIDE_LATIN = 0.85
#: How likely a Korean syllable begins, goes on and ends with each of its parts, in percent; of running text.
INITIALS = (12, 2.5, 7.5, 8, 1.5, 5, 5.5, 5, 1, 9, 1, 20, 7.5, 1, 2.8, 1.2, 2.2, 2.5, 8)
MEDIALS = (20, 6, 1, 0.4, 10, 6, 3, 0.8, 9, 2, 0.6, 1.6, 1, 9, 0.8, 0.3, 1.2, 1, 10, 2, 15.3)
FINALS = (
    46, 7, 0.3, 0.1, 14, 0.1, 0.4, 0.8, 9, 0.4, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 4.5, 2.6, 0.4, 0.9, 1, 9.5, 0.3, 0.3, 0.1,
    0.3, 0.4, 0.5,
)  # fmt: skip
SYLLABLES = 2350


@dataclass(frozen=True)
class ZipNames:
    """The names of an archive's entries, in their order, and whether another reading is as likely."""

    names: tuple[str, ...]
    code: str = "utf-8"
    unsure: bool = False


def is_zip(path: Path) -> bool:
    """Whether a file is a zip; one of several disks, of which zipfile would make an exception, is none here."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def zip_names(entries: Sequence[zipfile.ZipInfo], language: str = "") -> ZipNames:
    """What the entries of an archive are called.

    Args:
        entries: of one archive.
        language: of whoever brought it (``"zh"``, ``"ko"``), for readings that are as likely as each other.
    """
    old = [entry for entry in entries if not entry.flag_bits & UTF8_NAMES and not entry.orig_filename.isascii()]
    try:
        raw = [entry.orig_filename.encode("cp437") for entry in old]
    except UnicodeEncodeError:  # Python took the name from a field of its own, which is Unicode
        raw = []
    if not raw:
        return ZipNames(tuple(entry.orig_filename for entry in entries))
    code, unsure = best_code(raw, language)
    meant = {id(entry): name.decode(code) for entry, name in zip(old, raw, strict=True)}
    return ZipNames(tuple(meant.get(id(entry), entry.orig_filename) for entry in entries), code, unsure)


def best_code(raw: Sequence[bytes], language: str = "") -> tuple[str, bool]:
    """The code that names are written in, and whether that is a guess between two that are as likely.

    Args:
        raw: names with characters beyond ASCII, as they stand in the archive.
        language: that breaks a tie.
    """
    together = b"\n".join(sorted(set(raw)))
    if _decoded(together, "utf-8") is not None:
        return "utf-8", False
    scores = {code: _score(together, code, judge) for code, judge in JUDGES.items()}
    hinted = HINTS.get(language.lower()) or HINTS.get(language.lower()[:2], "")
    ranked = sorted(scores, key=lambda code: -scores[code] - (UNSURE if code == hinted else 0.0))
    best, second = ranked[:2]
    if scores[best] < LEAST:
        return "cp437", False  # what the standard says
    return best, scores[best] - scores[second] < UNSURE and best != hinted


def _decoded(raw: bytes, code: str) -> str | None:
    try:
        return raw.decode(code)
    except UnicodeDecodeError:
        return None


def _score(raw: bytes, code: str, judge: Callable[[str, str, bytes], float]) -> float:
    """How much the characters beyond ASCII look like names: 1 if all are common in that code, 0 for none."""
    text = _decoded(raw, code)
    if text is None:
        return 0.0
    found = []
    for place, character in enumerate(text):
        if character.isascii():
            continue
        around = text[max(place - 1, 0) : place] + text[place + 1 : place + 2]
        raw_one = character.encode(code)
        beside_latin = len(raw_one) > 1 and any(one.isascii() and one.isalpha() for one in around)
        found.append(judge(character, around, raw_one) * (BESIDE_LATIN if beside_latin else 1.0))
    return sum(found) / len(found) if found else 0.0


def _chinese(character: str, around: str, raw: bytes) -> float:
    """GB18030: the 3,755 characters of GB2312's first level, then its second, then all that came later."""
    if len(raw) != 2 or unicodedata.category(character) not in ("Lo", "Nl", "No"):
        return 0.1
    if raw[1] < 0xA1 or not 0xB0 <= raw[0] <= 0xF7:
        return 0.25
    return 1.0 if raw[0] <= 0xD7 else 0.75


def _traditional(character: str, around: str, raw: bytes) -> float:
    """Big5: 5,401 common characters by their strokes, then the rare ones."""
    if len(raw) != 2 or unicodedata.category(character) != "Lo":
        return 0.1
    return 0.98 if 0xA4 <= raw[0] <= 0xC6 else 0.4


def _japanese(character: str, around: str, raw: bytes) -> float:
    """Shift-JIS: kana and the 2,965 kanji of JIS's first level; kana of half the width are rare in names."""
    if len(raw) == 1:
        return 0.2
    if "\u3041" <= character <= "\u30ff":
        return 1.0
    if unicodedata.category(character) != "Lo":
        return 0.1
    return 0.96 if raw[0] < 0x98 or raw < b"\x98\x73" else 0.4


def _korean(character: str, around: str, raw: bytes) -> float:
    """EUC-KR: its bytes are those of common Chinese characters as well, so the syllables must be of usual parts."""
    if not "가" <= character <= "힣":
        return 0.1
    initial, rest = divmod(ord(character) - ord("가"), 588)
    medial, final = divmod(rest, 28)
    share = INITIALS[initial] * MEDIALS[medial] * FINALS[final] / 1e6
    surprise = math.log(share * SYLLABLES)  # above 0: likelier than any syllable
    return 1.05 + 0.12 * max(-5.0, min(3.0, surprise))


def _letters(script: str) -> Callable[[str, str, bytes], float]:
    """A code of one byte: letters of its script, in words of nothing else."""

    def judge(character: str, around: str, raw: bytes) -> float:
        if not unicodedata.name(character, "").startswith(script):
            return 0.0
        others = [one for one in around if one.isalpha()]
        if any(not unicodedata.name(one, "").startswith(script) for one in others):
            return 0.0
        return 0.95 if others or script != "LATIN" else 0.5

    return judge


#: Python's names of the codes, each with what it thinks of a character: (it, those beside it, its bytes) -> 0 to 1.
JUDGES: dict[str, Callable[[str, str, bytes], float]] = {
    "gb18030": _chinese,
    "big5": _traditional,
    "cp932": _japanese,
    "cp949": _korean,
    "cp866": _letters("CYRILLIC"),
    "cp850": _letters("LATIN"),
}
#: Languages whose makers write these codes.
HINTS = {
    "zh": "gb18030", "zh-cn": "gb18030", "zh-tw": "big5", "zh-hk": "big5", "ja": "cp932", "ko": "cp949", "ru": "cp866",
    "uk": "cp866", "de": "cp850", "fr": "cp850", "es": "cp850", "pt": "cp850", "it": "cp850",
}  # fmt: skip

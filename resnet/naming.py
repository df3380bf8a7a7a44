"""Names that strangers gave: what a class is called, and what of a text can be shown.

Both keep what is invisible where it is part of what is seen: the joiners of emoji and of Indic and Persian letters, and
the selectors that say which form of a character is meant.
"""

from __future__ import annotations

import re
import unicodedata

#: Characters of a class's name: more than any that a folder can have.
MAX_LABEL = 1000
#: Zero-width (non-)joiners, and the tags that make a flag of 🏴: part of a character between others, else nothing.
JOINERS, TAGS, FLAG = "\u200c\u200d", ("\U000e0020", "\U000e007f"), "\U0001f3f4"
#: Forms of the character before: mongolian, of emoji and symbols, of ideographs.
SELECTORS = (("\u180b", "\u180d"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))
#: What Unicode calls letters, marks or signs, and nobody sees: of some width, and of none.
BLANK, NOTHING = "\u2800\u3164\uffa0", "\u034f\u115f\u1160\u17b4\u17b5"
#: Places of Unicode that stay empty, and those that are kept for what is not seen.
NEVER_SEEN = ((0xFDD0, 0xFDEF), (0x2065, 0x2065), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))
#: Signs that stand before a number or a letter and are seen, of a category whose others aren't.
SEEN_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
#: Of what counts as printable, what is not seen by itself.
ODD = re.compile(f"[{BLANK}{NOTHING}{''.join(f'{low}-{high}' for low, high in SELECTORS)}]")


def class_name(text: str) -> str:
    """What a class is called, whoever named it: composed, with single spaces, and without what nobody sees.

    What is no character becomes a replacement character. Two names that look the same are the same then, but for
    characters that resemble others.
    """
    spaced = text == " ".join(text.split())
    if spaced and text.isprintable() and not ODD.search(text) and unicodedata.is_normalized("NFC", text):
        return text  # as nearly all are, and there may be thousands
    while True:
        composed = unicodedata.normalize("NFC", text)
        kept = (one if part else _instead(one) for one, part in zip(composed, _parts(composed), strict=True))
        found = unicodedata.normalize("NFC", " ".join("".join(kept).split()))
        if found == text:
            return found
        text = found  # what is gone may have kept others there


def _instead(character: str) -> str:
    """Of what is no part of a name: what stands there instead."""
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return " " if character.isspace() or category.startswith("Z") or character in BLANK else ""


def printable(text: str, instead: str = " ") -> str:
    """A text on one line, in which nothing moves a cursor or turns what stands around it: that is replaced."""
    return "".join(
        one if one.isprintable() or (part and not _is_vague(one)) else instead
        for one, part in zip(text, _parts(text), strict=True)
    )


def escaped(text: str) -> str:
    """A text as it can be shown anywhere: what would move a cursor, turn what stands around it or is half a character
    stands there as its number, ``\\x1b``. Spaces of all widths stay.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or unicodedata.category(one) == "Zs" or (part and not _is_vague(one)) else _number(one)
        for one, part in zip(text, _parts(text), strict=True)
    )


def _number(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_vague(character: str) -> bool:
    """Whether it is seen differently everywhere: nothing is agreed on what it is."""
    return unicodedata.category(character) in ("Cn", "Co")


def _parts(text: str) -> list[bool]:
    """Of each character, whether it is seen, or is part of one that is."""
    found: list[bool] = []
    before = " "  # the last one, where it is such a part
    for place, one in enumerate(text):
        if one in JOINERS:
            part = _can_join(before) and _can_join(text[place + 1 : place + 2] or " ")
        elif _is_selector(one):
            part = _is_seen(before) and not _is_selector(before)
        elif TAGS[0] <= one <= TAGS[1]:
            part = before == FLAG or TAGS[0] <= before < TAGS[1]
        else:
            part = _is_seen(one)
        found.append(part)
        before = one if part else " "
    return found


def _can_join(character: str) -> bool:
    """Whether a joiner beside it may change how it looks: an emoji, or a letter of a script that joins some."""
    category = unicodedata.category(character)
    wide = category == "Lo" and unicodedata.east_asian_width(character) in "WF"
    return category in ("Lo", "Lm", "Mn", "Mc", "Me", "So", "Sk", "Cn") and not wide and _is_seen(character)


def _is_selector(character: str) -> bool:
    return any(low <= character <= high for low, high in SELECTORS)


def _is_seen(character: str) -> bool:
    category, number = unicodedata.category(character), ord(character)
    if category == "Cn":  # what a later Unicode may have made of it, but for what will never be a character, or be seen
        return number & 0xFFFE != 0xFFFE and not any(low <= number <= high for low, high in NEVER_SEEN)
    seen = category not in ("Cc", "Cf", "Cs") and not category.startswith("Z")
    return (seen and character not in BLANK and character not in NOTHING) or character in SEEN_FORMATS

"""Names of classes: the same for what looks the same, and nothing lost that is seen."""

from __future__ import annotations

import json
import random
import unicodedata

import pytest

from resnet.naming import class_name, printable

#: What is written in any script stays as it is.
KEPT = [
    "daisy", "蒲公英", "ひまわり", "해바라기", "Ёж", "gänseblümchen", "ॐ क्षि", "क्\u200dष", "می\u200cخواهم", "שלום",
    "🌼", "👨\u200d👩\u200d👧", "👋🏽", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "🇨🇳", "🏳\ufe0f\u200d🌈", "葛\U000e0100",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "a (1), b & c = d", "ส้ม",
    "x\N{REPLACEMENT CHARACTER}", "\ue000",
]  # fmt: skip
#: What nobody sees, of every kind.
UNSEEN = "\x00\x07\x1b\x7f\x9b\u00ad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u202e\u2060\u2066\u2069\ufeff"
UNSEEN += "\ufffe\ufdd0\U0001d173\U000e0001\U000e0041\U0010ffff"
SPACES = " \t\n\r\v\f\x1c\x85\u00a0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000\u2800\u3164"


@pytest.mark.parametrize("name", KEPT, ids=ascii)
def test_what_is_seen_is_kept(name: str) -> None:
    assert class_name(name) == name
    assert class_name(f"\u2067{name}\u00ad\u3000") == name


@pytest.mark.parametrize("name", KEPT[:-1], ids=ascii)
def test_what_is_seen_can_be_shown(name: str) -> None:
    assert printable(name) == name


def test_what_is_not_seen_is_gone() -> None:
    for one in UNSEEN:
        assert class_name(f"red{one} {one}rose{one}") == "red rose", ascii(one)
        assert class_name(one) == "", ascii(one)
        assert unicodedata.category(one) in ("Lo", "Mn") or printable(one) == " ", ascii(one)
    for one in SPACES:
        assert class_name(f"{one}red{one}{one}rose{one}") == "red rose", ascii(one)
        assert class_name(one) == "", ascii(one)
    assert class_name("ro\ud83dse") == "ro\N{REPLACEMENT CHARACTER}se"
    assert class_name("u\N{COMBINING DIAERESIS}") == "ü"
    assert class_name("漢\u200d字 a\u200db") == "漢字 ab"  # nothing is joined there


def test_of_any_text_there_is_one_name_that_can_be_written() -> None:
    dice = random.Random(0)
    odd = UNSEEN + SPACES + "".join(KEPT) + "\ud800\udc00a\u0301\u0600"
    for _ in range(4000):
        text = "".join(
            dice.choice(odd) if dice.random() < 0.9 else chr(dice.randrange(0x110000))
            for _ in range(dice.randrange(10))
        )
        name = class_name(text)
        assert class_name(name) == name == " ".join(name.split()) == unicodedata.normalize("NFC", name)
        assert json.loads(json.dumps(name, ensure_ascii=False).encode()) == name
        assert not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in name + printable(text))

"""The words of the page: the same in both languages, for every refusal, and none that nobody says."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnet.errors import Refusal
from ui.texts import TEXTS, Markup, both, label, plain, sentence

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"[a-z]+\.[a-z_]+")


def trees(*packages: str) -> Iterator[ast.Module]:
    for package in packages:
        for file in sorted((ROOT / package).rglob("*.py")):
            if file.name != "__main__.py":  # the terminal speaks English
                yield ast.parse(file.read_text(encoding="utf-8"))


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def refusals() -> dict[str, set[str]]:
    """Code -> the facts in its English sentence, for everything that is refused with a code and a sentence."""
    found: dict[str, set[str]] = {}
    for tree in trees("resnet", "weights", "train", "ui"):
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            for code, said in zip(call.args, call.args[1:], strict=False):
                words = "".join(
                    part.value
                    for part in ast.walk(said)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                if isinstance(code, ast.Constant) and CODE.fullmatch(str(code.value)) and " " in words:
                    found.setdefault(str(code.value), set()).update(placeholders(words))
    return found


def keys_in_use() -> tuple[set[str], list[re.Pattern[str]]]:
    """Texts named in `ui/` outright, and patterns of those whose names are put together."""
    named, patterns = set(), []
    for tree in trees("ui"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named.add(node.value)
            elif isinstance(node, ast.JoinedStr) and len(node.values) == 2:
                first, last = node.values
                if (
                    isinstance(first, ast.Constant)
                    and str(first.value).endswith((".", "_"))
                    and not isinstance(last, ast.Constant)
                ):
                    patterns.append(re.compile(re.escape(str(first.value)) + r"\w+"))
    return named, patterns


def test_refusals_are_found() -> None:
    found = refusals()
    assert len(found) > 30
    assert found["image.large"] == {"name", "limit"}  # raised by name
    assert "name" in found["photos.empty"]  # through a helper
    assert found["weights.name"] == {"name"}  # of a sentence in two parts


def test_both_languages_have_the_same_texts() -> None:
    english = set(TEXTS["en"])
    chinese = {key for key in TEXTS["zh"] if not key.startswith("error.") or key in english}
    assert chinese == english


@pytest.mark.parametrize("key", sorted(TEXTS["en"]))
def test_both_languages_give_the_same_facts(key: str) -> None:
    assert placeholders(TEXTS["zh"][key]) == placeholders(TEXTS["en"][key])


@pytest.mark.parametrize(("code", "facts"), sorted(refusals().items()), ids=sorted(refusals()))
def test_every_refusal_is_said_in_chinese(code: str, facts: set[str]) -> None:
    chinese = TEXTS["zh"].get(f"error.{code}")
    assert chinese, f"error.{code} is not in zh-CN.json"
    assert placeholders(chinese) <= facts
    assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_no_text_is_left_over() -> None:
    named, patterns = keys_in_use()
    said = refusals()
    for key in TEXTS["zh"]:
        code = key.removeprefix("error.")
        used = key in named or any(one.fullmatch(key) for one in patterns)
        assert used or (key.startswith("error.") and code in said), f"nobody says {key}"


def test_facts_are_escaped_and_our_own_markup_is_not() -> None:
    text = both("facts.loading", name="<img src=x onerror=alert(1)>")
    assert "<img" not in text and "&lt;img" in text
    assert "<b>" in both("facts.loading", name=Markup("<b>mine</b>"))


def test_a_refusal_is_escaped_in_both_languages() -> None:
    text = sentence(Refusal("image.unknown", "{name} is not an image.", name="<script>alert(1)</script>"))
    assert "<script" not in text and text.count("&lt;script&gt;") == 2


def test_what_can_not_be_seen_reaches_no_page() -> None:
    """Half a character could not even be sent."""
    evil = "a\u202e\x1b[2J\udc80<b>"
    shown = r"a\u202e\x1b[2J\udc80&lt;b&gt;"
    assert plain(evil) == shown and both("facts.loading", name=evil).count(shown) == 2
    assert sentence(Refusal("image.unknown", "{name} is not an image.", name=evil)).count(shown) == 2


def test_a_refusal_without_translation_is_said_in_english() -> None:
    assert sentence(Refusal("image.other", "Only {what}.", what="<English>")) == "Only &lt;English&gt;."


def test_a_fact_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    assert sentence(Refusal("image.unknown", "{name} is not an image.", name="{0}{name}")).count("{0}{name}") == 2
    assert both("facts.loading", name="{0} {name}").count("{0} {name}") == 2


def test_an_unknown_label_is_an_error() -> None:
    with pytest.raises(KeyError):
        label("model.lable")

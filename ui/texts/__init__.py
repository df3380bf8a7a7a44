"""The page's words in English and Simplified Chinese.

Labels go through `gr.I18n` (`label`). Sentences that we write at run time, with names and numbers in them, are sent in
both languages at once (`both`) and the style sheet shows the one of the page: so the text follows when a visitor
changes the language in Gradio's settings, and the server needs to know nothing of it.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import gradio as gr

from resnet.errors import Refusal
from resnet.naming import escaped

LANGUAGES = {"en": "en", "zh": "zh-CN"}
TEXTS: dict[str, dict[str, str]] = {
    short: json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    for short, name in LANGUAGES.items()
}

#: Shows the language that Gradio has set on the document. Every Chinese reads the simplified one.
CSS = """
html[lang^="zh"] .lang-en { display: none !important; }
html:not([lang^="zh"]) .lang-zh { display: none !important; }
"""


def translations() -> gr.I18n:
    """All texts, for `launch(i18n=...)`."""
    chinese = TEXTS["zh"]
    return gr.I18n(**{"en": TEXTS["en"], "zh-CN": chinese, "zh-TW": chinese, "zh": chinese})


def label(key: str) -> Any:
    """A text without facts in it, for a component's label, choice or placeholder."""
    if key not in TEXTS["en"]:
        raise KeyError(key)
    return gr.I18n()(key)


def both(key: str, **facts: object) -> str:
    """A text with its facts, as HTML in both languages; facts are escaped, the text itself may hold markup."""
    escaped = {name: fact if isinstance(fact, Markup) else plain(fact) for name, fact in facts.items()}
    return _spans({short: TEXTS[short][key].format(**escaped) for short in LANGUAGES})


def sentence(refusal: Refusal) -> str:
    """A refusal as HTML in both languages: our English sentence, and its translation with the same facts."""
    refusal = refusal.without_folders()
    chinese = TEXTS["zh"].get(f"error.{refusal.code}")
    if chinese is None:
        return plain(refusal)
    return _spans({"en": plain(refusal), "zh": html.escape(chinese.format(**refusal.facts))})


def plain(text: object) -> str:
    """What somebody else wrote -> HTML that shows it: neither markup nor what can't be seen does anything."""
    return html.escape(escaped(str(text)))


def alert(text: str) -> str:
    """A refusal, already HTML, as a card that screen readers speak at once."""
    return f'<div class="card refusal" role="alert">{text}</div>'


class Markup(str):
    """HTML of our own making, which `both` does not escape."""


def _spans(texts: dict[str, str]) -> str:
    return "".join(
        f'<span class="lang-{short}" lang="{LANGUAGES[short]}">{text}</span>' for short, text in texts.items()
    )

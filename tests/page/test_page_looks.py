"""How the page looks and reads: both languages, both themes, a desk and a phone; nothing overflows, all has a name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import HOSTILE, Named, bars, choose_model, choose_photo
from ui.texts import TEXTS

pytestmark = pytest.mark.page
Visit = Callable[..., Page]

#: What is beyond the edge of the window or, of the parts that we draw, wider than its place.
OVERFLOWING = """() => {
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`page: ${document.documentElement.scrollWidth}`);
  const table = document.querySelector('#table .scroll');
  if (table && table.scrollWidth > table.clientWidth) wrong.push(`table: ${table.scrollWidth}`);
  for (const cell of document.querySelectorAll('#table td'))
    if (cell.scrollWidth > cell.clientWidth + 2) wrong.push(`${cell.className} holds ${cell.scrollWidth}`);
  const ours = '.masthead, .facts, .card, .pictures, .summary, .listing, #model, #top-k, #photo, #files, #start';
  for (const part of document.querySelectorAll(ours)) {
    for (const one of [part, ...part.querySelectorAll('*')]) {
      const box = one.getBoundingClientRect();
      if (!box.width || one.closest('svg, .scroll, input') || getComputedStyle(one).position === 'absolute') continue;
      if (box.right > innerWidth + 1 || box.left < -1) wrong.push(`${one.tagName}.${one.className}: ${box.right}`);
      const style = getComputedStyle(one), wider = one.clientWidth && one.scrollWidth > one.clientWidth + 2;
      if (wider && style.overflowX === 'visible' && style.display !== 'inline' && !part.id)
        wrong.push(`${one.tagName}.${one.className} holds ${one.scrollWidth}`);
    }
  }
  return wrong;
}"""

#: What a screen reader would have no name for, among what is shown. Gradio's own example pictures are its own.
NAMELESS = """() => {
  const wrong = [], shown = (one) => one.getClientRects().length > 0;
  const by = (one) => (one.getAttribute('aria-labelledby') || '').split(' ').filter(Boolean)
    .map((id) => document.getElementById(id)?.innerText ?? '').join(' ').trim();
  const text = (one) => (by(one) || one.getAttribute('aria-label') || one.title || one.textContent || '').trim();
  for (const one of document.querySelectorAll('img'))
    if (shown(one) && !one.alt && !one.closest('.gallery, #photo, #inside-photo, button[aria-label]')
        && !text(one.closest('button') ?? one))
      wrong.push(one.outerHTML.slice(0, 200));
  for (const one of document.querySelectorAll('button, [role=button], [role=progressbar]'))
    if (shown(one) && !text(one) && !one.closest('.gallery')) wrong.push(one.outerHTML.slice(0, 200));
  for (const one of document.querySelectorAll('input, select, textarea'))
    if (shown(one) && !one.getAttribute('aria-label') && ![...(one.labels ?? [])].some(text))
      wrong.push(one.outerHTML.slice(0, 200));
  for (const one of document.querySelectorAll('html, [lang]'))
    if (!one.lang) wrong.push(one.outerHTML.slice(0, 100));
  return wrong;
}"""

LOOKS = [
    ("en-US", 1280, "light"), ("zh-CN", 1280, "dark"), ("en-US", 390, "dark"), ("zh-TW", 390, "light"),
]  # fmt: skip


def fits(page: Page, state: str) -> None:
    """Nothing overflows, all has a name; with SCREENSHOTS set to a folder, a picture of it is left there."""
    if folder := os.environ.get("SCREENSHOTS"):
        size = page.viewport_size or {}
        language = page.evaluate("navigator.language")
        page.screenshot(path=Path(folder) / f"{size.get('width')}-{language}-{state}.png", full_page=True)
    assert page.evaluate(OVERFLOWING) == [], state
    assert page.evaluate(NAMELESS) == [], state


@pytest.mark.parametrize(("locale", "width", "scheme"), LOOKS)
def test_nothing_overflows_and_all_has_a_name(
    visit: Visit, rose: Named, named: list[Named], tmp_path: Path, locale: str, width: int, scheme: str
) -> None:
    page = visit(locale=locale, width=width, color_scheme=scheme)
    fits(page, "empty")
    width_before = page.locator(".gradio-container").bounding_box()
    choose_photo(page, rose.path)
    bars(page)
    page.wait_for_selector("#pictures img >> nth=1")
    fits(page, "answer")
    assert page.locator(".gradio-container").bounding_box()["width"] == width_before["width"]  # type: ignore[index]
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    broken = tmp_path / f"{'a-very-long-name-without-any-space' * 4}.jpg"
    broken.write_bytes(b"no image")
    choose_photo(page, broken)
    page.wait_for_selector("#answer .refusal")
    fits(page, "bad-photo")
    choose_model(page, f"{'a-very-long-owner' * 5}/{'and-a-very-long-name' * 5}")
    page.wait_for_selector("#facts .refusal")
    fits(page, "no-model")
    choose_model(page, "tester/hostile")
    page.wait_for_selector("#facts .facts b")
    choose_photo(page, rose.path)
    page.wait_for_selector(f"#answer .bars:has-text('{HOSTILE[3]}')")
    page.wait_for_selector("#pictures img >> nth=1")
    fits(page, "long-names")
    page.get_by_role("tab", name=re.compile("Many photos|多张照片")).click()
    fits(page, "many-empty")
    page.set_input_files("#files input[type=file]", [one.path for one in named[::8]] + [broken])
    page.wait_for_selector("#files .file-preview")
    page.click("#start")
    expect(page.locator("#table tbody tr")).to_have_count(len(named[::8]) + 1)
    fits(page, "many")


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh"), ("zh-TW", "zh"), ("de-DE", "en")])
def test_a_visitor_reads_one_language(visit: Visit, rose: Named, locale: str, language: str) -> None:
    page = visit(locale=locale)
    choose_photo(page, rose.path)
    bars(page)
    texts, other = TEXTS[language], TEXTS["en" if language == "zh" else "zh"]
    body = page.inner_text("body")
    for key in (
        "header.title", "header.sentence", "classify.tab", "one.tab", "many.tab", "model.label", "model.info",
        "top_k.label", "photo.label", "examples.label", "answer.hint", "facts.shipped",
    ):  # fmt: skip
        assert texts[key] in body, key
        assert other[key] not in body, key
    for shown, hidden in (("en", "zh"), ("zh", "en")) if language == "en" else (("zh", "en"), ("en", "zh")):
        if shown == language:
            expect(page.locator(f"#answer .hint > .lang-{shown}").first).to_be_visible()
            expect(page.locator(f"#answer .hint > .lang-{hidden}").first).to_be_hidden()


def test_the_language_follows_gradio_s_settings(visit: Visit, rose: Named) -> None:
    """What is on the page already changes with it, an answer too."""
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    page.click("footer .settings")
    page.wait_for_selector("text=Language")
    page.locator("input[role=listbox], input[role=combobox], .dropdown input").last.click()
    page.get_by_role("option", name=re.compile("简体中文|Chinese")).first.click()
    expect(page.locator(".masthead h1 .lang-zh")).to_be_visible()
    expect(page.locator(".masthead h1 .lang-en")).to_be_hidden()
    expect(page.locator("#answer .hint > .lang-zh").first).to_be_visible()
    expect(page.locator("#facts .lang-zh").first).to_be_visible()


def test_the_answer_is_readable_in_both_themes(visit: Visit, rose: Named, named: list[Named]) -> None:
    """Text against what is behind it, by the formula of WCAG 2: 4.5 for text of this size."""
    doubtful = next(one for one in named if one.verdict == "none")
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        choose_photo(page, doubtful.path)
        bars(page)
        page.wait_for_selector("#pictures figcaption")
        ratios: dict[str, Any] = page.evaluate(
            """selectors => {
              const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
              const light = (color) => {
                const [r, g, b] = color.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const behind = (one) => {
                for (; one; one = one.parentElement) {
                  const color = rgb(getComputedStyle(one).backgroundColor);
                  if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
                }
                return [255, 255, 255];
              };
              const found = {};
              for (const selector of selectors) {
                const one = document.querySelector(selector);
                const pair = [light(rgb(getComputedStyle(one).color).slice(0, 3)), light(behind(one))];
                found[selector] = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
              }
              return found;
            }""",
            [
                ".masthead p", "#facts .facts", "#facts b", "#answer .answer", "#answer .answer small",
                "#answer .doubt", "#answer .bars .name", "#answer .bars .percent", "#answer .hint",
                "#pictures figcaption",
            ],
        )  # fmt: skip
        for selector, ratio in ratios.items():
            assert ratio >= 4.5, (scheme, selector, ratio)

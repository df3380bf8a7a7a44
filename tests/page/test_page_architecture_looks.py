"""The Architecture tab at both widths, in both themes and languages: all fits and can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import pictures
from tests.page.architecture import (
    CONTRAST,
    UNREADABLE,
    architecture,
    box,
    costs,
    facts_of,
    figures,
    number,
    pick,
    show_rows,
    totals,
)
from tests.page.test_page_architecture_refused import FIELDS
from tests.page.test_page_looks import LOOKS, fits
from ui.texts import TEXTS

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


@pytest.mark.parametrize(("locale", "width", "scheme"), LOOKS)
def test_all_fits_and_can_be_read(visit: Visit, tmp_path: Path, locale: str, width: int, scheme: str) -> None:
    """Both widths and themes; with SCREENSHOTS set to a folder, pictures are left there."""
    texts = TEXTS[locale[:2]]
    page = architecture(visit(locale=locale, width=width, color_scheme=scheme))
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    expect(page.locator("#filters img")).to_be_visible()
    body, other = page.inner_text("body"), TEXTS["zh" if locale.startswith("en") else "en"]
    for key in ("arch.variant", "arch.v1_info", "arch.hint", "explain.dashed", "arch.photo_words", "arch.column_field"):
        assert texts[key] in body and other[key] not in body, key
    photo = tmp_path / "clouds.jpg"
    photo.write_bytes(pictures.jpeg(3, (320, 240)))
    for state, first, second in (
        ("resnet18", "resnet18", ""), ("resnet50", "resnet50", ""), ("resnet34-resnet50", "resnet34", "resnet50"),
        ("trained", "resnext101_64x4d", "resnet152"),
    ):  # fmt: skip
        if second:
            pick(page, "second", second)
            expect(page.locator("#drawing h3").last).to_have_text(second)
        pick(page, "variant", first)
        totals(page, figures(costs(facts_of(first))))
        if state == "trained":  # with all that may stand there
            pick(page, "method", texts["method.last_stage"])
            show_rows(page, texts["arch.depth_block"])
            expect(page.locator("#layers tbody tr").nth(50)).to_be_attached()
            page.set_input_files("#inside-photo input[type=file]", photo)
            expect(page.locator("#maps .map")).to_have_count(16)
            number(page, "channels").fill("2048")
            expect(page.locator("#calculator")).to_contain_text("2048")
            box(page, "layer3.0").click()
            expect(page.locator("#inside h3")).to_contain_text("layer3.0")
        fits(page, f"architecture-{state}-{scheme}")
        assert page.evaluate(UNREADABLE) == [], state
    assert page.locator("#drawing svg.across:visible").count() == (2 if width == 1280 else 0)
    number(page, "size").fill("9999")
    notice = page.locator("#notice .refusal[role=alert]")
    expect(notice).to_have_text(FIELDS["size"][locale.startswith("zh")].format("9999"), use_inner_text=True)
    # In marked cells, in what is frozen and elsewhere, words stand out: at least 4.5, WCAG's AA for small ones.
    ratios: dict[str, float] = page.evaluate(
        CONTRAST,
        [
            "#layers td.differs", "#layers td.differs small", "#layers tr.frozen td", "#layers tr.frozen td.differs",
            "#layers tr.frozen td.differs small", "#layers tr.alone small", "#layers th button", "#layers .hint",
            ".links a", "#totals b", "#totals .figures span", "#totals small", "#drawing .part.frozen ~ text",
            ".readout span", "#drawing .hint", "#inside h3", "#inside p", "#inside text", "#calculator text",
            "#calculator p", ".explanations p", "#filters p", "#maps figcaption", "#maps p", "#notice span",
        ],
    )  # fmt: skip
    assert {selector: ratio for selector, ratio in ratios.items() if ratio < 4.5} == {}

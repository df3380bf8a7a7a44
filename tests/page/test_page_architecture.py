"""The Architecture tab: whatever is chosen there, the drawing and the figures say what the facts say."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from resnet.config import VARIANTS
from resnet.summary import layers, parts
from tests.page.architecture import (
    BELOW,
    DRAWN,
    ROWS,
    architecture,
    box,
    boxes_of,
    costs,
    drawn_of,
    facts_of,
    figures,
    follows,
    number,
    pick,
    rows_of,
    shape,
    show_rows,
    slide,
    taken,
    totals,
    until,
)
from train.methods import LEARNS, Method
from ui.texts import TEXTS

pytestmark = pytest.mark.page
#: What a script says once it has said the same for ten frames on end: until all has its new place.
SETTLED = """async () => {{
  const look = {}, frame = () => new Promise(requestAnimationFrame);
  for (let before = look(), same = 0; ; ) {{
    await frame();
    const now = look();
    same = JSON.stringify(now) === JSON.stringify(before) ? same + 1 : 0;
    if (same === 10) return now;
    before = now;
  }}
}}"""
Visit = Callable[..., Page]


def test_figures_drawing_and_table_follow_each_choice(visit: Visit) -> None:
    page = architecture(visit())
    follows(page, facts_of("resnet34"))
    for kind, dashes in (("identity", "none"), ("projection", "4px, 3px")):
        arc = page.locator(f"#drawing svg:visible .arc.{kind}").first
        assert arc.evaluate("one => getComputedStyle(one).strokeDasharray") == dashes
    assert page.inner_text("#totals").startswith("21.8 M\nparameters (21,797,672)\n3.66 G")
    page.locator("#variant input").click()
    page.get_by_role("option", name="resnet50", exact=True).click()
    follows(page, facts_of("resnet50"))
    slide(page, "size", "End")
    follows(page, facts_of("resnet50", 512))
    slide(page, "size", "Home")
    follows(page, facts_of("resnet50", 32))
    slide(page, "size", *["ArrowRight"] * 21)  # quicker than it draws: the last one counts
    follows(page, facts_of("resnet50", 53))
    number(page, "size").fill("193")
    follows(page, facts_of("resnet50", 193))
    slide(page, "batch", "End")
    follows(page, facts_of("resnet50", 193), 256)
    number(page, "batch").fill("5")
    follows(page, facts_of("resnet50", 193), 5)
    number(page, "size").fill("224")
    follows(page, facts_of("resnet50"), 5)
    pick(page, "variant", "wide_resnet50_2")
    follows(page, facts_of("wide_resnet50_2"), 5)
    pick(page, "variant", "The model chosen in Classify")
    follows(page, layers(replace(VARIANTS["resnet18"], num_classes=5)), 5)


def test_strides_of_the_paper(visit: Visit) -> None:
    page = architecture(visit())
    pick(page, "variant", "resnet50")
    follows(page, facts_of("resnet50"))
    box(page, "layer2.0").click()
    expect(page.locator("#inside h3")).to_have_text("layer2.0 · conv3_x")
    words = page.locator("#inside svg text")
    assert "3x3, 128, /2" in words.all_text_contents() and page.evaluate(ROWS)[4][-1] == "427"
    page.check("#v1 input")
    follows(page, facts_of("resnet50", v1=True))
    assert "1x1, 128, /2" in words.all_text_contents() and "3x3, 128" in words.all_text_contents()
    assert page.evaluate(ROWS)[4][-1] == "483"
    page.uncheck("#v1 input")
    follows(page, facts_of("resnet50"))
    page.check("#v1 input")
    pick(page, "variant", "resnet18")
    follows(page, facts_of("resnet18"))  # it has no bottleneck


def test_two_side_by_side(visit: Visit) -> None:
    page = architecture(visit())
    pick(page, "second", "resnet50")
    both = facts_of("resnet34"), facts_of("resnet50")
    values = [costs(one) for one in both]
    expect(page.locator("#totals .beside")).to_have_text(
        [
            f"resnet50: {text} (×{second / first:.2f})"
            for text, first, second in zip(figures(values[1]), *values, strict=True)
        ]
    )
    totals(page, figures(values[0]))
    expect(page.locator("#drawing h3")).to_have_text(["resnet34", "resnet50"])
    assert [one for one, _ in page.evaluate(DRAWN)] == [drawn_of(one) for one in both]
    # A cell that differs holds both, the second below the first; one that does not holds one.
    expected = [
        [first if first == second else f"{first}\n{second}" for first, second in zip(*pair, strict=True)]
        for pair in zip(rows_of(both[0]), rows_of(both[1]), strict=True)
    ]
    until(page, ROWS, expected)
    marked = page.locator("#layers td.differs").all_inner_texts()
    assert marked == [cell for row in expected for cell in row if "\n" in cell] and len(marked) > 20
    assert page.inner_text("#layers .tools .hint") == "Marked cells differ: resnet34 above, resnet50 below."
    rows = list(csv.DictReader(io.StringIO(taken(page, "This table as CSV"))))
    assert [row["network"] for row in rows] == ["resnet34"] * 6 + ["resnet50"] * 6
    assert sum(int(row["parameters"]) for row in rows) == 21_797_672 + 25_557_032

    # A box of the second drawing opens that network's block.
    box(page, "layer3.2", 1).click()
    expect(page.locator("#inside h3")).to_have_text("layer3.2 · conv4_x · resnet50")
    (opened,) = [part for part in boxes_of(both[1]) if part.name == "layer3.2"]
    assert f"{opened.parameters:,} parameters" in page.inner_text("#inside")
    chosen = page.locator("#drawing svg:visible .part.chosen")
    expect(chosen).to_have_count(1)
    assert chosen.get_attribute("data-network") == "1"
    box(page, "layer3.2", 0).click()
    expect(page.locator("#inside h3")).to_have_text("layer3.2 · conv4_x · resnet34")
    assert chosen.get_attribute("data-network") == "0"
    box(page, "layer3.2", 1).click()
    expect(page.locator("#inside h3")).to_have_text("layer3.2 · conv4_x · resnet50")

    # What only one of them has says so.
    pick(page, "second", "resnet18")
    expect(page.locator("#drawing h3")).to_have_text(["resnet34", "resnet18"])
    expect(page.locator("#inside h3")).to_have_text("layer2.0 · conv3_x · resnet18")  # it has no layer3.2
    show_rows(page, "Blocks")
    theirs = [{part.name for part in parts(facts_of(name), "block")} for name in ("resnet34", "resnet18")]
    expect(page.locator("#layers tbody tr")).to_have_count(len(theirs[0] | theirs[1]))
    alone = page.locator("#layers tr.alone td:first-child").all_inner_texts()
    assert sorted(alone) == sorted(f"{name}\nonly in resnet34" for name in theirs[0] - theirs[1]) and len(alone) == 8
    pick(page, "second", "resnet50")
    expect(page.locator("#drawing h3")).to_have_text(["resnet34", "resnet50"])
    show_rows(page, "Every layer")
    expect(page.locator("#layers tr.alone").first).to_be_visible()
    alone = page.locator("#layers tr.alone td:first-child").all_inner_texts()
    assert "layer1.0.conv3\nonly in resnet50" in alone and not [one for one in alone if one.endswith("resnet34")]

    # The same twice differs in nothing; one alone is compared with nothing.
    pick(page, "second", "resnet34")
    expect(page.locator("#totals .beside")).to_have_text([re.compile(r"\(×1\.00\)$")] * 4)
    expect(page.locator("#layers .differs, #layers .alone")).to_have_count(0)
    pick(page, "second", "nothing")
    expect(page.locator("#totals .beside")).to_have_count(0)
    show_rows(page, "Stages")
    expect(page.locator("#layers tbody tr")).to_have_count(6)
    follows(page, facts_of("resnet34"))


def test_what_is_trained(visit: Visit) -> None:
    page = architecture(visit())
    pick(page, "variant", "resnet50")
    facts = facts_of("resnet50")
    alone = costs(facts)[3]
    blocks = [part.name for part in boxes_of(facts)]
    faded = page.locator("#drawing svg:visible .part.frozen")
    assert faded.count() == 0
    methods: tuple[tuple[Method, str, list[str]], ...] = (
        ("last-stage", "last stage and head", blocks[: blocks.index("layer4.0")]),
        ("head", "a new head alone", blocks[: blocks.index("fc")]),
    )
    needed = [alone]
    for method, words, frozen in methods:
        pick(page, "method", words)
        learns = LEARNS[method]
        values = costs(facts, learns=learns)
        totals(page, figures(values))
        needed.append(values[3])
        learning = sum(one.parameters for one in facts if one.path.split(".")[0] in learns)
        assert (
            f"{learning:,} of them learn ({100 * learning / 25_557_032:.1f} %), {25_557_032 - learning:,} are frozen."
            in page.inner_text("#totals")
        )
        expect(faded).to_have_count(len(frozen))
        assert [one.get_attribute("data-part") for one in faded.all()] == frozen
        for name, opacity in (("layer1.0", 0.28), ("fc", 1)):
            assert float(box(page, name).evaluate("one => getComputedStyle(one).fillOpacity")) == opacity
        stages = ["conv1", "conv2_x", "conv3_x", "conv4_x", *(["conv5_x"] if method == "head" else [])]
        expect(page.locator("#layers tr.frozen td:first-child")).to_have_text(stages)
        rows = {row[0]: row[-1] for row in page.evaluate(ROWS)}
        assert [name for name, cell in rows.items() if cell == "frozen"] == stages and rows["head"] == "2,049,000"
        assert rows["conv5_x"] == ("14,964,736" if method == "last-stage" else "frozen")
        table = list(csv.DictReader(io.StringIO(taken(page, "This table as CSV"))))
        assert sum(int(row["trained_parameters"]) for row in table) == learning
    assert needed[0] > needed[1] > needed[2]
    # It says so where one points, and inside.
    box(page, "layer1.1").hover()
    expect(page.locator(".readout")).to_have_text(re.compile("^layer1.1: .*, frozen"), use_inner_text=True)
    box(page, "fc").hover()
    expect(page.locator(".readout")).to_have_text(re.compile("^fc: .*multiply-accumulates$"), use_inner_text=True)
    box(page, "layer1.1").click()
    expect(page.locator("#inside")).to_contain_text("Frozen: its weights, and its BatchNorms' statistics")
    pick(page, "method", "all layers")
    totals(page, figures(costs(facts)))
    expect(faded).to_have_count(0)
    assert "25,557,032 of them learn (100.0 %), 0 are frozen." in page.inner_text("#totals")
    expect(page.locator("#inside")).not_to_contain_text("Frozen")
    expect(page.locator("#layers tr.frozen")).to_have_count(0)
    pick(page, "method", "not shown")
    expect(page.locator("#layers th")).to_have_count(7)
    follows(page, facts)


def test_pointing_at_a_box_moves_nothing(visit: Visit) -> None:
    name = "resnext101_64x4d"  # its numbers are long
    found = {part.name: part for part in boxes_of(facts_of(name))}
    shortcuts = {"identity": ", solid shortcut", "projection": ", dashed shortcut", None: ""}
    for locale, widths in (("en-US", (1280, 768, 390)), ("zh-CN", (390,))):
        page = architecture(visit(locale=locale, width=widths[0]))
        pick(page, "variant", name)
        pick(page, "method", TEXTS[locale[:2]]["method.head"])
        expect(page.locator("#layers tr.frozen").nth(4)).to_be_visible()
        expect(page.locator("#filters img")).to_be_visible()
        readout = page.locator(".readout")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            page.mouse.move(0, 0)
            before = page.evaluate(SETTLED.format(BELOW))
            for part in (found[one] for one in ("conv1", "layer1.0", "layer3.22", "layer4.0", "fc")):
                box(page, part.name).hover()
                if locale == "en-US":
                    expect(readout).to_have_text(
                        f"{part.name}: {shape(part.input_shape)} → {shape(part.output_shape)}, "
                        f"{part.parameters:,} parameters, {part.macs / 1e6:,.1f} M multiply-accumulates"
                        f"{shortcuts[part.shortcut]}{', frozen' if part.name != 'fc' else ''}",
                        use_inner_text=True,
                    )
                else:
                    expect(readout).to_contain_text(f"{part.name}：{shape(part.input_shape)}", use_inner_text=True)
                assert page.evaluate(BELOW) == pytest.approx(before, abs=1), (width, part.name)


def test_boxes_are_reached_and_chosen_by_keyboard(visit: Visit) -> None:
    page = architecture(visit())
    focused = "document.activeElement.dataset?.part ?? ''"
    page.focus("#v1 input")
    for name in ("conv1", "maxpool", "layer1.0"):
        page.keyboard.press("Tab")
        assert page.evaluate(focused) == name
    expect(page.locator(".readout")).to_have_text(re.compile("^layer1.0: 56 x 56 x 64"), use_inner_text=True)
    scrolled = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    expect(page.locator("#inside h3")).to_have_text("layer1.0 · conv2_x")
    expect(page.locator("#drawing svg:visible .part.chosen")).to_have_attribute("data-part", "layer1.0")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#inside h3")).to_have_text("layer1.1 · conv2_x")
    assert page.evaluate(focused) == "layer1.1" and page.evaluate("scrollY") == scrolled
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#inside h3")).to_have_text("conv1")
    assert "224 x 224 x 3 → 112 x 112 x 64: 9,408 parameters and 118.0 M" in page.inner_text("#inside")

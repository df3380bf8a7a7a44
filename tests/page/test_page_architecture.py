"""The Architecture tab: whatever is chosen there, the drawing, the figures and the table say what the facts say."""

from __future__ import annotations

import base64
import csv
import io
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from resnet.config import VARIANTS
from resnet.explain import activation_maps
from resnet.preprocess import open_image
from resnet.summary import Depth, LayerFacts, Part, Shape, layers, parts
from tests import pictures
from tests.page.conftest import Site, choose_model
from tests.page.test_page_looks import LOOKS, fits
from train.methods import LEARNS, Method
from ui.texts import TEXTS
from weights.load import load

pytestmark = pytest.mark.page
Visit = Callable[..., Page]

#: Rows of the table that are not hidden, as they are read.
ROWS = """() => [...document.querySelectorAll('#layers tbody tr')].filter((row) => !row.hidden).map(
  (row) => [...row.cells].map((cell) => cell.innerText.trim()))"""
#: Of each drawing that is shown: what its boxes say, their shortcuts, and the words around them.
DRAWN = """() => [...document.querySelectorAll('#drawing svg')].filter((one) => one.getClientRects().length).map(
  (svg) => [
    [...svg.querySelectorAll('.part')].map(({dataset: its, children}) => [its.part, its.shapes, its.parameters,
      [...children].map((one) => one.getAttribute('class')).filter(Boolean).join()]),
    [...svg.querySelectorAll('text')].map((one) => one.textContent).join(' '),
  ])"""
#: The parts of the page that must outlast what is refused.
KEPT = "() => ['totals', 'drawing', 'inside', 'layers'].map((id) => document.getElementById(id).innerHTML)"
#: Where the parts below the drawing stand on the page.
BELOW = """() => ['inside', 'layers', 'calculator', 'maps'].flatMap((id) => {
  const box = document.getElementById(id).getBoundingClientRect();
  return [box.left + scrollX, box.top + scrollY, box.width, box.height];
})"""
#: Words of drawings that are too small to read, or not wholly inside of their drawing, or on one another.
UNREADABLE = """() => {
  const wrong = [];
  for (const svg of document.querySelectorAll('#drawing svg, #inside svg, #calculator svg')) {
    if (!svg.getClientRects().length) continue;
    const scale = svg.getScreenCTM().a, area = svg.getBoundingClientRect(), boxes = [];
    for (const one of svg.querySelectorAll('text')) {
      const size = scale * parseFloat(getComputedStyle(one).fontSize), box = one.getBoundingClientRect();
      if (size < 9) wrong.push(`${one.textContent} in ${size} px`);
      if (box.left < area.left - 1 || box.right > area.right + 1) wrong.push(`${one.textContent} is cut`);
      for (const other of boxes) {
        const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (across > 1 && down > 4) wrong.push(`${one.textContent} is on other words`);
      }
      boxes.push(box);
    }
  }
  return wrong;
}"""
#: The least contrast, by the formula of WCAG 2, of each kind of words with what is behind them.
CONTRAST = """selectors => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    const shape = one.previousElementSibling;
    if (one.tagName === 'text' && shape?.tagName === 'rect' && shape.closest('.inside'))
      return rgb(getComputedStyle(shape).fill);
    for (; one; one = one.parentElement) {
      const color = rgb(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const selector of selectors) {
    const shown = [...document.querySelectorAll(selector)].filter((one) => one.getClientRects().length);
    found[selector] = shown.length && Math.min(...shown.map((one) => {
      const style = getComputedStyle(one), color = rgb(one.tagName === 'text' ? style.fill : style.color);
      const pair = [light(color), light(behind(one))];
      return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    }));
  }
  return found;
}"""


# -- what the page must say --------------------------------------------------------------------------------------------


def facts_of(name: str, side: int = 224, v1: bool = False) -> list[LayerFacts]:
    return layers(replace(VARIANTS[name], stride_in_1x1=v1), side)


def shape(values: Shape) -> str:
    return " x ".join(str(one) for one in (*values[2:], values[1]))


def size_of(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def costs(facts: Sequence[LayerFacts], batch: int = 16, learns: Sequence[str] | None = None) -> list[int]:
    """Parameters, MACs of an image, bytes of activations of the batch, bytes that training takes with Adam in fp32.

    A ReLU overwrites its input. What is frozen has no gradient and no moments, and in front of the first layer that
    learns no output has to be kept.
    """
    held = [one for one in facts if one.kind != "relu"]
    learning = [one for one in held if learns is None or one.path.split(".")[0] in learns]
    kept = held[held.index(learning[0]) :]
    parameters = sum(one.parameters for one in facts)
    return [
        parameters,
        sum(one.macs for one in facts),
        batch * sum(one.activation_bytes for one in held),
        4 * parameters
        + 12 * sum(one.parameters for one in learning)
        + batch * sum(one.activation_bytes for one in kept),
    ]


def figures(values: Sequence[int]) -> list[str]:
    return [f"{values[0] / 1e6:.1f} M", f"{values[1] / 1e9:.2f} G", size_of(values[2]), size_of(values[3])]


def rows_of(facts: list[LayerFacts], depth: Depth = "stage") -> list[list[str]]:
    shortcuts = {"identity": "identity (solid)", "projection": "projection (dashed)", None: ""}
    return [
        [
            part.name, shape(part.output_shape), *([shortcuts[part.shortcut]] if depth != "stage" else []),
            *(
                f"{value:,}" if value else "–"
                for value in (part.layers, part.parameters, part.macs, part.activation_bytes, part.receptive_field)
            ),
        ]
        for part in parts(facts, depth)
    ]  # fmt: skip


def boxes_of(facts: list[LayerFacts]) -> list[Part]:
    """Blocks, and what does work outside of them."""
    return [
        part for part in parts(facts, "block") if part.shortcut or part.name in ("conv1", "maxpool", "avgpool", "fc")
    ]


def drawn_of(facts: list[LayerFacts]) -> list[list[str]]:
    return [
        [
            part.name, f"{shape(part.input_shape)} → {shape(part.output_shape)}", f"{part.parameters:,}",
            f"arc {part.shortcut}" if part.shortcut else "",
        ]
        for part in boxes_of(facts)
    ]  # fmt: skip


# -- what a visitor does -----------------------------------------------------------------------------------------------


def architecture(page: Page) -> Page:
    page.get_by_role("tab", name=re.compile("Architecture|网络结构")).click()
    expect(page.locator("#totals .figures")).to_be_visible()
    return page


def pick(page: Page, field: str, choice: str) -> None:
    """Type it; Enter takes the first of the list that contains it."""
    page.locator(f"#{field} input").fill(choice)
    page.keyboard.press("Enter")
    expect(page.locator(f"#{field} input")).to_have_value(choice)


def show_rows(page: Page, words: str) -> None:
    page.locator("#depth label", has_text=words).click()


def number(page: Page, field: str) -> Locator:
    return page.locator(f"#{field} input[type=number]")


def slide(page: Page, field: str, *keys: str) -> None:
    slider = page.locator(f"#{field} input[type=range]")
    slider.focus()
    for key in keys:
        slider.press(key)


def box(page: Page, name: str, index: int = 0) -> Locator:
    """The box of that name in one of the drawings that are shown."""
    return page.locator("#drawing svg:visible").nth(index).locator(f".part[data-part='{name}'] rect")


def until(page: Page, script: str, expected: object) -> None:
    """Wait until the page says that: its parts change one after the other."""
    deadline = time.monotonic() + 5
    while (found := page.evaluate(script)) != expected and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert found == expected


def totals(page: Page, expected: Sequence[str]) -> None:
    expect(page.locator("#totals .figures > div > b")).to_have_text(list(expected))


def follows(page: Page, facts: list[LayerFacts], batch: int = 16) -> None:
    """Figures, bars, drawing and table are those of that network."""
    values = costs(facts, batch)
    totals(page, figures(values))
    until(page, ROWS, rows_of(facts))  # it comes last
    text = page.inner_text("#totals")
    assert f"({values[0]:,})" in text and f"({values[1]:,})" in text and f"at {batch} images" in text
    stages = {part.name: part for part in parts(facts, "stage")}
    assert re.findall(r"conv5_x (\d+) %", text) == [
        f"{100 * getattr(stages['conv5_x'], cost) / sum(getattr(part, cost) for part in stages.values()):.0f}"
        for cost in ("parameters", "macs", "activation_bytes")
    ]
    ((boxes, words),) = page.evaluate(DRAWN)
    assert boxes == drawn_of(facts)
    assert all(shape(part.output_shape) in words for name, part in stages.items() if name != "head")


def taken(page: Page, words: str) -> str:
    """What a link below the table gives."""
    with page.expect_download() as download:
        page.get_by_role("link", name=words).click()
    return Path(download.value.path()).read_text()


# -- tests -------------------------------------------------------------------------------------------------------------


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
            before: list[float] = []
            while (now := page.evaluate(BELOW)) != before:  # until all has its new place
                before = now
                page.wait_for_timeout(100)
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


def test_the_table_in_three_depths_sorted_searched_and_taken_away(visit: Visit) -> None:
    page = architecture(visit())
    facts = facts_of("resnet34")
    for depth, words in (("block", "Blocks"), ("layer", "Every layer"), ("stage", "Stages"), ("layer", "Every layer")):
        show_rows(page, words)
        expected = rows_of(facts, depth)  # type: ignore[arg-type]
        until(page, ROWS, expected)
        links = {
            one.get_attribute("download"): one.get_attribute("href") or "" for one in page.locator(".links a").all()
        }
        decoded = {name: base64.b64decode(uri.split(";base64,")[1]).decode() for name, uri in links.items()}
        assert set(decoded) == {f"resnet34-{depth}.csv", f"resnet34-{depth}.md"}
        found = parts(facts, depth)  # type: ignore[arg-type]
        assert [
            (row["name"], row["output_shape"], *(int(row[key]) for key in ("parameters", "macs", "activation_bytes")))
            for row in csv.DictReader(io.StringIO(decoded[f"resnet34-{depth}.csv"]))
        ] == [
            (one.name, "x".join(map(str, one.output_shape)), one.parameters, one.macs, one.activation_bytes)
            for one in found
        ]
        lines = decoded[f"resnet34-{depth}.md"].splitlines()
        assert [line.strip("| ").split(" | ")[:3] for line in lines[2:]] == [
            [one.name, shape(one.output_shape), f"{one.parameters:,}"] for one in found
        ]

    def sorted_by(values: Sequence[int], down: bool) -> bool:
        return list(values) == sorted(values, reverse=down)

    def column(index: int) -> list[int]:
        return [int(row[index].replace(",", "").replace("–", "0")) for row in page.evaluate(ROWS)]

    heading = page.locator("#layers th", has_text="Parameters")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert sorted_by(column(4), False) and len(set(column(4))) > 10  # 9,408 stands before 36,864
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert sorted_by(column(4), True) and column(4)[0] == 512 * 512 * 9
    search = page.get_by_placeholder("Search the table").locator("visible=true")
    search.fill("Layer4 CONV")

    def searched(side: int) -> None:
        """Those with both words, the most parameters first, whatever replaced the table meanwhile."""
        rows = page.evaluate(ROWS)
        wanted = {tuple(row) for row in rows_of(facts_of("resnet34", side), "layer") if "layer4" in row[0]}
        assert {tuple(row) for row in rows} == {row for row in wanted if "conv" in row[0]} and len(rows) == 6
        assert sorted_by(column(4), True)
        assert page.locator("#layers th[aria-sort=descending]").inner_text() == "Parameters"
        assert search.input_value() == "Layer4 CONV"

    searched(224)
    slide(page, "size", "ArrowRight", "ArrowRight")
    expect(page.locator("#layers td", has_text="8 x 8 x 512").locator("visible=true")).to_have_count(6)
    searched(226)
    everything = csv.DictReader(io.StringIO(taken(page, "This table as CSV")))
    assert len(list(everything)) == len(facts), "a file holds the whole table"
    show_rows(page, "Blocks")
    expect(page.get_by_text("Nothing in this table matches.")).to_be_visible()
    search.fill("")
    expect(page.get_by_text("Nothing in this table matches.")).to_be_hidden()
    assert sorted_by(column(4), True) and len(column(4)) == len(parts(facts, "block"))
    page.locator("#layers th", has_text="Part").first.get_by_role("button").click()
    names = [row[0] for row in page.evaluate(ROWS)]
    assert names.index("layer1.0") < names.index("layer2.0") < names.index("layer3.5") < names.index("layer4.2")
    # Where the new table is of the same form as the old one, too.
    show_rows(page, "Stages")
    expect(page.locator("#layers tbody tr")).to_have_count(6)
    heading = page.locator("#layers th", has_text="MACs")
    heading.get_by_role("button").click()
    for side in (226, 227, 256):
        number(page, "size").fill(str(side))
        rows = rows_of(facts_of("resnet34", side))
        until(page, ROWS, sorted(rows, key=lambda row: int(row[4].replace(",", ""))))
    expect(heading).to_have_attribute("aria-sort", "ascending")


def test_the_calculator(visit: Visit) -> None:
    page = architecture(visit())
    shown, notice = page.locator("#calculator"), page.locator("#channels-notice")

    def counted(channels: int, basic: int, bottleneck: int) -> None:
        expect(shown).to_contain_text(
            f"At {channels} channels, two 3x3 convolutions have {basic / bottleneck:.1f} times"
        )
        texts = page.locator("#calculator .formula").all_inner_texts()
        assert [text.split(" = ")[1] for text in texts] == [f"{basic:,}", f"{bottleneck:,}"]
        drawings = [set(one.locator("text").all_text_contents()) for one in page.locator("#calculator svg").all()]
        assert f"3x3, {channels}" in drawings[0] and f"56 x 56 x {channels}" in drawings[0]
        assert {f"1x1, {channels // 4}", f"3x3, {channels // 4}", f"1x1, {channels}"} <= drawings[1]

    counted(256, 1_179_648, 69_632)
    slide(page, "channels", "ArrowRight")
    counted(260, 2 * 9 * 260 * 260, 260 * 65 + 9 * 65 * 65 + 65 * 260)
    number(page, "channels").fill("64")
    counted(64, 73_728, 4_352)
    before = shown.inner_html()
    for bad in ("66", "9999", "-4", "", "64.5"):
        number(page, "channels").fill(bad)
        expect(notice).to_contain_text(
            f"The channels are {bad or '…'}; they must be a whole number from 8 to 2048 that 4"
        )
        assert f"通道数为 {bad or '…'}；它必须是 8 到 2048 之间能被 4 整除的整数" in (notice.text_content() or "")
        assert shown.inner_html() == before
    slide(page, "channels", "End")
    counted(2048, 2 * 9 * 2048 * 2048, 2 * 2048 * 512 + 9 * 512 * 512)
    expect(notice).to_be_hidden()


def test_a_photo_inside(visit: Visit, hub: Any, tmp_path: Path) -> None:
    photo, broken = tmp_path / "clouds.jpg", tmp_path / "text.jpg"
    photo.write_bytes(pictures.jpeg(3, (320, 240)))
    broken.write_bytes(b"This is not an image.")
    page = architecture(visit())
    captions, maps = page.locator("#maps figcaption"), page.locator("#maps .map button")

    def upload(path: Path) -> None:
        page.set_input_files("#inside-photo input[type=file]", path)

    def expected(model: str, stage: str) -> tuple[list[str], tuple[int, int]]:
        """What the maps are called, and where the first is strongest."""
        classifier = load(model).classifier("cpu")
        batch = classifier.preprocess.normalize([classifier.preprocess.pixels(open_image(photo))])
        found = activation_maps(classifier.network, batch, stage)
        place = divmod(int(found[0].values.argmax()), found[0].values.shape[1])
        return [f"channel {one.channel}, up to {one.maximum:.2f}" for one in found], place

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = page.evaluate(
            """() => {
              const {row, column, rows, columns} = document.querySelector('#maps .inside-photo').dataset;
              const side = (name) => Number(document.querySelector('#maps rect.field').getAttribute(name));
              return {place: [Number(row), Number(column)], of: [Number(rows), Number(columns)],
                      field: ['x', 'y', 'width', 'height'].map(side)};
            }"""
        )
        return found

    def placed(stage: str, row: int, column: int) -> None:
        """The rectangle is what a position of the stage can see of the crop, and the words say the same."""
        (last,) = [one for one in facts_of("resnet18") if one.path == f"{stage}.1.conv2"]
        (x1, x2), (y1, y2) = (
            (max(0, start), min(224, start + last.receptive_field))
            for start in (last.receptive_field_start + last.effective_stride * index for index in (column, row))
        )
        positions = last.output_shape[-1]
        assert seen() == {"place": [row, column], "of": [positions] * 2, "field": [x1, y1, x2 - x1, y2 - y1]}
        words = page.inner_text("#maps .seen p")
        assert f"Row {row + 1}, column {column + 1} of {positions} x {positions} can see" in words
        assert f"rows {y1} to {y2} and columns {x1} to {x2}" in words

    def choose_stage(name: str, positions: int) -> None:
        page.locator("#stage label", has_text=name).click()
        expect(page.locator(f"#maps .inside-photo[data-rows='{positions}']")).to_be_visible()

    # The filters need no photo; each weight is a pixel, stretched to its filter's range.
    expect(page.locator("#filters")).to_contain_text("The 64 filters of conv1 in flowers, 7 x 7 pixels each")
    source = page.locator("#filters img").get_attribute("src") or ""
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB"))
    weights = load("flowers").classifier("cpu").network.conv1.weight.detach()
    tenth = 127.5 + 127.5 * weights[9] / weights[9].abs().max()
    assert drawn.shape == (63, 63, 3)
    assert np.abs(drawn[8:15, 8:15] - tenth.permute(1, 2, 0).numpy()).max() < 1

    expect(page.locator("#maps .empty")).to_be_visible()
    upload(photo)
    names, place = expected("flowers", "layer4")
    expect(captions).to_have_text(names, use_inner_text=True)
    assert len(names) == 16 and page.locator("#maps img").first.evaluate("one => one.naturalWidth") == 7
    placed("layer4", *place)

    choose_stage("conv2_x", 56)
    names, place = expected("flowers", "layer1")
    assert captions.all_inner_texts() == names
    placed("layer1", *place)
    area = maps.nth(2).bounding_box()
    assert area

    def point(row: int, column: int) -> None:
        at = {"x": (column + 0.5) * area["width"] / 56, "y": (row + 0.5) * area["height"] / 56}
        maps.nth(2).click(position=at)  # type: ignore[arg-type]
        placed("layer1", row, column)

    point(10, 20)
    assert seen()["field"] == [4 * 20 - 21, 4 * 10 - 21, 43, 43]
    for key, row, column in (
        ("ArrowRight", 10, 21), ("ArrowDown", 11, 21), ("ArrowLeft", 11, 20), ("ArrowUp", 10, 20),
    ):  # fmt: skip
        before = seen()["field"]
        page.keyboard.press(key)
        placed("layer1", row, column)
        assert sum(abs(one - other) for one, other in zip(seen()["field"], before, strict=True)) == 4
    point(4, 55)
    for key in [*["ArrowUp"] * 5, "ArrowRight"]:  # there is nothing beyond the edges
        page.keyboard.press(key)
    placed("layer1", 0, 55)
    assert maps.nth(2).evaluate("one => one === document.activeElement")
    marks = page.locator("#maps .map i")
    assert marks.count() == 16 and all(one.is_visible() for one in marks.all())
    choose_stage("conv3_x", 28)
    placed("layer2", *expected("flowers", "layer2")[1])
    choose_stage("conv4_x", 14)
    maps.first.focus()
    page.keyboard.press("Home")  # no arrow: nothing moves
    place = expected("flowers", "layer3")[1]
    placed("layer3", *place)

    # Another model in Classify: other maps, other filters, no other photo.
    page.get_by_role("tab", name="Classify").click()
    choose_model(page, "tester/pets")
    page.wait_for_selector("#facts .facts:has-text('weights from tester/pets,')")
    architecture(page)
    expect(captions).to_have_text(expected(str(hub.root / "tester/pets"), "layer3")[0], use_inner_text=True)
    expect(page.locator("#filters")).to_contain_text("The 64 filters of conv1 in tester/pets")
    assert page.locator("#filters img").get_attribute("src") != source

    # What can't be read is a sentence, and all else works on.
    before, filters = page.evaluate(KEPT), page.locator("#filters").inner_html()
    page.click("#inside-photo button[aria-label='Remove Image']")
    expect(page.locator("#maps .empty")).to_be_visible()
    upload(broken)
    refusal = page.locator("#maps .refusal[role=alert]")
    expect(refusal).to_contain_text("text.jpg is not an image")
    assert "text.jpg 不是这里能读取的图像" in (refusal.text_content() or "")
    assert page.evaluate(KEPT) == before and page.locator("#filters").inner_html() == filters
    pick(page, "variant", "resnet18")
    follows(page, facts_of("resnet18"))
    page.click("#inside-photo button[aria-label='Remove Image']")
    expect(page.locator("#maps .empty")).to_be_visible()
    upload(photo)
    expect(maps).to_have_count(16)


BAD = ("9999", "-5", "", "1.5")
FIELDS = {
    "size": (
        "The image side is {}; it must be a whole number of pixels, 32 to 512.",
        "图像边长为 {}；它必须是 32 到 512 之间的整数（像素）。",
    ),
    "batch": (
        "The batch is {}; it must be a whole number of images, 1 to 256.",
        "批大小为 {}；它必须是 1 到 256 之间的整数（张）。",
    ),
}


def test_a_number_out_of_range_is_named_and_changes_nothing_else(visit: Visit) -> None:
    """While it is typed; when the field is left, Gradio takes what is beyond an end for that end, and that is shown."""
    page = architecture(visit())
    notice, before = page.locator("#notice .refusal[role=alert]"), page.evaluate(KEPT)
    for field, good, ends, inside in (("size", "224", (32, 512), "300.5"), ("batch", "16", (1, 256), "1.5")):
        english, chinese = FIELDS[field]
        for bad in BAD:
            number(page, field).fill(bad)
            expect(notice).to_have_text(english.format(bad or "…"), use_inner_text=True)
            assert chinese.format(bad or "…") in (notice.text_content() or "")
            assert page.evaluate(KEPT) == before
        number(page, field).fill(good)
        expect(notice).to_be_hidden()
        assert page.evaluate(KEPT) == before
        for bad, end in (("9999", ends[1]), ("-5", ends[0]), ("", ends[0])):
            number(page, field).fill(bad)
            expect(notice).to_be_visible()
            number(page, field).press("Tab")
            expect(number(page, field)).to_have_value(str(end))
            expect(notice).to_be_hidden()
            side, batch = (end, 16) if field == "size" else (224, end)
            totals(page, figures(costs(facts_of("resnet34", side), batch)))
        number(page, field).fill(good)
        totals(page, figures(costs(facts_of("resnet34"))))
        # Between the ends it stays as it was typed, and so does the sentence, until it is mended.
        number(page, field).fill(inside)
        number(page, field).press("Tab")
        expect(number(page, field)).to_have_value(inside)
        expect(notice).to_have_text(english.format(inside), use_inner_text=True)
        until(page, KEPT, before)
        number(page, field).fill(good)
        expect(notice).to_be_hidden()


def test_a_list_takes_nothing_but_its_own(visit: Visit) -> None:
    page = architecture(visit())
    before = page.evaluate(KEPT)
    for typed in ("vgg16", "", "<b>"):
        page.locator("#variant input").fill(typed)
        page.keyboard.press("Tab")
        expect(page.locator("#variant input")).to_have_value("resnet34")
    assert page.evaluate(KEPT) == before and page.locator("#notice .refusal").count() == 0


# -- past the page -----------------------------------------------------------------------------------------------------

GOOD: list[Any] = ["resnet34", "", "", None, 224, False, 16, "stage", None]
KEEP = {"props": {"__type__": "update"}, "__type__": "update"}


def function(site: Site, output: str, outputs: int) -> str:
    """The name of the function that fills that component, by how many it fills."""
    number = site.component(output)
    (found,) = {
        str(one["api_name"])
        for one in site.config["dependencies"]
        if number in one["outputs"] and len(one["outputs"]) == outputs
    }
    return found


def refused(outputs: list[Any] | None, *words: str) -> None:
    """The first output says that, in both languages; the others stay what they are."""
    assert outputs
    said, *others = outputs
    assert 'role="alert"' in said and 'class="lang-en"' in said and 'class="lang-zh"' in said
    assert all(word in said for word in words), said
    assert "<b>" not in said and len(said) < 600 and "wrong here that should not have" not in said
    assert others == [KEEP] * len(others)


NUMBERS: tuple[Any, ...] = (
    "x",
    "224",
    "<b>" * 50,
    None,
    -5,
    0,
    1.5,
    True,
    [],
    {},
    [224],
    float("nan"),
    float("inf"),
    1e300,
    10**400,
)
SIDE, BATCH = ("image side", "32 to 512", "图像边长", "32 到 512"), ("batch", "1 to 256", "批大小", "1 到 256")
CHANNELS = ("channels", "8 to 2048", "4 divides", "通道数", "8 到 2048")


def test_what_the_page_would_never_send(site: Site) -> None:
    session = site.visit()
    show, calculate = function(site, "totals", 5), function(site, "calculator", 2)
    before, _ = site.call(show, GOOD, session)
    assert before and before[0] == "" and "21,797,672" in before[1]

    def with_one(index: int, value: Any) -> list[Any]:
        return [value if place == index else good for place, good in enumerate(GOOD)]

    for value in NUMBERS:
        refused(site.call(show, with_one(4, value), session)[0], *SIDE)
        refused(site.call(show, with_one(6, value), session)[0], *BATCH)
        refused(site.call(calculate, [value], session)[0], *CHANNELS)
    for value in (513, 31, 10**9):
        refused(site.call(show, with_one(4, value), session)[0], *SIDE, str(value))
    refused(site.call(calculate, [258], session)[0], *CHANNELS)
    for value in ("vgg16", "<b>" * 50, "", "/etc/passwd", "a" * 100_000, None, 5, [], ["resnet34"], {}):
        refused(site.call(show, with_one(0, value), session)[0], "no variant", "choose one of the list", "没有名为")
    for value in ("vgg16", "<b>", 5, ["resnet34"]):
        refused(site.call(show, with_one(1, value), session)[0], "no variant", "choose one of the list", "没有名为")
    for value in ("lora", "<b>" * 50, 5, ["head"]):
        refused(
            site.call(show, with_one(2, value), session)[0], "no way to train", "choose one of the list", "训练方式"
        )
    nothing_loaded = "anothervisit"
    refused(site.call(show, with_one(0, "loaded"), nothing_loaded)[0], "No model is ready in Classify", "还没有准备好")
    assert site.call(show, GOOD, session)[0] == before


def test_stages_and_boxes_that_there_are_not(site: Site) -> None:
    session = site.visit()
    look, open_block = function(site, "maps", 1), function(site, "inside", 3)
    photo = {"path": site.upload(pictures.jpeg(3, (320, 240))), "meta": {"_type": "gradio.FileData"}}
    for stage in ("layer9", "conv1", "<b>" * 50, "", None, 5, ["layer1"]):
        refused(
            site.call(look, [photo, None, stage], session)[0], "There is no stage", "choose one of the list", "没有名为"
        )
    outputs, _ = site.call(look, [photo, None, "layer2"], session)
    assert outputs and outputs[0].count("<figure") == 16
    drawing = site.component("drawing")
    absent: list[tuple[Any, Any]] = [("layer9.9", 7), ("<script>", "x"), (None, {}), (["layer1.0"], None)]
    for part, network in absent:
        event: Any = {"part": part, "network": network}
        outputs, _ = site.call(open_block, GOOD[:6], session, event_data=event, trigger=drawing)
        assert outputs and outputs[0] == "" and "layer2.0 · conv3_x" in outputs[1] and "<script" not in outputs[1]
    for event in ({}, [], None, "x"):
        outputs, text = site.call(open_block, GOOD[:6], session, event_data=event, trigger=drawing)
        assert "Traceback" not in text
        assert outputs is None or (outputs[1] == KEEP and 'role="alert"' in outputs[0])


# -- looks -------------------------------------------------------------------------------------------------------------


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

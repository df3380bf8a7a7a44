"""What the Architecture tab must say of a network, and what a visitor does there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from resnet.config import VARIANTS
from resnet.summary import Depth, LayerFacts, Part, Shape, layers, parts
from tests import waiting

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
    found: list[object] = []

    def says() -> bool:
        found[:] = [page.evaluate(script)]
        return bool(found == [expected])

    waiting.until(says, lambda: f"{found[0]} instead of {expected}")


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

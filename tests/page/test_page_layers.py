"""The table of layers and the calculator below the drawing."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, expect

from resnet.summary import parts
from tests.page.architecture import ROWS, architecture, facts_of, number, rows_of, shape, show_rows, slide, taken, until

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


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

"""What the Architecture tab refuses, from the page and past it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import pictures
from tests.page.architecture import KEPT, architecture, costs, facts_of, figures, number, totals, until
from tests.page.conftest import Site

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


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
    look, open_block = function(site, "maps", 1), function(site, "inside", 2)
    photo = {"path": site.upload(pictures.jpeg(3, (320, 240))), "meta": {"_type": "gradio.FileData"}}
    for stage in ("layer9", "conv1", "<b>" * 50, "", None, 5, ["layer1"]):
        refused(
            site.call(look, [photo, None, stage], session)[0], "There is no stage", "choose one of the list", "没有名为"
        )
    outputs, _ = site.call(look, [photo, None, "layer2"], session)
    assert outputs and outputs[0].count("<figure") == 16
    drawing = site.component("drawing")
    for part in ("layer9.9", "<script>"):
        event: Any = {"part": part, "network": 0}
        outputs, _ = site.call(open_block, [*GOOD[:6], None], session, event_data=event, trigger=drawing)
        assert outputs and outputs[0] == "" and "layer2.0 · conv3_x" in outputs[1] and "<script" not in outputs[1]
    odd: list[tuple[Any, Any]] = [("layer1.0", 7), ("layer1.0", "x"), (None, {}), (["layer1.0"], None)]
    for part, network in odd:
        event = {"part": part, "network": network}
        outputs, _ = site.call(open_block, [*GOOD[:6], None], session, event_data=event, trigger=drawing)
        assert outputs and "can&#x27;t be made out" in outputs[0] and outputs[1] == KEEP
    for event in ({}, [], None, "x"):
        outputs, text = site.call(open_block, [*GOOD[:6], None], session, event_data=event, trigger=drawing)
        assert "Traceback" not in text
        assert outputs is None or (outputs[1] == KEEP and 'role="alert"' in outputs[0])

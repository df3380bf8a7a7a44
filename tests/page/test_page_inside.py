"""A photo's way through the stages, on the Architecture tab."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from resnet.explain import activation_maps
from resnet.preprocess import open_image
from tests import pictures
from tests.page.architecture import KEPT, architecture, facts_of, follows, pick
from tests.page.conftest import choose_model
from weights.load import load

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


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

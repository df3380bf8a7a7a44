"""One photo on the page: its names, where they were seen, and how sure the network is."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from resnet.explain import grad_cam
from resnet.preprocess import open_image
from tests.page.conftest import Named, bars, choose_photo
from ui.drawing import data_uri, overlay
from weights.load import load

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")).astype(int)


def images(page: Page) -> tuple[str, str]:
    """Sources of the two pictures: what the network saw, and where it saw the class."""
    page.wait_for_selector("#pictures img >> nth=1")
    first, second = page.locator("#pictures img").all()
    return first.get_attribute("src") or "", second.get_attribute("src") or ""


def test_a_photo_gets_the_names_that_the_terminal_gives(visit: Visit, named: list[Named]) -> None:
    page = visit()
    for one in [one for one in named if one.verdict == "clear"][::12]:
        previous = page.locator("#answer").inner_html()
        choose_photo(page, one.path)
        page.wait_for_function("old => document.querySelector('#answer').innerHTML !== old", arg=previous)
        assert bars(page) == one.bars
        best = one.predictions[0]
        assert page.inner_text("#answer .answer") == f"{best['label']} {100 * best['probability']:.1f} %"
        assert page.locator("#answer .doubt").count() == 0
        page.click("#photo button[aria-label='Remove Image']")
        page.wait_for_selector("#answer .empty")
        assert page.inner_text("#pictures") == ""


def test_it_says_how_long_on_what_and_from_where(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    took = re.search(r"(\d+) ms on the CPU \(\d+ cores\)\.", page.inner_text("#answer .hint"))
    assert took and 1 <= int(took[1]) < 60_000
    facts = page.inner_text("#facts")
    for fact in ("resnet18", "11.2 M parameters", "5 classes", "224 x 224", "licence mit", "shipped with this page"):
        assert fact in facts


def test_the_pictures_are_the_crop_and_grad_cam_of_the_chosen_bar(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    saw, heat = images(page)
    classifier = load("flowers").classifier("cpu")
    crop = classifier.preprocess.pixels(open_image(rose.path))
    assert saw == data_uri(Image.fromarray(crop))  # the very pixels
    batch = classifier.preprocess.normalize([crop])

    def expected(label: str) -> np.ndarray:
        index = classifier.label_names.index(label)
        return np.asarray(overlay(crop, grad_cam(classifier.network, batch, index)[0])).astype(int)

    assert np.abs(decode(heat) - expected("roses")).mean() < 3
    second = rose.predictions[1]["label"]
    page.locator("#answer .bars button").nth(1).click()
    page.wait_for_selector(f"#pictures img[alt='Grad-CAM: {second}']")
    _, other = images(page)
    assert np.abs(decode(other) - expected(second)).mean() < 3
    assert np.abs(expected("roses") - expected(second)).mean() > 6  # else the lines above would say nothing
    assert images(page)[0] == saw
    pressed = [bar.get_attribute("aria-pressed") for bar in page.locator("#answer .bars button").all()]
    assert pressed == ["false", "true", "false", "false", "false"]
    assert second in page.inner_text("#pictures figcaption >> nth=1")


def test_bars_chosen_quicker_than_pictures_are_made(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    images(page)
    page.evaluate(
        """() => {
          window.shown = [];
          new MutationObserver(() => {
            const alt = document.querySelectorAll('#pictures img')[1]?.alt;
            if (alt && alt !== shown.at(-1)) shown.push(alt);
          }).observe(document.querySelector('#pictures'), {childList: true, subtree: true, attributes: true});
          document.querySelectorAll('#answer .bars button').forEach(
            (one, turn) => setTimeout(() => one.click(), 80 * turn));
        }"""
    )
    names = [one["label"] for one in rose.predictions]
    expect(page.locator("#answer .bars button[aria-pressed=true]")).to_contain_text(names[-1])
    page.wait_for_selector(f"#pictures img[alt='Grad-CAM: {names[-1]}']")
    page.locator("#answer .bars button").first.click()  # answered after all of them
    page.wait_for_selector(f"#pictures img[alt='Grad-CAM: {names[0]}']")
    *shown, first = page.evaluate("shown")
    assert first == f"Grad-CAM: {names[0]}" and shown[-1] == f"Grad-CAM: {names[-1]}"
    places = [names.index(one.removeprefix("Grad-CAM: ")) for one in shown]
    assert places == sorted(places), "no earlier choice arrives after a later one"


def test_bars_are_reached_and_chosen_by_keyboard(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    page.focus("#photo button[aria-label='Upload file']")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#answer .bars li:nth-child(3) button')"):
            break
    else:
        pytest.fail("Tab never comes to the third bar")
    page.keyboard.press("Enter")
    third = rose.predictions[2]["label"]
    page.wait_for_selector(f"#pictures img[alt='Grad-CAM: {third}']")
    expect(page.locator("#answer .bars button[aria-pressed=true]")).to_contain_text(third)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.wait_for_selector(f"#pictures img[alt='Grad-CAM: {rose.predictions[1]['label']}']")


def test_the_slider_sets_how_many_names(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    slider, number = page.locator("#top-k input[type=range]"), page.locator("#top-k input[type=number]")
    assert slider.get_attribute("max") == "5"  # never more than there are classes
    slider.focus()
    slider.press("ArrowLeft")
    expect(page.locator("#answer .bars button")).to_have_count(4)
    number.fill("2")
    number.press("Tab")
    expect(page.locator("#answer .bars button")).to_have_count(2)
    assert bars(page) == rose.bars[:2]
    slider.focus()
    slider.press("End")
    expect(page.locator("#answer .bars button")).to_have_count(5)
    slider.press("Home")
    expect(page.locator("#answer .bars button")).to_have_count(1)


def test_more_names_than_classes_are_not_to_be_had(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    number = page.locator("#top-k input[type=number]")
    number.fill("3")
    expect(page.locator("#answer .bars button")).to_have_count(3)
    number.fill("9")
    number.press("Tab")
    expect(number).to_have_value("5")
    expect(page.locator("#answer .bars button")).to_have_count(5)


def test_drop(visit: Visit, rose: Named) -> None:
    page = visit()
    data = base64.b64encode(rose.path.read_bytes()).decode()
    dropped = page.evaluate_handle(
        """data => {
          const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0)), transfer = new DataTransfer();
          transfer.items.add(new File([bytes], 'rose.jpg', {type: 'image/jpeg'}));
          return transfer;
        }""",
        data,
    )
    page.dispatch_event("#photo button[aria-label^='Drop']", "drop", {"dataTransfer": dropped})
    assert bars(page) == rose.bars


def test_paste(visit: Visit, rose: Named, tmp_path: Path) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    picture = tmp_path / "rose.png"
    open_image(rose.path).save(picture)  # clipboards hold PNG
    page.evaluate(
        """async (data) => {
          const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
          await navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]);
        }""",
        base64.b64encode(picture.read_bytes()).decode(),
    )
    page.click("#photo button[aria-label='Paste from clipboard']")
    assert bars(page) == rose.bars


def test_examples_and_doubt(visit: Visit) -> None:
    page = visit()
    examples = page.locator("button.gallery-item")
    expect(examples).to_have_count(4)
    doubts = 0
    for example in examples.all():
        # The crop comes with the answer; the answer's own HTML changes before, while it is waited for.
        previous = page.evaluate("document.querySelector('#pictures img')?.src ?? ''")
        example.click()
        page.wait_for_function("old => (document.querySelector('#pictures img')?.src ?? old) !== old", arg=previous)
        bars(page)
        doubts += page.locator("#answer .doubt").count()
    assert doubts  # none of them is a flower


@pytest.mark.parametrize(
    ("verdict", "english", "chinese"),
    [
        ("none", "This may be none of the 5 classes", "不是这 5 类中的任何一类"),
        ("close", "The two first names are close: it may also be {second}", "前两个类别很接近：也可能是 {second}"),
    ],
)
def test_doubt_is_said_in_words(visit: Visit, named: list[Named], verdict: str, english: str, chinese: str) -> None:
    one = next(one for one in named if one.verdict == verdict)
    for locale, words in (("en-US", english), ("zh-CN", chinese)):
        page = visit(locale=locale)
        choose_photo(page, one.path)
        assert bars(page) == one.bars
        expect(page.locator("#answer .doubt")).to_be_visible()
        assert words.format(second=one.predictions[1]["label"]) in page.inner_text("#answer .doubt")


def test_noise_is_none_of_the_classes(visit: Visit, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    page = visit()
    choose_photo(page, tmp_path / "noise.png")
    bars(page)
    assert "This may be none of the 5 classes" in page.inner_text("#answer .doubt")


def test_an_uploaded_photo_keeps_its_rotation(visit: Visit, rose: Named, tmp_path: Path) -> None:
    """A phone writes how it was held beside the pixels; browser and network must both stand it up."""
    turned = open_image(rose.path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn it clockwise"
    turned.save(tmp_path / "phone.png", exif=exif)
    page = visit()
    choose_photo(page, tmp_path / "phone.png")
    assert bars(page) == rose.bars

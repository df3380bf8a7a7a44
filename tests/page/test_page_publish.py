"""Below a finished run: its model goes to the Hub on loopback and comes back in Classify, and no token stays behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import TOKEN, Site, bars, choose_model, choose_photo
from tests.page.test_page_finetune import open_tab, settings
from train.drawn import draw
from weights.hub import Hub
from weights.load import load

pytestmark = pytest.mark.page

TYPED = "hf_typed_on_the_page_0123456789"


def train(page: Page) -> None:
    """A new head on the drawn shapes."""
    open_tab(page)
    expect(page.locator("#publish")).to_have_count(0)
    page.locator("#draw-dataset").click()
    expect(page.locator("#dataset .classes li")).to_have_count(4)
    settings(page, "A new head alone")
    page.locator("#start-run").click()
    expect(page.locator("#run-report .report")).to_be_visible()


def open_part(page: Page) -> None:
    page.locator("#publish button").first.click()
    expect(page.locator("#publish-name input, #publish-name textarea")).to_be_visible()


def push(page: Page, name: str, public: bool = False, token: str = "") -> None:
    page.locator("#publish-name input, #publish-name textarea").fill(name)
    page.locator("#publish-access input").nth(int(public)).check()
    if token:
        page.locator("#publish-token input").fill(token)
    page.locator("#publish-start").click()


def test_from_a_run_to_the_hub_and_back(visit: Callable[..., Page], hub: Any, site: Site, tmp_path: Path) -> None:
    """On a page of this machine, on which the owner of TOKEN is signed in."""
    page = visit()
    train(page)
    open_part(page)
    expect(page.locator("#publish-name input, #publish-name textarea")).to_have_value("drawn-shapes-resnet")
    expect(page.locator("#publish-note")).to_contain_text("signed in on this machine")
    expect(page.locator("#publish-access input").first).to_be_checked()

    for name, token, words in (
        ("no name", "", "not the name of a repository"),
        ("tester/pets", "", "There is a model tester/pets"),
        ("somebody/shapes", "", "may not write to somebody"),
        ("tester/shapes", TYPED, "does not accept this token"),
    ):
        push(page, name, token=token)
        expect(page.locator("#published [role=alert]")).to_contain_text(words)
        expect(page.locator("#publish-token input")).to_have_value("")
    hub.fault("lost", "tester/shapes", times=1)
    push(page, "tester/shapes")
    expect(page.locator("#published [role=alert]")).to_contain_text("nothing of it was published")
    assert hub.files("models", "tester/shapes") is None
    expect(page.locator("#run-report .report")).to_be_visible()

    push(page, "shapes", public=True, token=TOKEN)
    done = page.locator("#published .done")
    expect(done).to_contain_text("Published, for everybody: tester/shapes")
    expect(done.locator("a").first).to_have_attribute("href", f"{hub.url}/tester/shapes")
    assert done.locator("pre").all_inner_texts() == [
        'timm.create_model("hf-hub:tester/shapes", pretrained=True)',
        "python -m resnet classify PHOTO --model tester/shapes",
    ]
    files = hub.files("models", "tester/shapes")
    assert {"config.json", "model.safetensors", "predict.py", "README.md", "metrics.json"} <= set(files)
    card = files["README.md"].read_text()
    assert "hf-hub:tester/shapes" in card and "DIR" not in card and "license: mit" in card
    for line in ("library_name: timm", "pipeline_tag: image-classification", "model-index:", "type: accuracy"):
        assert line in card
    assert "tester/shapes" not in hub.private

    # The token that was typed is nowhere: not in the page, not in the browser, not in what the server wrote.
    kept = page.content() + page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    for token in (TYPED, TOKEN):
        assert token not in kept
        for path in site.folder.rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes(), path

    # Its name in Classify gives what the run's own model gives.
    draw(tmp_path / "shapes", per_class=1)
    photo = next((tmp_path / "shapes" / "star").glob("*.png"))
    page.get_by_role("tab").nth(0).click()
    page.locator("#model input").click()
    page.get_by_role("option", name="1: drawn-shapes").click()
    expect(page.locator("#facts")).to_contain_text("4 classes")
    choose_photo(page, photo)
    own = bars(page)
    choose_model(page, "tester/shapes")
    expect(page.locator("#facts")).to_contain_text("tester/shapes")
    expect(page.locator("#answer .bars li")).to_have_count(4)
    assert bars(page) == own
    found = load("tester/shapes", hub=Hub(hub.url, tmp_path / "cache", token=False))
    rows = found.classifier("cpu").predict([photo], top_k=4)
    assert own == [f"{one.label}\n{100 * one.probability:.1f} %" for one in rows[0].predictions]

    # Another visitor has nothing to publish, and whoever calls past the page neither.
    other = visit()
    other.get_by_role("tab").nth(1).click()
    expect(other.locator("#dataset-zip")).to_be_visible()
    expect(other.locator("#publish")).to_have_count(0)
    before = len(hub.log)
    _, text = site.call("send", [None, None, "tester/stolen", "public", ""], "stranger123")
    assert "no finished run" in text and TOKEN not in text
    assert len(hub.log) == before

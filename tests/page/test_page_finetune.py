"""The Fine-tune tab, from a zip to a model in Classify, as a visitor goes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Site, open_list
from train.drawn import draw
from weights.checkpoint import read_folder

#: Names of one word that stand on more than one line in the tables of a report.
BROKEN = """() => [...document.querySelectorAll("#run-report :is(.heat th span, .listing td:first-child)")].filter(
  (one) => {
    if (!/^\\w{3,12}$/.test(one.textContent)) return false;
    const range = document.createRange();
    range.selectNodeContents(one);
    return range.getClientRects().length > 1;
  }).map((one) => one.textContent)"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn shapes, a copy in another class, a file that is no image and a class with a hostile name."""
    folder = tmp_path_factory.mktemp("shapes")
    draw(folder, per_class=10)
    path = folder.parent / "shapes.zip"
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.png")):
            name = str(image.relative_to(folder)).replace("star", "<b>star<img src=x onerror=alert(1)>")
            file.write(image, f"wrapped/{name}")
        file.write(folder / "circle/000.png", "wrapped/square/copy.png")
        file.writestr("wrapped/circle/broken.jpg", b"\xff\xd8\xff broken")
        file.writestr("__MACOSX/wrapped/._x", b"x")
    return path


def open_tab(page: Page) -> None:
    page.wait_for_selector("#facts .facts b")
    page.get_by_role("tab").nth(1).click()
    expect(page.locator("#dataset-zip")).to_be_visible()


def settings(page: Page, method: str, minutes: int = 1, base: str = "imagenet/base") -> None:
    """Of a run; its base is a small network, unless another is named."""
    open_list(page, "base")
    page.locator("#base input").fill(base)
    page.locator("#base input").press("Enter")
    expect(page.get_by_role("option")).to_have_count(0)
    expect(page.locator("#base input")).to_have_value(base)
    open_list(page, "transfer")
    page.get_by_role("option", name=method).click()
    expect(page.get_by_role("option")).to_have_count(0)  # a list that closes may lie over what comes next
    field = page.locator("#minutes input[type=number]")
    field.fill(str(minutes))
    field.blur()


def test_from_a_zip_to_a_model_of_ones_own(visit: Callable[..., Any], archive: Path, tmp_path: Path) -> None:
    page: Page = visit()
    open_tab(page)
    page.locator("#dataset-zip input[type=file]").set_input_files(archive)
    report = page.locator("#dataset .dataset")
    expect(report).to_contain_text("41 images in 4 classes")
    for words in ("are the same", "broken.jpg", "macOS", "<b>star<img"):
        expect(report).to_contain_text(words)
    settings(page, "A new head alone")
    page.locator("#start-run").click()
    expect(page.locator("#run")).to_contain_text("Run 1: shapes (41 images), a new head alone")
    expect(page.locator("#run-report .report")).to_be_visible()
    expect(page.locator("#run-report")).to_contain_text("95 % interval")
    expect(page.locator("#runs tbody tr")).to_have_count(1)

    # A cell of the heat map opens the images in it.
    cell = page.locator("#run-report button[data-cell]:not([disabled])").first
    cell.click()
    count = int(cell.inner_text().replace(",", ""))
    expect(page.locator("#run-report .cell-images:visible img")).to_have_count(count)
    wide = page.viewport_size
    assert wide is not None
    for width in (390, wide["width"]):
        page.set_viewport_size({"width": width, "height": wide["height"]})
        assert page.locator("#run-report .heat th span", has_text="circle").count() == 2
        assert page.evaluate(BROKEN) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    with page.expect_download() as download:
        page.locator("#model-zip").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as file:
        assert {"config.json", "model.safetensors", "class_indices.json", "README.md", "metrics.json"} <= set(
            file.namelist()
        )
        file.extractall(tmp_path / "model")
    assert len(read_folder(tmp_path / "model").label_names) == 4

    page.get_by_role("tab").nth(0).click()
    page.locator("#model input").click()
    page.get_by_role("option", name="1: shapes").click()
    expect(page.locator("#facts")).to_contain_text("4 classes")
    with zipfile.ZipFile(archive) as file:
        photo = file.read("wrapped/circle/003.png")
    page.locator("#photo input[type=file]").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": photo})
    expect(page.locator("#answer .bars li")).to_have_count(4)
    assert not page.locator("#answer img[src=x]").count()


def test_a_reload_finds_everything_again_and_another_browser_nothing(visit: Callable[..., Any]) -> None:
    page: Page = visit()
    open_tab(page)
    page.locator("#draw-dataset").click()
    expect(page.locator("#dataset")).to_contain_text("These are no photos")
    settings(page, "All layers", minutes=1)
    page.locator("#start-run").click()
    expect(page.locator("#run .run")).to_be_visible()
    page.reload()
    open_tab(page)
    expect(page.locator("#dataset .classes li")).to_have_count(4)
    expect(page.locator("#run .run")).to_contain_text("drawn-shapes")
    other: Page = visit()
    open_tab(other)
    expect(other.locator("#dataset")).to_contain_text("Bring a zip")
    assert not other.locator("#run .run").count()
    # Stopped, it keeps what it has.
    expect(page.locator("#run")).to_contain_text("First model")
    page.locator("#stop-run").click()
    expect(page.locator("#run-report .report")).to_be_visible()
    expect(page.locator("#run")).to_contain_text("Stopped after")
    page.locator("#remove-data").click()
    expect(page.locator("#dataset")).to_contain_text("Bring a zip")
    assert not page.locator("#run-report .report").count()


def test_a_run_that_ends_leaves_what_is_typed_in_classify(visit: Callable[..., Any], site: Site) -> None:
    model = site.component("model")
    writers = [one for one in site.config["dependencies"] if model in one["outputs"]]
    kinds = {str(event) for one in writers for _, event in one["targets"]}
    assert kinds == {"change"}, "neither a clock nor a load of the page writes where somebody may be typing"

    page: Page = visit()
    open_tab(page)
    page.locator("#draw-dataset").click()
    expect(page.locator("#dataset .classes li")).to_have_count(4)
    settings(page, "A new head alone")
    page.locator("#start-run").click()
    expect(page.locator("#run .run")).to_be_visible()
    page.get_by_role("tab").nth(0).click()
    field = page.locator("#model input")
    field.click()
    field.fill("drawn")
    expect(page.get_by_role("option", name="1: drawn-shapes")).to_be_visible()
    expect(field).to_have_value("drawn")
    # Found again after a reload, where nobody has opened the tab; gone when the data are.
    page.reload()
    page.wait_for_selector("#facts .facts b")
    field.click()
    page.get_by_role("option", name="1: drawn-shapes").click()
    expect(page.locator("#facts")).to_contain_text("4 classes")
    open_tab(page)
    page.locator("#remove-data").click()
    expect(page.locator("#dataset")).to_contain_text("Bring a zip")
    page.get_by_role("tab").nth(0).click()
    expect(page.locator("#facts")).to_contain_text("5 classes")
    field.click()
    expect(page.get_by_role("option").first).to_be_visible()
    expect(page.get_by_role("option", name="1: drawn-shapes")).to_have_count(0)


def test_what_is_left_out_can_be_had_back(visit: Callable[..., Any], archive: Path) -> None:
    page: Page = visit()
    open_tab(page)
    page.locator("#dataset-zip input[type=file]").set_input_files(archive)
    expect(page.locator("#dataset")).to_contain_text("41 images")
    leave = page.locator('#dataset button[data-edit="leave"]')
    if leave.count():
        leave.first.click()
        expect(page.locator("#dataset")).to_contain_text("40 images")
        page.locator('#dataset button[data-edit="undo"]').click()
        expect(page.locator("#dataset")).to_contain_text("41 images")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"a/1.png": b"", "a/2.png": b""}, "can be read"),
        ({"../../etc/x.png": b"x"}, "leads out of it"),
        ({"readme.txt": b"x"}, "no images"),
    ],
)
def test_what_is_wrong_with_a_zip_is_said_and_nothing_is_lost(
    visit: Callable[..., Any], entries: dict[str, bytes], words: str, archive: Path, tmp_path: Path
) -> None:
    page: Page = visit()
    open_tab(page)
    page.locator("#dataset-zip input[type=file]").set_input_files(archive)
    expect(page.locator("#dataset")).to_contain_text("41 images")
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    page.locator("#dataset-zip").get_by_role("button").first.click()
    page.locator("#dataset-zip input[type=file]").set_input_files(bad)
    expect(page.locator("#data-notice [role=alert]")).to_be_visible(timeout=15_000)
    expect(page.locator("#data-notice")).to_contain_text(words)
    expect(page.locator("#dataset")).to_contain_text("41 images")

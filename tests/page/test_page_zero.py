"""The Fine-tune tab of a Space on ZeroGPU, whose quota runs out in the middle of a run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from tests.page.conftest import Site, serving
from tests.page.test_page_finetune import open_tab, settings
from tests.zero.conftest import space_environment
from tests.zero.device_api import DeviceApi, visitor_token
from train.drawn import draw
from train.ingest import ingest
from train.recipe import choose
from ui.jobs import Stop
from ui.models import Models
from ui.training import Result, work
from weights.checkpoint import Checkpoint, write_folder

pytestmark = pytest.mark.page
#: Two epochs of three steps each.
RECIPE = {"epochs": 2, "batch_size": 8, "image_size": 64}


@pytest.fixture(scope="module")
def api() -> Iterator[DeviceApi]:
    served = DeviceApi()
    yield served
    served.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of four blocks, so that little is computed and saved."""
    torch.manual_seed(7)
    config = ResNetConfig("basic", (1, 1, 1, 1), num_classes=2)
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    write_folder(Checkpoint(config, ResNet(config).state_dict(), Preprocess(size=64), ("cat", "dog")), folder)
    return str(folder)


@pytest.fixture(scope="module")
def site(api: DeviceApi, model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("space")
    environment = space_environment(api, folder) | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    with serving(["-m", "tests.zero.space", "page", "--model", model], environment, folder / "log.txt") as served:
        yield served


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    draw(folder, per_class=7)
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.png")):
            file.write(image, image.relative_to(folder))
    return path


def undivided(model: str, archive: Path, folder: Path) -> Path:
    """The same run where there is no need to borrow: the folder of its model."""
    dataset = ingest(archive, folder / "data")
    models = Models(trusted=(model,), device="cpu")
    does = work(dataset, model, lambda photos: choose("scratch", photos, **RECIPE), 0.2, folder, models, "shapes")
    (*_, result) = does(Stop())
    assert isinstance(result, Result)
    return result.folder


def losses(folder: Path) -> list[list[str]]:
    """Of each epoch, as the model's card has them: number, train loss, val loss, accuracy, learning rate."""
    rows = [line.strip("|").split(" | ") for line in (folder / "README.md").read_text().splitlines() if "e-0" in line]
    return [row[:-1] for row in rows if row[0].strip().isdecimal()]


def test_go_on(
    visit: Callable[..., Any], site: Site, api: DeviceApi, model: str, archive: Path, tmp_path: Path
) -> None:
    assert api.reports == 1, "a Space says that it has started"
    token = visitor_token("clara")
    page: Page = visit(extra_http_headers={"x-ip-token": token})
    open_tab(page)
    page.locator("#dataset-zip input[type=file]").set_input_files(archive)
    expect(page.locator("#dataset .dataset")).to_contain_text("28 images in 4 classes")
    settings(page, "From scratch", base=model)
    page.get_by_role("button", name="More settings").click()
    for name, value in zip(("Epochs", "Batch size", "Image side"), RECIPE.values(), strict=True):
        field = page.get_by_role("spinbutton", name=name)
        field.fill(str(value))
        field.blur()
    api.grants = 4
    page.locator("#start-run").click()
    run, go_on = page.locator("#run"), page.locator("#go-on")
    expect(run).to_contain_text("Your GPU quota is used up; go on in 1:00:00")
    expect(run).to_contain_text("The best so far is kept")
    expect(run).to_contain_text("Loans of a GPU so far: 4")
    expect(page.locator("#runs tbody")).to_contain_text("interrupted")
    expect(page.locator("#run-report .report")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#model-zip").click()
    first = unpacked(Path(download.value.path()), tmp_path / "first")

    api.grants = 10**6
    page.reload()  # it is still there, and can still be gone on with
    open_tab(page)
    expect(go_on).to_be_visible()
    go_on.click()
    expect(run).to_contain_text("Done after")
    expect(run).to_contain_text("Loans of a GPU so far: 6")
    expect(go_on).to_be_hidden()
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    with page.expect_download() as download:
        page.locator("#model-zip").click()
    second = unpacked(Path(download.value.path()), tmp_path / "second")
    expected = undivided(model, archive, tmp_path)
    assert (second / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert losses(second) == losses(expected) and losses(first) == losses(expected)[:1] and len(losses(second)) == 2
    assert {loan.token for loan in api.loans} == {token} and all(loan.ended == "released" for loan in api.granted)
    said = site.log.read_text() if site.log else ""
    assert "Traceback" not in said, said[-3000:]


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder

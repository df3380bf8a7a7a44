"""What visitors have, where the page is killed and started again."""

from __future__ import annotations

import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Site, free_port, started
from tests.page.test_page_finetune import open_tab, settings
from tests.waiting import until
from train.drawn import draw
from train.edits import Edit
from train.events import Epoch, Resumed
from train.ingest import ingest
from train.writing import write_zip
from ui.jobs import Jobs, Kept
from ui.kept_runs import RECORDS
from ui.models import Models
from ui.run_part import begin_run
from ui.visits import Visits, hashed
from weights.hub import Hub

pytestmark = pytest.mark.page


def test_what_is_lost_with_a_process_is_said_once(visit: Callable[..., Any], hub: Any, tmp_path: Path) -> None:
    port = free_port()
    with started(hub, tmp_path, port=port) as served:
        page: Page = visit(url=served.url)
        open_tab(page)
        expect(page.locator("#data-notice")).not_to_contain_text("lost")
        page.locator("#draw-dataset").click()
        expect(page.locator("#dataset .classes li")).to_have_count(4)
        page.goto("about:blank")
        os.kill(served.pid, signal.SIGKILL)
    with started(hub, tmp_path, port=port) as served:
        page.goto(served.url)
        open_tab(page)
        lost = page.locator("#data-notice [role=status]")
        expect(lost).to_contain_text("What you had here is lost")
        expect(lost.locator("[lang=zh-CN]")).to_contain_text("已丢失")
        expect(page.locator("#dataset")).to_contain_text("Bring a zip")
        page.reload()
        open_tab(page)
        expect(page.locator("#dataset")).to_contain_text("Bring a zip")
        expect(page.locator("#data-notice")).not_to_contain_text("lost")
        page.locator("#draw-dataset").click()
        expect(page.locator("#dataset .classes li")).to_have_count(4)
        page.locator("#remove-data").click()
        expect(page.locator("#data-notice")).to_contain_text("are removed")
        for _ in range(2):
            page.reload()
            open_tab(page)
            expect(page.locator("#dataset")).to_contain_text("Bring a zip")
            expect(page.locator("#data-notice")).not_to_contain_text("lost")
        page.goto("about:blank")


def test_a_browser_finds_what_is_kept(visit: Callable[..., Any], hub: Any, tmp_path: Path) -> None:
    port, data = free_port(), ("--data", str(tmp_path / "data"))
    with started(hub, tmp_path, *data, port=port) as served:
        page: Page = visit(url=served.url)
        open_tab(page)
        page.locator("#draw-dataset").click()
        expect(page.locator("#dataset .classes li")).to_have_count(4)
        settings(page, "A new head alone")
        page.locator("#start-run").click()
        expect(page.locator("#run-report .report")).to_be_visible()
        page.goto("about:blank")
        until(lambda: runs(tmp_path / "data")[0][1].state == "done")
        os.kill(served.pid, signal.SIGKILL)
    with started(hub, tmp_path, *data, port=port) as served:
        page.goto(served.url)
        open_tab(page)
        expect(page.locator("#dataset .classes li")).to_have_count(4)
        expect(page.locator("#run-report .report")).to_be_visible()
        expect(page.locator("#data-notice")).not_to_contain_text("lost")
        with page.expect_download() as download:
            page.locator("#model-zip").click()
        assert zipfile.is_zipfile(download.value.path())
        page.get_by_role("tab").nth(0).click()
        page.locator("#model input").click()
        page.get_by_role("option", name="1: drawn-shapes").click()
        expect(page.locator("#facts")).to_contain_text("4 classes")
        open_tab(page)
        page.locator("#remove-data").click()
        expect(page.locator("#data-notice")).to_contain_text("are removed")
        assert not list((tmp_path / "data/visits").iterdir())
        page.goto("about:blank")


def begun(site: Site, key: str, *wishes: Any) -> None:
    """A run of the visitor with this key: base, method, minutes, epochs, batch size, rate, side, share, seed."""
    outputs, text = site.call("begin", [key, *wishes], "a-visitor")
    assert outputs and outputs[0] == "", text


def asked(site: Site, job: str) -> dict[str, Any]:
    """What the API says of a job; its model's zip is in `archive`."""
    outputs, text = site.call("job", [job, False, False], "a-program")
    assert outputs, text
    return outputs[0] | {"archive": outputs[1]}


def runs(data: Path) -> list[tuple[Path, Kept]]:
    """The runs that are kept there, with their folders, in order of their numbers in the line."""
    found = [(file.parent, RECORDS.read(file, file.parents[1])) for file in data.glob("visits/*/run-*/run.json")]
    return sorted(found, key=lambda one: one[1].place)


def weights(folder: Path) -> bytes:
    return (folder / "model/model.safetensors").read_bytes()


def undisturbed(hub: Any, archive: Path, folder: Path, wishes: tuple[Any, ...]) -> bytes:
    """The weights of the same run in a process that nobody ends."""
    visits, models = Visits(Jobs()), Models(Hub(hub.url, folder / "cache", token=False))
    visit = visits.open(None)
    visits.replace(visit, ingest(archive, data := visit.new_folder("data")), data)
    visit.edits = (Edit("star/000.png"),)
    run = begin_run(visits, models, visit, *wishes)
    until(lambda: (view := visits.jobs.look(run.job)) and view.ended, every_s=0.05)
    assert run.folder
    found = weights(run.folder)
    visits.close_all()
    return found


def test_a_run_goes_on_after_its_process_was_killed_or_ended(hub: Any, tmp_path: Path) -> None:
    """To the same weights as one that nobody has disturbed; who waited waits again, in the same order."""
    data, wishes = tmp_path / "data", ("imagenet/base", "scratch", 1, 24, 8, None, 64, 0.2, 3)
    draw(tmp_path / "shapes", per_class=7)
    write_zip(ingest(tmp_path / "shapes"), archive := tmp_path / "shapes.zip")

    def epochs() -> int:
        return sum(isinstance(event, Epoch) for _, kept in runs(data)[:1] for event in kept.events)

    with started(hub, tmp_path, "--data", str(data)) as served:
        photos = {"path": served.upload(archive.read_bytes(), "shapes.zip"), "meta": {"_type": "gradio.FileData"}}
        outputs, text = served.call("upload", [photos, None], "a-visitor")
        assert outputs and "28 images" in text, text
        key = outputs[0]
        edit = {"edit": "leave", "name": "star/000.png"}
        outputs, text = served.call("edit", [key], "a-visitor", edit)
        assert outputs, text
        begun(served, key, *wishes)
        photos["path"] = served.upload(archive.read_bytes(), "shapes.zip")
        outputs, text = served.call("finetune", [photos, "imagenet/base", "head", 1, None, 8, None, 64, 0.2, 0], "it")
        assert outputs, text
        job = outputs[0]
        begun(served, key, "imagenet/base", "head", 1, None, 8, None, 64, 0.2, 0)
        until(lambda: epochs() and list(data.glob("visits/*/run-*/state/state.pt")), every_s=0.02)
        os.kill(served.pid, signal.SIGKILL)
    assert [kept.state for _, kept in runs(data)] == ["running", "waiting", "waiting"]
    order, before = [folder for folder, _ in runs(data)], epochs()
    with started(hub, tmp_path, "--data", str(data)) as served:
        until(lambda: epochs() > before, every_s=0.02)
    assert [kept.state for _, kept in runs(data)] == ["running", "waiting", "waiting"], "ended by SIGTERM"
    assert served.log and "Traceback" not in served.log.read_text(), served.log.read_text()
    assert_private(data, key, job)

    with started(hub, tmp_path, "--data", str(data)) as served:
        until(lambda: runs(data)[2][1].state == "done", lambda: runs(data), every_s=0.1)
        assert [folder for folder, _ in runs(data)] == order
        ended = [kept.ended for _, kept in runs(data)]
        assert ended == sorted(ended) and [kept.state for _, kept in runs(data)] == ["done"] * 3
        assert sum(isinstance(event, Resumed) for event in runs(data)[0][1].events) >= 1
        assert not list(data.glob("visits/*/run-*/state"))
        assert weights(order[0]) == undisturbed(hub, archive, tmp_path, wishes), "as if nothing had been"

        # Everything is there again, and opens to whoever has the secrets alone.
        outputs, text = served.call("classify", [photo(served, tmp_path), f"run:{job}", 1], "a-program")
        assert outputs and outputs[0]["label"] in ("circle", "square", "star", "triangle"), text
        now = asked(served, job)
        assert (now["state"], now["metrics"]["version"]) == ("done", 1)
        with zipfile.ZipFile(now["archive"]["path"]) as file:
            assert "model.safetensors" in file.namelist()
        outputs, text = served.call("restore", [key], "a-visitor")
        assert outputs and "star/000.png" in str(outputs) and "lost" not in text
        outputs, text = served.call("tick", [key, ""], "a-visitor")
        assert outputs and outputs[4]["visible"] and "95 % interval" in outputs[5], text
        assert served.get(f"/gradio_api/file={outputs[4]['value']['path']}")[0] == 200
        for stranger in (hashed(key), hashed(job), *(one.name for one in data.glob("visits/*"))):
            outputs, _ = served.call("restore", [stranger], "a-stranger")
            assert outputs and "000.png" not in str(outputs)
            outputs, _ = served.call("job", [stranger, False, False], "a-stranger")
            assert not outputs
        served.call("forget", [key], "a-visitor")
        (left,) = data.glob("visits/*")
        assert len(list(left.glob("run-*"))) == 1, "the program's"
        assert served.log and "Traceback" not in served.log.read_text(), served.log.read_text()


def photo(site: Site, folder: Path) -> dict[str, Any]:
    data = (folder / "shapes/star/000.png").read_bytes()
    return {"path": site.upload(data, "star.png"), "meta": {"_type": "gradio.FileData"}}


def assert_private(data: Path, *secrets: str) -> None:
    """Nobody else can read what is there, and it holds no secret."""
    for path in data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        text = path.read_bytes() if path.is_file() else b""
        for secret in secrets:
            assert secret.encode() not in text and secret not in str(path)

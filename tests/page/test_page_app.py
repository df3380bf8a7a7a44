"""`python app.py`: its options, and what it says where it can't start."""

from __future__ import annotations

import base64
import inspect
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

import app
from tests.page.conftest import ROOT, Named, Site, app_environment, bars, choose_photo, free_port, started, wait_for
from tests.waiting import PATIENCE_S
from ui.page import build
from ui.records import kept_folder

pytestmark = pytest.mark.page


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        app.main(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for option in ("--host", "--port", "--share", "--model", "--max-minutes", "--max-disk", "--data"):
        assert option in text


@pytest.mark.parametrize("minutes", ["0", "-5", "1.5", "many", "", "10001", "١"])
def test_a_limit_that_is_none_is_a_sentence(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        app.main([f"--max-minutes={minutes}"])
    assert left.value.code == 2
    assert "is no whole number of minutes from 1 to 10,000" in capsys.readouterr().err


def test_a_folder_that_can_t_keep_anything_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert app.main(["--data", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1 and "name a folder that can be written" in said
    with pytest.raises(SystemExit), kept_folder(tmp_path):
        raise SystemExit(app.main(["--data", str(tmp_path)]))
    assert "Another page keeps its visitors' data in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        app.main(["--data="])
    assert "no folder is named" in capsys.readouterr().err


def test_the_limit_of_a_run_is_the_page_s_and_the_api_s() -> None:
    page = build(max_minutes=3)
    config = page.get_config_file()
    (slider,) = [one for one in config["components"] if one["props"].get("elem_id") == "minutes"]
    assert (slider["props"]["maximum"], slider["props"]["value"]) == (3, 3)
    (finetune,) = [one for one in page.fns.values() if one.api_name == "finetune"]
    assert inspect.signature(finetune.fn).parameters["minutes"].default == 3


@pytest.mark.parametrize("name", ["nonsense", "/nowhere/at/all", "../nowhere/", ""])
def test_an_unknown_model_is_a_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--model", name, "--port", str(free_port())]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1 and "Traceback" not in said
    assert "model" in said or "config.json" in said


def test_a_port_in_use_is_a_sentence(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    port = site.url.rsplit(":", 1)[1]
    assert app.main(["--port", port]) == 2
    said = capsys.readouterr().err
    assert f"The page can't listen on 127.0.0.1:{port}" in said and "try another --port" in said


def test_it_listens_on_this_machine_alone(site: Site) -> None:
    """Read from the kernel's table: 127.0.0.1 is 0100007F there, and state 0A is LISTEN."""
    port = f"{int(site.url.rsplit(':', 1)[1]):04X}"
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{site.pid}/net/{table}").read_text().splitlines()
    ]
    listening = [row[1] for row in rows[0:] if len(row) > 3 and row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


def test_a_page_that_is_ended_leaves_nothing_and_a_killed_one_not_for_long(
    hub: Any, tmp_path: Path, rose: Named
) -> None:
    """Photos that were uploaded, that came as an address, and a visit with its data; with a tab still open."""
    folders = [tmp_path / "temporary", tmp_path / "uploads"]
    folders[0].mkdir()
    data = "data:image/jpeg;base64," + base64.b64encode(rose.path.read_bytes()).decode()

    def left() -> list[str]:
        return [one.name for folder in folders for one in folder.rglob("*") if one.suffix in (".jpg", ".png", ".jpeg")]

    def use(served: Site) -> None:
        assert Path(served.upload(rose.path.read_bytes())).exists()
        outputs, text = served.call("classify", [data, "flowers", 1], "a-program")
        assert outputs, text
        outputs, text = served.call("draw_one", [None], "a-visitor")
        assert outputs, text
        assert len(left()) > 40

    with started(hub, tmp_path, TMPDIR=str(folders[0])) as served:
        use(served)
        os.kill(served.pid, signal.SIGKILL)
    assert left()
    with started(hub, tmp_path, TMPDIR=str(folders[0])) as served:
        assert len(left()) == 4, "its own examples, and nothing that the killed one left"
        use(served)
        stream = urllib.request.urlopen(f"{served.url}/gradio_api/heartbeat/a-visitor")
    assert not left(), "ended by SIGTERM"
    assert not [one for folder in folders for one in folder.glob("resnet-*")]
    stream.close()


def test_it_starts_with_a_path_and_is_quiet(visit: Callable[..., Page], hub: Any, tmp_path: Path, rose: Named) -> None:
    """The whole way from the shell, with a folder of transformers as the model."""
    port, log = free_port(), tmp_path / "log.txt"
    environment = app_environment(tmp_path, GRADIO_SERVER_PORT=str(port))
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--model", str(hub.root / "tester/pets")],
            cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        served = Site(f"http://127.0.0.1:{port}", process.pid, log)
        wait_for(served, process)
        page = visit(url=served.url)
        assert "weights from a local path" in page.inner_text("#facts")
        choose_photo(page, rose.path)
        assert len(bars(page)) == 5
        assert page.title() == "ResNet"
        page.context.close()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert "Traceback" not in log.read_text() and "Warning" not in log.read_text()

"""By which names a page is reached that listens on this machine alone."""

from __future__ import annotations

import errno
import http.client
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.disks import mounted
from tests.page.conftest import Named, Site, started
from tests.waiting import PATIENCE_S
from ui.doors import NO_ROOM, OTHER_NAME, OnlyHere, RoomOnDisk, doors, own_name

pytestmark = pytest.mark.page


def asked_for(site: Site, path: str, host: str, method: str = "GET") -> tuple[int, str]:
    parts = urlsplit(site.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, PATIENCE_S)
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_stranger_s_name_for_this_machine_opens_nothing(site: Site) -> None:
    port = urlsplit(site.url).port
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/gradio_api/upload"):
        method = "POST" if path.endswith("upload") else "GET"
        assert asked_for(site, path, f"rebound.example:{port}", method) == (403, OTHER_NAME)
    for host in (f"127.0.0.1:{port}", "localhost", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert asked_for(site, "/config", host)[0] == 200


def test_names_of_this_machine() -> None:
    for host in ("localhost", "localhost:1", "127.0.0.1:7860", "127.0.0.5", "[::1]", "[::1]:7860"):
        assert own_name(host)
    for host in ("", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1:7860", "evil.example:127", "[fe80::1]"):
        assert not own_name(host)


@pytest.mark.parametrize(
    ("host", "share", "space", "alone"),
    [
        ("127.0.0.1", False, "", True), ("localhost", False, "", True), ("::1", False, "", True),
        ("0.0.0.0", False, "", False), ("192.168.1.7", False, "", False), ("127.0.0.1", True, "", False),
        ("127.0.0.1", False, "owner/name", False), (None, False, "", False),
    ],
)  # fmt: skip
def test_only_a_page_for_this_machine_alone_asks(
    host: str | None, share: bool, space: str, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", space)
    assert any(one.cls is OnlyHere for one in doors(host, share)) == alone


def test_a_full_disk_is_a_sentence() -> None:
    async def full(_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def broken(_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    routes = [Route("/full", full), Route("/broken", broken)]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(RoomOnDisk)]), raise_server_exceptions=False)
    answer = client.get("/full")
    assert (answer.status_code, answer.text) == (507, NO_ROOM)
    assert client.get("/broken").status_code == 500


def test_a_disk_that_is_full_is_said_and_comes_back(hub: Any, tmp_path: Path, rose: Named) -> None:
    """Whoever asks meanwhile gets a sentence or an answer; what was there stays usable."""
    with mounted(tmp_path / "small", "size=24m") as disk:
        (disk / "temporary").mkdir()
        with started(hub, disk, TMPDIR=str(disk / "temporary")) as site:
            session = "a-visitor"
            outputs, text = site.call("draw_one", [None], session)
            assert outputs and "circle" in outputs[2], text
            key, photo = outputs[0], site.upload(rose.path.read_bytes())
            filler = disk / "filler"
            filler.write_bytes(bytes(shutil.disk_usage(disk).free))
            boundary = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
            body = boundary + bytes(5_000_000) + b"\r\n--x--\r\n"
            assert site.post("/gradio_api/upload", body, "multipart/form-data; boundary=x") == (507, NO_ROOM)
            assert site.get("/")[0] == 200
            outputs, text = site.call("draw_one", [None], "another")
            assert outputs and "is full" in outputs[1], text
            outputs, text = site.call("draw_one", [key], session)
            assert outputs and "is full" in outputs[1] and "circle" in outputs[2], text
            given = {"path": photo, "meta": {"_type": "gradio.FileData"}}
            outputs, text = site.call("classify", [given, "flowers", 1], "program")
            assert outputs and outputs[0]["label"] == "roses", text
            filler.unlink()
            outputs, text = site.call("draw_one", [key], session)
            assert outputs and outputs[1] == "" and "circle" in outputs[2], text

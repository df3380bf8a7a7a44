"""What is named by an address: bounded in size and time, of public networks alone, by whichever door it comes."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio import processing_utils

import ui.fetching
from resnet.errors import Refusal
from tests.waiting import PATIENCE_S
from ui.fetching import fetch
from ui.given import upload
from ui.models import Models
from ui.page import build, launch_options

MB = 1024**2
LARGE = "The file at large.example is larger than 1 MB"


class Endless(httpx.AsyncByteStream):
    """A body without an end, and how much of it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 65536
            yield bytes(65536)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Endless:
    """Servers of strangers, without a network; the limit is a megabyte."""
    body = Endless()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "moved.example":
            return httpx.Response(302, headers={"Location": "//large.example/x.zip"})
        if request.url.host == "slow.example":
            await asyncio.Event().wait()
        if request.url.path == "/announced.jpg":
            return httpx.Response(200, headers={"Content-Length": str(1200 * MB)}, stream=body)
        if request.url.path == "/small.jpg":
            return httpx.Response(200, content=b"small")
        return httpx.Response(404 if request.url.path == "/none" else 200, stream=body)

    monkeypatch.setattr(processing_utils, "async_transport", httpx.MockTransport(answer))
    monkeypatch.setattr(ui.fetching, "MAX_MB", 1)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return body


def files(folder: Path) -> list[str]:
    return [one.name for one in folder.rglob("*") if one.is_file()]


def test_it_is_fetched_no_further_than_an_upload_may_be(web: Endless, tmp_path: Path) -> None:
    for address in ("https://large.example/x.jpg", "https://moved.example/x.jpg"):
        before = web.taken
        with pytest.raises(Refusal, match=LARGE):
            upload("photo", address)
        assert web.taken - before <= 2 * MB
    before = web.taken
    with pytest.raises(Refusal, match=LARGE):
        upload("photo", "https://large.example/announced.jpg")
    assert web.taken == before, "its size was announced"
    with pytest.raises(Refusal, match="must be an uploaded file"):
        upload("photo", "https://large.example/none")
    assert not files(tmp_path / "uploads")
    path = upload("photo", "https://large.example/small.jpg")
    assert path.read_bytes() == b"small" and path.name == "small.jpg" and files(tmp_path / "uploads") == ["small.jpg"]


def test_a_data_address_is_no_larger(web: Endless, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.given.MAX_MB", 1)
    with pytest.raises(Refusal, match="larger than"):
        upload("photo", "data:image/png;base64," + "A" * 2 * MB)


def test_nobody_waits_for_ever(web: Endless, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ui.fetching, "FETCH_S", 0.01)
    with pytest.raises(Refusal, match=r"slow.example did not give the whole file within"):
        fetch("https://slow.example/x.jpg", str(tmp_path))
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/x", "http://[::1]/x", "http://10.0.0.1/x", "http://localhost/x"]
)
def test_no_private_network_is_asked(
    address: str, web: Endless, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    real = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(self: Any, request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host in ("127.0.0.1", "::1", "10.0.0.1", "localhost"):
            return await real(self, request)
        raise httpx.ConnectError("no network in tests")  # a resolver outside is asked for a second opinion

    monkeypatch.setattr(processing_utils, "async_transport", None)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    with pytest.raises(Exception, match="failed validation"):
        fetch(address, str(tmp_path))
    assert not {"127.0.0.1", "::1", "10.0.0.1", "localhost"} & set(asked)


@pytest.fixture
def page(web: Endless) -> Iterator[str]:
    built = build(models=Models(trusted=("flowers",), device="cpu"))
    _, url, _ = built.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options())
    yield url.rstrip("/")
    built.close(verbose=False)


def test_what_gradio_fetches_itself_is_bounded_too(page: str, web: Endless, tmp_path: Path) -> None:
    """A lone file that is marked as one, before any code of ours sees it."""

    def ask(path: str, body: Any) -> str:
        request = urllib.request.Request(page + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            event = json.loads(answer.read())["event_id"]
        with urllib.request.urlopen(f"{page}{path}/{event}", timeout=PATIENCE_S) as stream:
            return str(stream.read().decode())

    photo = {"path": "https://large.example/x.jpg", "meta": {"_type": "gradio.FileData"}}
    for name, body in (
        ("classify", {"photo": photo}),
        ("classify_batch", {"files": [photo]}),
        ("finetune", {"archive": photo}),
    ):
        answer = ask(f"/gradio_api/call/v2/{name}", body)
        assert "event: error" in answer and LARGE in answer, (name, answer)
    assert web.taken <= 6 * MB and not files(tmp_path / "uploads")[4:]

"""Nobody makes the others wait: each caller's share of the queue, and of the memory for sessions."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.page.conftest import Site
from tests.waiting import PATIENCE_S, until
from ui.models import Load, Models
from ui.page import SESSIONS, launch_options
from ui.shares import OF_ADDRESS, OF_SESSION

pytestmark = pytest.mark.page


def ask(site: Site, path: str, body: dict[str, Any], source: str, **headers: str) -> tuple[int, Any]:
    """Post from another address of this machine."""
    parts = urlsplit(site.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, PATIENCE_S, source_address=(source, 0))
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def held(serve: Callable[..., Site]) -> Any:
    """A page on which models load only once they are let."""
    models = Models()
    let: Future[Any] = Future()
    real = models.start

    def start(name: str) -> Load:
        return Load(let) if name == "held" else real(name)

    models.start = start  # type: ignore[method-assign]
    yield serve(models)
    let.cancel()


def test_one_floods_and_the_others_are_served(held: Site) -> None:
    """300 posts at once, of sessions of their own: most are refused in a sentence, and the next visitor is answered."""
    photo = {"path": held.upload(b"x"), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [photo, "held", 1]}
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(held, "/gradio_api/call/classify", body, "127.0.0.2"), range(300)))
    taken = [answer for status, answer in answers if status == 200]
    refused = [answer for status, answer in answers if status == 429]
    assert len(taken) == OF_ADDRESS and len(refused) == 300 - OF_ADDRESS
    sentence = f"{OF_ADDRESS} of your requests wait for an answer already; wait until they have it, then ask again."
    assert {one["detail"] for one in refused} == {sentence}
    status, answer = ask(held, "/gradio_api/call/classify", body, "127.0.0.2", **{"Accept-Language": "zh-CN,en"})
    assert status == 429 and "个请求在等待" in answer["detail"]
    outputs, text = held.call("layers", ["resnet18", 224, "stage"], uuid.uuid4().hex)
    assert outputs, text


def test_a_class_room_behind_one_address_is_served(held: Site) -> None:
    """Thirty-two sessions that wait for a model at the same time: nobody is refused, and all are let."""
    body = {"data": ["held", 5, None], "fn_index": held.function("load")["id"], "trigger_id": None}
    with ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(
                lambda number: ask(
                    held, "/gradio_api/queue/join", body | {"session_hash": f"pupil-{number}"}, "127.0.0.5"
                ),
                range(32),
            )
        )
    assert {status for status, _ in answers} == {200}


def test_a_session_has_its_own_share(held: Site) -> None:
    photo = {"path": held.upload(b"x"), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [photo, "held", 1], "fn_index": held.function("classify")["id"], "session_hash": "one"}
    statuses = [ask(held, "/gradio_api/queue/join", body, "127.0.0.3")[0] for _ in range(OF_SESSION + 2)]
    assert statuses == [200] * OF_SESSION + [429, 429]
    assert ask(held, "/gradio_api/queue/join", body | {"session_hash": "two"}, "127.0.0.3")[0] == 200


def test_places_come_back(held: Site) -> None:
    body = {"data": ["resnet18", 224, "stage"]}
    for _ in range(3):
        for _ in range(OF_ADDRESS):
            until(lambda: ask(held, "/gradio_api/call/layers", body, "127.0.0.4")[0] == 200)


def test_sessions_are_bounded() -> None:
    """0.2 MB each: with Gradio's 10,000 whoever calls often takes gigabytes."""
    assert launch_options()["state_session_capacity"] == SESSIONS <= 1_000

"""Several visitors at once: nobody waits for another's model, nobody sees another's photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route

from tests.page.conftest import ROOT, Named, Site, bars, choose_model, choose_photo

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


def test_a_model_that_loads_blocks_nobody(visit: Visit, hub: Any, rose: Named) -> None:
    hub.fault("held", "tester/slower")
    patient, other = visit(), visit()
    choose_photo(patient, rose.path)
    bars(patient)
    choose_model(patient, "tester/slower")
    patient.wait_for_selector("#facts:has-text('Loading tester/slower')")
    choose_photo(other, rose.path)
    assert bars(other) == rose.bars
    assert "Loading" in patient.inner_text("#facts")
    newcomer = visit()
    choose_photo(newcomer, rose.path)
    assert bars(newcomer) == rose.bars
    assert "Loading" in patient.inner_text("#facts")
    hub.release()
    patient.wait_for_selector("#facts:has-text('weights from tester/slower')")


def test_an_answer_that_is_asked_for_while_the_stream_closes_comes(visit: Visit, site: Site, rose: Named) -> None:
    """Gradio's client takes the end of a stream as the end of all that it asked for."""
    page = visit(url="about:blank", ready=False)

    def late(route: Route) -> None:
        ended = route.fetch()  # the server has said all that it had to say
        with page.expect_response("**/queue/join*"):
            choose_photo(page, rose.path)
        route.fulfill(response=ended)

    page.route("**/queue/data*", late, times=1)
    page.goto(site.url)
    assert bars(page) == rose.bars


def test_two_visitors_share_a_download(visit: Visit, hub: Any) -> None:
    hub.fault("held", "tester/of-two")
    pages = [visit(), visit()]
    for page in pages:
        choose_model(page, "tester/of-two")
        page.wait_for_selector("#facts:has-text('Loading tester/of-two')")
    hub.release()
    for page in pages:
        page.wait_for_selector("#facts:has-text('weights from tester/of-two')")
    fetched = [path for method, path in hub.log if method == "GET" and "/of-two/" in path and "safetensors" in path]
    assert len(fetched) == 1


def test_a_visit_says_nothing_of_another(visit: Visit, site: Site, rose: Named) -> None:
    first, second = visit(), visit()
    uploads: list[str] = []
    first.on("response", lambda one: uploads.extend(one.json()) if one.url.split("?")[0].endswith("/upload") else None)
    choose_photo(first, rose.path)
    bars(first)
    first.wait_for_selector("#pictures img")
    assert uploads and rose.path.name in uploads[0]
    second.reload()
    second.wait_for_selector("#facts .facts b")
    seen = second.content() + site.get("/config")[1] + site.get("/")[1] + site.get("/gradio_api/info")[1]
    assert rose.path.name not in seen and uploads[0] not in seen
    assert second.locator("#answer .empty").count() == 1
    # Nor does the browser keep what was shown: the next person at this computer finds nothing.
    stored = first.evaluate(
        """async () => [Object.values(localStorage), Object.values(sessionStorage), document.cookie,
          (await indexedDB.databases()).map((one) => one.name)]"""
    )
    assert rose.path.name not in str(stored) and stored[3] == []


def test_no_file_of_the_server_can_be_fetched(site: Site, rose: Named) -> None:
    """`/gradio_api/file=` gives what lies in Gradio's own folder to whoever knows the path, and nothing else.

    The path of an upload holds the hash of its content: only who has the photo, or the page that uploaded it, knows it.
    """
    path = site.upload(rose.path.read_bytes())
    folder = Path(path).parent
    assert len(folder.name) == 64
    assert site.get(f"/gradio_api/file={quote(path)}")[0] == 200
    for secret in (
        "/etc/passwd", "/etc/../etc/passwd", str(ROOT / "app.py"), "app.py", "./app.py", "weights/flowers/config.json",
        str(ROOT / ".git/config"), "/proc/self/environ", str(folder), str(folder.parent), f"{folder}/../../log.txt",
        f"{folder}/../../../../../../../etc/passwd", str(folder.parent.parent / "log.txt"),
        f"{folder.parent}/{'0' * 64}/{Path(path).name}",
    ):  # fmt: skip
        for spelled in (secret, quote(secret, safe="")):
            status, body = site.get(f"/gradio_api/file={spelled}")
            assert status in (403, 404), secret
            assert "root:" not in body and "Traceback" not in body

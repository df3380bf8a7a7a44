"""What visitors have, where the page is killed and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import free_port, started
from tests.page.test_page_finetune import open_tab

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

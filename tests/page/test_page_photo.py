"""One photo on the page: its names, where they were seen, and how sure the network is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.page.conftest import Named, bars, choose_photo

pytestmark = pytest.mark.page


def test_a_photo_gets_the_names_that_the_terminal_gives(visit: Callable[..., Page], rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    assert bars(page) == rose.bars

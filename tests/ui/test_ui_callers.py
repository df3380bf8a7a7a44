"""Who asks: told by an address that the caller can't choose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from ui.callers import address, caller
from ui.jobs import OF_ADDRESS, OF_VISITOR, Jobs
from ui.visits import Visits, owners


def request(peer: str | None, forwarded: str | None = None) -> Any:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    return SimpleNamespace(client=peer and SimpleNamespace(host=peer), headers=headers)


def test_a_caller_is_the_other_end_of_the_connection() -> None:
    assert address(request("192.168.1.7")) == "192.168.1.7"
    assert address(request("192.168.1.7", "8.8.8.8")) == "192.168.1.7", "what it writes itself is not believed"
    assert address(request(None)) == address(None) == caller() == ""


def test_on_a_space_it_is_whom_the_last_proxy_spoke_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "tester/space")
    assert address(request("10.16.1.2", "8.8.8.8")) == "8.8.8.8"
    assert address(request("10.16.1.2", "1.1.1.1, 8.8.8.8, 10.16.3.4")) == "8.8.8.8", "the first is the caller's word"
    assert address(request("10.16.1.2", "2a00:1450::1")) == "2a00:1450::1"
    for nothing in (None, "", "unknown", "10.0.0.1, 127.0.0.1"):
        assert address(request("10.16.1.2", nothing)) == ""


def test_places_are_a_visitor_s_and_an_address_s() -> None:
    """A program, which has no visit, is known by its address alone."""
    visits = Visits(Jobs())
    one, two = visits.open(None), visits.open(None)
    token = LocalContext.request.set(request("192.168.1.7"))
    try:
        of_one, of_two, of_none = owners(one), owners(two), owners(None)
    finally:
        LocalContext.request.reset(token)
    assert sorted(of_one.values()) == sorted(of_two.values()) == sorted(of_none.values()) == [OF_VISITOR, OF_ADDRESS]
    (shared,) = set(of_one) & set(of_two) & set(of_none)
    assert of_one[shared] == OF_ADDRESS and "192.168.1.7" in shared

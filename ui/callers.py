"""Who asks, where that decides how much of this machine they may have: an address, as far as it can be known."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

from gradio.context import LocalContext


def caller() -> str:
    """The address that the request comes from which is being answered now; empty outside of any."""
    return address(LocalContext.request.get(None))


def address(request: Any) -> str:
    """The address that a request comes from; empty where it can't be known.

    What a caller writes into a request can't make it another's.
    A session's name is the caller's own choice, so it would tell nobody apart who doesn't want to be. On a Space all
    requests come from proxies inside of it, the last of which says whom it spoke for: of the addresses it lists, the
    last that is no inner one.
    """
    peer = getattr(getattr(request, "client", None), "host", None) or ""
    if not os.environ.get("SPACE_ID"):
        return str(peer)
    named = str(request.headers.get("x-forwarded-for") or "") if request is not None else ""
    return next((one for one in map(str.strip, reversed(named.split(","))) if _public(one)), "")


def _public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False

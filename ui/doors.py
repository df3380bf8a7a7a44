"""What stands before the page: who may come in by which name, and what is said where the disk is full."""

from __future__ import annotations

import errno
import ipaddress
import os
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
OTHER_NAME = (
    "This page is for this machine alone, where it is called localhost or 127.0.0.1; to reach it by another name, "
    "start it with --host 0.0.0.0."
)
NO_ROOM = "The disk of the machine that runs this page is full; nothing was kept, try again when there is room."


class OnlyHere:
    """Answers only who asks for this machine by one of its own names.

    A page of a stranger in the same browser can give its own name this machine's address, and would be let in by the
    browser then (DNS rebinding); but the name it asks for is still its own.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if not all(map(own_name, hosts)) or len(hosts) > 1:
                await PlainTextResponse(OTHER_NAME, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class RoomOnDisk:
    """Says in a sentence that the disk is full, where Gradio would call it its own mistake."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun, more = False, True

        async def receiving() -> Any:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and bool(message.get("more_body"))
            return message

        async def sending(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        except OSError as error:
            if error.errno not in FULL_DISK or begun or scope["type"] != "http":
                raise
            while more:  # who is still speaking does not listen
                await receiving()
            await PlainTextResponse(NO_ROOM, 507)(scope, receive, send)


def own_name(host: str) -> bool:
    """Whether a ``Host`` header names this machine: ``localhost`` or an address of the loopback, with any port."""
    name = host.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name == "localhost" or loopback(name)


def loopback(host: str) -> bool:
    """Whether what listens there can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def doors(host: str | None, share: bool) -> list[Middleware]:
    """What `launch` puts before the page that listens there.

    Args:
        host: the address that it listens on; None where that is not known.
        share: whether it has a public name as well.
    """
    alone = host is not None and loopback(host) and not share and not os.environ.get("SPACE_ID")
    return [Middleware(RoomOnDisk), *([Middleware(OnlyHere)] if alone else [])]

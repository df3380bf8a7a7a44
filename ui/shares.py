"""Each caller's share of the queue, so that nobody makes the others wait."""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.exceptions import HTTPException

from resnet.errors import Refusal
from ui.callers import address
from ui.texts import TEXTS

#: Events that a session, and all sessions of one address, may have waiting or running: a class room has one address,
#: and a page that opens asks for some at once. In all so many run at a time; most only wait, for a model or a place.
OF_SESSION, OF_ADDRESS, AT_A_TIME = 16, 64, 200


class Shares:
    """Stands before a page's queue and refuses an event beyond its caller's share.

    Args:
        page: whose queue it is. Every way in, the page's, the API's and that of MCP, ends in its `push`.
    """

    def __init__(self, page: Any) -> None:
        self._queue = page._queue
        self._push = self._queue.push
        self._coming: Counter[tuple[str, str]] = (
            Counter()
        )  # between our look and the moment that it stands in the queue
        self._queue.push = self.push

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """As Gradio's, for who has a place left.

        Raises:
            HTTPException: 429 with a sentence, which Gradio's page shows.
        """
        who = [(kind, name) for kind, name in self._names(request, body.session_hash) if name]
        here = self._count()
        for kind, name in who:
            most = OF_SESSION if kind == "session" else OF_ADDRESS
            if here[kind, name] >= most:
                raise HTTPException(429, said(busy(here[kind, name]), request))
        self._coming.update(who)
        try:
            return await self._push(body=body, request=request, username=username)
        finally:
            self._coming.subtract(who)
            self._coming += Counter()  # drops what is zero

    def _count(self) -> Counter[tuple[str, str]]:
        """What waits, runs or is about to wait, by session and by address."""
        found = Counter(self._coming)
        waiting = (event for one in self._queue.event_queue_per_concurrency_id.values() for event in one.queue)
        running = (event for one in self._queue.active_jobs if one for event in one)
        for event in (*waiting, *running):
            found.update(self._names(event.request, event.session_hash))
        return found

    @staticmethod
    def _names(request: Any, session: str | None) -> list[tuple[str, str]]:
        return [("address", address(request)), ("session", session or "")]


def busy(count: int) -> Refusal:
    """Of an event beyond the share."""
    return Refusal(
        "call.many", "{count} of your requests wait for an answer already; wait until they have it, then ask again.",
        count=count,
    )  # fmt: skip


def said(refusal: Refusal, request: Any) -> str:
    """A refusal as plain text, in the language that the browser asks for first."""
    wanted = str(request.headers.get("accept-language") or "") if request is not None else ""
    chinese = TEXTS["zh"][f"error.{refusal.code}"]
    return chinese.format(**refusal.facts) if wanted.lower().startswith("zh") else str(refusal)

"""Places to compute in: so many visitors' photos are worked on at once, and who waits for a model holds none."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ui.models import Models

T = TypeVar("T")
END = object()


class Places:
    """Threads that work is done in, first come, first served.

    Gradio's own limit of an event counts whoever waits as well: a model that is fetched again, because others took its
    room, would keep everybody from naming photos while the Hub is silent.

    Args:
        models: whose loads are waited for.
        count: of places.
    """

    def __init__(self, models: Models, count: int) -> None:
        self._models = models
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="place")

    async def run(self, name: str | None, work: Callable[[], T]) -> T:
        """Wait for a model, then for a place, and work there; what is wrong with the model, the work says itself."""
        await self._models.settled(name)
        found: T = await self._in_place(work)
        return found

    async def steps(self, name: str | None, work: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """The same for work that has something to show on its way."""
        await self._models.settled(name)
        iterator = await self._in_place(work)
        while (step := await self._in_place(lambda: next(iterator, END))) is not END:
            yield step

    async def _in_place(self, work: Callable[[], Any]) -> Any:
        context = contextvars.copy_context()  # Gradio's progress bar finds its event there
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, work)

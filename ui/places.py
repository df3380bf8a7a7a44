"""Places to compute in: so many visitors' photos are worked on at once, and who waits for a model holds none."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from resnet.preprocess import is_large
from ui.models import Models

#: Photos that are named, and tables that are made, at the same time.
PHOTOS, TABLES = max(2, os.cpu_count() or 1), 2
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
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")

    async def run(self, name: str | None, work: Callable[[], T]) -> T:
        """Wait for a model, then for a place, and work there; what is wrong with the model, the work says itself."""
        await self._models.settled(name)
        found: T = await self._in_place(work)
        return found

    async def run_photo(self, name: str | None, path: str, work: Callable[[], T]) -> T:
        """The same for work on a photo; large ones, which are decoded one at a time, wait in a line of their own."""
        await self._models.settled(name)
        pool = self._large if await self._in_place(lambda: is_large(path)) else self._pool
        found: T = await self._in_place(work, pool)
        return found

    async def steps(self, name: str | None, work: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """The same for work that has something to show on its way."""
        await self._models.settled(name)
        iterator = await self._in_place(work)
        while (step := await self._in_place(lambda: next(iterator, END))) is not END:
            yield step

    async def _in_place(self, work: Callable[[], Any], pool: ThreadPoolExecutor | None = None) -> Any:
        context = contextvars.copy_context()  # Gradio's progress bar finds its event there
        return await asyncio.get_running_loop().run_in_executor(pool or self._pool, context.run, work)

"""Work on all cores, with results in the order of the items."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")


def map_ahead(function: Callable[[T], Result], items: Iterable[T], ahead: int) -> Iterator[Result]:
    """``map(function, items)`` on threads, at most `ahead` items early; a lone item needs none.

    `items` is read on the calling thread. Whoever closes it waits for what is under way; the rest is never begun.
    """
    iterator = iter(items)
    first = list(itertools.islice(iterator, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as pool:
        try:
            for item in itertools.chain(first, iterator):
                waiting.append(pool.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

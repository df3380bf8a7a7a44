"""Who waits for a model keeps nobody from computing."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resnet.preprocess import is_large
from tests.waiting import PATIENCE_S
from ui.models import Load, Models
from ui.places import Places


def run(visitors: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On a thread of its own: where Chromium is open, Playwright occupies the event loop of this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(visitors())).result()


def test_a_model_that_does_not_come_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    models, silent = Models(), Load()
    monkeypatch.setattr(models, "start", lambda name: silent if name == "tester/silent" else models_start(name))
    models_start = Models(trusted=("flowers",)).start

    async def visitors() -> None:
        places = Places(models, 1)
        patient = [asyncio.create_task(places.run("tester/silent", lambda: "late")) for _ in range(3)]
        for name in ("flowers", None):
            assert await asyncio.wait_for(places.run(name, lambda: "rose"), PATIENCE_S) == "rose"
        patient[0].cancel()  # who goes away takes nobody's model with them
        silent.future.set_exception(RuntimeError("nothing came"))
        assert [await asyncio.wait_for(one, PATIENCE_S) for one in patient[1:]] == ["late"] * 2

    run(visitors)


def test_a_large_photo_stands_before_no_small_one(tmp_path: Path) -> None:
    sizes = {"large.png": (4100, 3000), "small.png": (64, 48)}
    for name, size in sizes.items():
        Image.new("1", size).save(tmp_path / name)
    assert [is_large(tmp_path / name) for name in (*sizes, "missing.png")] == [True, False, False]
    decoding = threading.Event()

    async def visitors() -> None:
        places = Places(Models(), 1)
        wait = functools.partial(decoding.wait, PATIENCE_S)
        slow = [asyncio.create_task(places.run_photo(None, str(tmp_path / "large.png"), wait)) for _ in range(2)]
        small = places.run_photo(None, str(tmp_path / "small.png"), lambda: "named")
        assert await asyncio.wait_for(small, PATIENCE_S) == "named"
        assert not any(one.done() for one in slow)
        decoding.set()
        assert await asyncio.gather(*slow) == [True, True]

    run(visitors)


def test_steps_come_one_by_one_and_others_are_served_between_them() -> None:
    threads = []

    def work() -> Iterator[int]:
        for step in range(3):
            threads.append(threading.current_thread().name)
            yield step

    async def visitors() -> None:
        places, seen = Places(Models(), 1), []
        async for step in places.steps(None, work):
            seen.append((step, await asyncio.wait_for(places.run(None, lambda: "between"), PATIENCE_S)))
        assert seen == [(step, "between") for step in range(3)]

    run(visitors)
    assert all(name.startswith("place") for name in threads)

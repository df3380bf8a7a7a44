"""What several test packages need."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

# Threads of torch that wait for each other would spin, which takes the cores from whoever else has work on them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A power cut is what no test can tell of, and each of hundreds of saved states would wait for the disk.
os.fsync = lambda fd: None

# Several workers of pytest-xdist share the cores; so do the processes that their tests start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# A download that a test holds stays held, however long the test takes to get to what it holds it for.
os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", str(int(PATIENCE_S)))

ROOT = Path(__file__).resolve().parent.parent
#: So much more memory than after the last time, and what the C library keeps of what is long gone is given back.
MUCH_BYTES = 300_000_000
_kept_bytes, _file = 0, ""


def held_bytes() -> int:
    """The memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers that share the suite begin with the files that take longest, so that none is left with one at the end."""
    if workers:
        items.sort(key=lambda item: "/zero/" not in item.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Dozens of trainings leave gigabytes of free memory in pieces: glibc keeps them until it is asked.

    It is asked where much has come, and where another file has begun, whose fixtures are not those of the last one.
    """
    global _kept_bytes, _file
    before, _file = _file, str(item.path)
    with contextlib.suppress(OSError, AttributeError):  # where there is no /proc, or no glibc
        if before != _file or held_bytes() > _kept_bytes + MUCH_BYTES:
            gc.collect()
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            _kept_bytes = held_bytes()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts: how long the Hub's client does is not ours to test."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A function: (main of a package, *words, cwd) -> exit code, stdout, stderr, without a process of its own."""

    def call(main: Callable[[list[str]], int], *words: str, cwd: Path | None = None) -> tuple[int, str, str]:
        if cwd:
            monkeypatch.chdir(cwd)
        try:
            code = main(list(words))
        except SystemExit as left:  # as argparse ends
            code = int(left.code or 0)
        return code, *capsys.readouterr()

    return call

"""What several test packages need."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

# Threads of torch that wait for each other would spin, which takes the cores from whoever else has work on them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parent.parent
#: From here on, memory that the C library keeps of what is long gone is given back after a test.
MUCH_BYTES = 1_000_000_000


def pytest_runtest_logfinish() -> None:
    """Dozens of trainings leave gigabytes of free memory in pieces: glibc keeps them until it is asked."""
    with contextlib.suppress(OSError, AttributeError):  # where there is no /proc, or no glibc
        held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if held > MUCH_BYTES:
            gc.collect()
            ctypes.CDLL("libc.so.6").malloc_trim(0)

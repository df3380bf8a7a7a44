"""Work in a process of its own, for a process that must not do it itself.

Where GPUs are lent to forked processes, PyTorch's first backward pass counts the GPUs, finds none, and every process
forked later believes that: its own backward passes on the GPU fail. So a process that borrows never goes backward
itself, and a regression, which does, is fitted aside.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.state import read_state, write_state


def aside(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` gives, tensors, numbers and texts, computed by a fork of this process.

    Raises:
        RuntimeError: if it fails there.
    """
    with tempfile.TemporaryDirectory(prefix="resnet-aside-") as folder:

        def give() -> None:
            if not write_state(Path(folder), work()):
                os._exit(1)

        def child() -> None:
            # On a thread that is new as well: OpenMP's threads of the one that forks are not here, and it would wait
            # for them forever.
            thread = threading.Thread(target=give)
            thread.start()
            thread.join()

        process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
        process.start()
        process.join()
        found = read_state(Path(folder), {})
    if found is None:
        raise RuntimeError(f"what was computed aside failed there (exit code {process.exitcode})")
    return found

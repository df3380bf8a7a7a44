"""What nobody needs any more is removed, whether somebody comes or not: visits that are over, and uploads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from ui.visits import Visits

log = logging.getLogger(__name__)

#: Seconds between two looks, and after which an upload is removed.
EVERY_S, KEEP_S = 60.0, 3600.0


class Sweeper:
    """Removes uploads and visits in time.

    Gradio forgets some of what it keeps: uploads that were broken off, and what came as a `data:` address. Here all
    that lies in the folder counts.

    Args:
        page: some of whose files stay for as long as it does, such as examples.
        visits: of the page.
        folder: of the uploads; of this process alone.
        clock: what time it is, in seconds as files have it.
    """

    def __init__(self, page: Any, visits: Visits, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._page, self._visits, self._folder, self._clock = page, visits, folder, clock

    def start(self) -> None:
        """Sweep from now on, on a thread that ends with the process."""
        threading.Thread(target=self._go_on, name="sweeper", daemon=True).start()

    def _go_on(self) -> None:
        while True:
            time.sleep(EVERY_S)
            try:
                self.sweep()
            except Exception:  # the next time may go well
                log.exception("sweeping")

    def sweep(self) -> None:
        """Remove what is over."""
        self._visits.sweep()
        kept = {file for one in self._page.blocks.values() for file in getattr(one, "keep_in_cache", ())}
        _remove_old(self._folder, self._clock() - KEEP_S, kept)


def _remove_old(folder: Path, old: float, kept: Collection[str]) -> None:
    """Remove files below a folder that nothing has happened to since, and then the folders that are left empty."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside comes first
        with suppress(OSError):
            state = path.lstat()
            if path.is_dir() and not path.is_symlink():
                if state.st_mtime < old:  # one that was just made may be about to be filled
                    path.rmdir()
            elif state.st_ctime < old and str(path) not in kept:
                path.unlink()

"""Folders of this process alone, for all that visitors leave here: removed when it ends, however it ends.

A process that is killed can't remove anything. So each holds a lock on a file beside its folder while it lives, and
whoever starts next removes the folders whose lock nobody holds. The system releases a lock with its process, so
neither an age nor a process's number, which another may have by now, has to be guessed from.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: folders of killed processes stay there
    fcntl = None  # type: ignore[assignment]

PREFIX, LOCK = "resnet-page-", ".lock"
UPLOADS = "GRADIO_TEMP_DIR"


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` while the block runs; those of processes that are gone are removed first."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_orphans(parent)
    # The lock first: a folder without one is nobody's.
    descriptor, lock = tempfile.mkstemp(LOCK, PREFIX, parent)
    with os.fdopen(descriptor, "wb") as file:
        _locked(file)
        folder = Path(lock.removesuffix(LOCK))
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            _remove(folder)


def remove_orphans(parent: Path) -> None:
    """Remove the folders in `parent` of processes that are gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        if folder.name.endswith(LOCK) or folder.is_symlink() or not _mine(folder):
            continue
        try:
            with Path(f"{folder}{LOCK}").open("r+b") as file:
                if _locked(file):
                    _remove(folder)
        except FileNotFoundError:
            _remove(folder)
        except OSError:
            continue


def _mine(folder: Path) -> bool:
    """In a folder that everybody may write to, anybody could have made it."""
    try:
        return folder.lstat().st_uid == os.getuid() if hasattr(os, "getuid") else True
    except OSError:
        return False


def _locked(file: IO[bytes]) -> bool:
    """Whether this process has the lock now."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():  # else the next one to start tries again
        with suppress(OSError):
            Path(f"{folder}{LOCK}").unlink()


@contextmanager
def own_folders() -> Iterator[Path]:
    """All temporary files of this process go into folders of its own; gives that of the uploads.

    Where whoever starts the page has said where uploads go, they go into a folder of their own there.
    """
    before, wanted = tempfile.tempdir, os.environ.get(UPLOADS)
    with ExitStack() as stack:
        root = stack.enter_context(own_folder(Path(tempfile.gettempdir())))
        uploads = stack.enter_context(own_folder(Path(wanted).absolute())) if wanted else root / "uploads"
        uploads.mkdir(exist_ok=True)
        tempfile.tempdir, os.environ[UPLOADS] = str(root), str(uploads)
        try:
            yield uploads
        finally:
            tempfile.tempdir = before
            os.environ.pop(UPLOADS)
            if wanted is not None:
                os.environ[UPLOADS] = wanted


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Whoever stops a service or a container ends it as Ctrl-C does; what is to be done at the end is done."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""The state of a training on disk: written in one go, so that whatever happens there is a whole one, old or new."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from resnet.errors import Refusal

STATE = "state.pt"


def write_state(folder: Path, state: dict[str, Any], name: str = STATE) -> bool:
    """Replace the state in a folder; False, with the old one still there, if the disk is full or can't be written."""
    unfinished = folder / f"{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / name)
    except (OSError, RuntimeError):  # torch says RuntimeError of a disk that is full in the middle
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        return False
    return True


def damaged(folder: Path, name: str = STATE) -> Refusal:
    """Of a state that can't be gone on from."""
    return Refusal(
        "state.broken", "The saved state in {name} is damaged; delete {file} there, or train from the start without "
        "--resume.",
        name=folder.name, file=name,
    )  # fmt: skip


def read_state(folder: Path, about: Mapping[str, Any], name: str = STATE) -> dict[str, Any] | None:
    """The state in a folder, on the CPU; None if there is none.

    Nothing but tensors, numbers and texts is ever unpickled.

    Args:
        folder: where it was written.
        about: what it must say under the key ``"about"``: settings and facts of the run that goes on from it.
        name: of the file.

    Raises:
        Refusal: if it is damaged, or of another run.
    """
    path = folder / name
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself would take a tensor with a damaged number in it
            if archive.testzip() is not None:
                raise ValueError("a checksum differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("no mapping")
    except Exception as error:  # a reader given a broken file raises whatever it likes
        raise damaged(folder, name) from error
    known = state.get("about")
    differs = [key for key, value in about.items() if not isinstance(known, dict) or known.get(key) != value]
    if differs:
        raise Refusal(
            "state.other", "The saved state in {name} is of another run ({what} differ); give the options and the data "
            "that it began with, or delete {file}.",
            name=folder.name, what=", ".join(key.replace("_", " ") for key in differs[:4]), file=name,
        )  # fmt: skip
    return state

"""The records of runs: what happened in one, in its folder, for the next process to show or to go on with."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import get_args

from resnet.classifier import NoneOfThese
from train.calibration import Bin, Calibration, Reliability
from train.events import Epoch, Event
from train.report import Mistake, Report
from train.shares import Comparison, Share
from ui.jobs import Keeping, Kept
from ui.records import Records
from ui.report_view import Answer
from ui.training import Result

log = logging.getLogger(__name__)

RUN = "run.json"
RECORDS = Records(
    Kept, *get_args(Event), Result, Answer, Report, Share, Comparison, Calibration, Reliability, Bin, NoneOfThese,
    Mistake,
)  # fmt: skip


def keeping(folder: Path) -> Keeping:
    """Keeps a run in its folder: when its state changes, and when there is something to go on from or to show."""
    return Keeping(
        lambda kept: RECORDS.write(folder / RUN, kept, folder.parent), lambda event: isinstance(event, Epoch | Result)
    )


def read(folder: Path | None) -> Kept | None:
    """What is kept of a run; None, and nothing is left of it, if that can't be read."""
    if folder is None or not folder.is_dir():
        return None  # forgotten
    try:
        kept = RECORDS.read(folder / RUN, folder.parent)
        if not isinstance(kept, Kept):
            raise ValueError("it is no run")
    except Exception as error:
        log.warning("%s is passed over: %s", folder.name, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    _remove_unfinished(folder, kept)
    return kept


def _remove_unfinished(folder: Path, kept: Kept) -> None:
    """Models that a process was killed over have no result."""
    found = [event for event in kept.events if isinstance(event, Result)]
    known = {path for event in found for path in (event.folder, event.archive)}
    for path in set(folder.glob("model*")) - known:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()

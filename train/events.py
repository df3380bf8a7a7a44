"""What a run tells while it goes on: frozen events, for a progress bar, a page, or whoever divides the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from train.report import Report
from train.shares import Share

#: ``read``: photos are decoded and their features computed; ``views``: features of further views; ``baseline``: the
#: regression is fitted; ``train``; ``measure``: the report; ``write``: the folder.
Phase = Literal["read", "views", "baseline", "train", "measure", "write"]


@dataclass(frozen=True)
class Started:
    """A phase begins."""

    phase: Phase
    total: int = 0


@dataclass(frozen=True)
class Advanced:
    """How far a phase is, in photos, and at how many a second."""

    phase: Phase
    done: int
    total: int
    images_per_second: float


@dataclass(frozen=True)
class Baseline:
    """The first model is there, so many seconds after the run began."""

    accuracy: Share
    strength: float
    seconds: float


@dataclass(frozen=True)
class Taught:
    """A teacher is there, and so well does it name the photos kept apart."""

    name: str
    accuracy: Share


@dataclass(frozen=True)
class Step:
    """One step of the optimizer.

    Args:
        epoch: from 1.
        progress: of the whole training, 0..1.
        loss: of its batch.
        learning_rate: of the head.
        images_per_second: of the last steps.
        eta_s: seconds until the training ends, as planned.
    """

    epoch: int
    progress: float
    loss: float
    learning_rate: float
    images_per_second: float
    eta_s: float


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended and was judged on the photos that are kept apart."""

    number: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    best: bool


@dataclass(frozen=True)
class BatchHalved:
    """The device's memory was too small: so many photos are computed at a time now, the step stays the same."""

    at_a_time: int


@dataclass(frozen=True)
class Skipped:
    """A photo could not be decoded and is not used."""

    name: str
    reason: str
    code: str


@dataclass(frozen=True)
class Fitted:
    """Training has ended; the weights are those of the best epoch.

    `history` has a mapping for each epoch, those before a resume included, with the keys of `train.card.CURVES`. `why`:
    ``"planned"``, ``"patience"`` (no better for some epochs), ``"time"``, ``"stopped"``, or ``"disk"``, which is
    so full that no state could be saved any more.
    """

    state_dict: Mapping[str, Tensor] = field(repr=False)
    epoch: int
    why: Literal["planned", "patience", "time", "stopped", "disk"]
    history: tuple[Mapping[str, float | None], ...] = ()


@dataclass(frozen=True)
class Finished:
    """The run is over.

    Args:
        report: of the model that was kept.
        kept: ``"trained"``, or ``"baseline"`` where training made it no better.
        folder: where the checkpoint was written.
        answers: name of each photo that was kept apart -> indices of its class and of what it was named.
        seconds: from the first photo to the last file.
        why: as of `Fitted`; None for a head alone.
    """

    report: Report
    kept: Literal["trained", "baseline"]
    folder: Path
    answers: Mapping[str, tuple[int, int]] = field(repr=False)
    seconds: float
    why: str | None


Event = Started | Advanced | Baseline | Taught | Step | Epoch | BatchHalved | Skipped | Fitted | Finished


def clock(seconds: float) -> str:
    """Seconds as ``"minutes:seconds"``, for whoever shows events."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes}:{rest:02}"

"""What a run tells while it goes on: frozen events, for a progress bar, a page, or whoever divides the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from resnet.errors import Refusal
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
class Seen:
    """What the frozen base sees in the photos: ``(N, num_features)`` of N names."""

    names: tuple[str, ...]
    features: Tensor = field(repr=False)


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
class Resumed:
    """Training goes on from a saved state: so many epochs were over, and so much of the whole (0..1) was done."""

    epoch: int
    progress: float


@dataclass(frozen=True)
class Paused:
    """Training was asked to pause and has saved its state; whoever finds that goes on from here.

    Args:
        epoch: epochs that are over.
        progress: of the whole training, 0..1.
        left_s: seconds that the rest takes, as measured.
        least_s: seconds that a step takes together with a judgement: less time is of no use.
    """

    epoch: int
    progress: float
    left_s: float
    least_s: float


@dataclass(frozen=True)
class Lent:
    """A device was lent for the next piece of the training, for at most so many seconds; see `train.pieces`."""

    device: str
    seconds: int


@dataclass(frozen=True)
class Interrupted:
    """No device is lent any more, and why; what was learnt so far is kept and can be gone on from."""

    refusal: Refusal


#: Why a training ended: as planned; no better for some epochs; the time was up; somebody stopped it; the disk was so
#: full that no state could be saved any more; or no device was lent any more.
Why = Literal["planned", "patience", "time", "stopped", "disk", "interrupted"]


@dataclass(frozen=True)
class Fitted:
    """Training has ended; the weights are those of the best epoch.

    `history` has a mapping for each epoch, those before a resume included, with the keys of `train.card.CURVES`.
    """

    state_dict: Mapping[str, Tensor] = field(repr=False)
    epoch: int
    why: Why
    history: tuple[Mapping[str, float | None], ...] = ()


@dataclass(frozen=True)
class Unwritten:
    """The model is written; something that belongs beside it could not be made, and why."""

    refusal: Refusal


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
    why: Why | None


Event = (
    Started | Advanced | Seen | Baseline | Taught | Step | Epoch | BatchHalved | Skipped | Resumed | Paused | Lent
    | Interrupted | Fitted | Unwritten | Finished
)  # fmt: skip


def clock(seconds: float) -> str:
    """Seconds as ``"minutes:seconds"``, for whoever shows events."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes}:{rest:02}"

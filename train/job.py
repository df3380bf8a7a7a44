"""What a run is about, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from train.dataset import Dataset
from train.edits import Edit
from train.loan import Lender
from train.recipe import Recipe
from train.split import Split
from weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Job:
    """All that a run is about.

    Args:
        dataset: with its edits applied.
        split: of it.
        base: what is known already; None to begin with nothing (`scratch`), as a ResNet-18.
        recipe: see `train.recipe`.
        out: folder of the checkpoint; made if need be.
        state: folder of the state for resuming; None to keep none.
        device: where to compute; the GPU by default where there is one.
        name: of the model, for its card.
        command: that it can be repeated with, for its card.
        memory: bytes of memory for decoded photos.
        edits: those that `dataset` has already, to be kept beside the model.
        teacher: a network that knows more, to learn from as well; see `train.teacher`.
        lender: of devices for pieces of the training, where this process has none; see `train.pieces`. It needs
            `state`.
        minutes: that all of it may take, whatever the recipe says; None for no limit.
    """

    dataset: Dataset
    split: Split
    base: Checkpoint | None
    recipe: Recipe
    out: Path
    state: Path | None = None
    device: torch.device | None = None
    name: str = ""
    command: str = ""
    memory: int | None = None
    teacher: Checkpoint | None = None
    lender: Lender | None = None
    edits: tuple[Edit, ...] = ()
    minutes: float | None = None

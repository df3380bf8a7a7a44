"""What is computed on lent GPUs: photos are named, and a training's pieces learn. Everything else stays on the CPU."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from resnet.classifier import Classifier
from resnet.errors import Refusal
from resnet.preprocess import Pixels
from train.events import Event
from train.loan import Lender, Terms
from train.pieces import Piece, run_piece
from ui import zero
from weights.checkpoint import Checkpoint

#: Photos of one loan, and what it takes: some seconds until the GPU is there, then so many (decoded already) a second.
PHOTOS, START_S, PHOTOS_A_SECOND = 256, 8, 64
#: Models that a process with a GPU keeps there.
MODELS = 2


def lender(borrower: zero.Borrower, terms: Terms | None = None) -> Lender | None:
    """Lends GPUs in a visitor's name; None where this process has its own device."""
    if not zero.on_zero_gpu():
        return None

    def lend(piece: Piece, seconds: int) -> Iterator[Any]:
        return borrower.iterate(_learn(piece, seconds))

    return Lender(lend, terms or Terms())


@zero.gpu(lambda _, seconds: seconds)
def _learn(piece: Piece, seconds: int) -> Iterator[Event | Refusal]:
    yield from run_piece(piece, seconds)


def classifier_for(checkpoint: Checkpoint, device: torch.device | str | None) -> Classifier:
    """A classifier that is ready: its first run, which prepares kernels, is over."""
    found = checkpoint.classifier(device)
    side = checkpoint.preprocess.size
    found.logits([np.zeros((side, side, 3), np.uint8)])
    return LentClassifier(checkpoint, found) if zero.on_zero_gpu() else found


class LentClassifier(Classifier):
    """Names photos on a lent GPU, or on the CPU where none is lent.

    Photos are decoded here, before a GPU is asked for, and what it answers is read here.

    Args:
        checkpoint: with its weights, which go to a file that the processes with a GPU read.
        own: the same on the CPU.
    """

    def __init__(self, checkpoint: Checkpoint, own: Classifier) -> None:
        vars(self).update(vars(own))  # not built again: its BatchNorms are folded in already
        folder = tempfile.TemporaryDirectory(prefix="resnet-lent-", ignore_cleanup_errors=True)
        self._finalizer = weakref.finalize(self, folder.cleanup)
        self._weights = Path(folder.name) / "weights.pt"
        torch.save(dict(checkpoint.state_dict), self._weights)
        self._checkpoint = replace(checkpoint, state_dict={})
        self._here = threading.local()

    @property
    def computed_on(self) -> torch.device:
        """Where the last photos of this thread were named."""
        return getattr(self._here, "device", self.device)

    def _at_a_time(self, batch_size: int) -> int:
        return PHOTOS

    def _forward(self, crops: Sequence[Pixels], network: Callable[[Tensor], Tensor]) -> Tensor:
        self._here.device = self.device
        if network is self.network and len(crops):
            try:
                device, logits = _name(self._checkpoint, self._weights, np.stack(crops))
            except Exception as error:
                zero.refusal_of(error)  # says so in the log where it is our mistake; the CPU has the answer as well
            else:
                self._here.device = torch.device(device)
                return torch.from_numpy(logits)
        return super()._forward(crops, network)


@zero.gpu(lambda checkpoint, weights, crops: START_S + len(crops) // PHOTOS_A_SECOND)
def _name(checkpoint: Checkpoint, weights: Path, crops: npt.NDArray[np.uint8]) -> tuple[str, npt.NDArray[np.float32]]:
    """Where it was computed, and ``(N, K)`` logits of ``(N, size, size, 3)`` crops."""
    classifier = _held.pop(weights, None)
    if classifier is None:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        classifier = replace(checkpoint, state_dict=state).classifier()
    _held[weights] = classifier  # the last one used stands last
    while len(_held) > MODELS:
        del _held[next(iter(_held))]
    return classifier.device.type, classifier.logits(list(crops)).numpy()


#: Of a process with a GPU, by the file of their weights.
_held: dict[Path, Classifier] = {}

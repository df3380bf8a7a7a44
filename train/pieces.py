"""A training in pieces, each computed by a process that a device is lent to for seconds.

The process that wants to learn has no device. It writes what the training begins with into a folder, and lends itself
others, one after the other, that go on from the state there (`train.fit`), save it before their time is up, and tell
what happened. What travels between them are names and numbers; tensors lie in the folder, as the memory that processes
share is small in a container. On the CPU the weights are those of the undivided training, to the last bit.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resnet.config import ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.baseline import Head
from train.batches import FitData
from train.cache import Shelf
from train.events import Event, Fitted, Interrupted, Lent, Paused, Started
from train.fit import fit
from train.loan import Lender, Terms, lost
from train.recipe import Recipe
from train.saving import device_name
from train.state import STATE, read_state, write_state
from train.teacher import Teacher, TeacherParts
from train.unpack import disk_refusal
from weights.checkpoint import Checkpoint

#: In the folder, beside `STATE`: what the training begins with, what it ended with, and a file that asks it to stop.
BEGINNING, END, STOP = "beginning.pt", "end.pt", "stop"


@dataclass(frozen=True)
class Piece:
    """What a process must know to go on with a training; it holds no tensors.

    Args:
        folder: of the state and the tensors.
        config: of the network, its head included.
        photos: to learn from; they can travel.
        crops: to judge by; they can travel.
        names: of the classes.
        preprocess: of the base.
        eval_s: as of `FitData`.
        recipe: see `train.recipe`.
        seconds: as of `fit`.
        teacher: to learn from as well, without its weights.
        terms: of the loan.
    """

    folder: Path
    config: ResNetConfig
    photos: Shelf
    crops: Shelf
    names: tuple[str, ...]
    preprocess: Preprocess
    eval_s: float
    recipe: Recipe
    seconds: float | None
    teacher: Checkpoint | None
    terms: Terms


# -- where there is no device ------------------------------------------------------------------------------------------


def fit_in_pieces(
    network: ResNet,
    data: FitData,
    recipe: Recipe,
    lender: Lender,
    folder: Path,
    *,
    seconds: float | None = None,
    teacher: TeacherParts | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """As `train.fit.fit`, on devices that are lent.

    Where none is lent any more, `Interrupted` says why; what comes then is the best epoch so far. A later call with the
    same folder goes on from there.

    Args:
        network: with a head for these classes.
        data: whose shelves have files with names.
        recipe: of a method that trains more than a head.
        lender: of the devices.
        folder: for the state, on a disk that the borrowing processes see too.
        seconds: as of `fit`.
        teacher: to learn from beside the labels.
        stop: looked at whenever something happens; the best epoch so far is kept.

    Raises:
        Refusal: if the folder can't be written, or a state in it can't be read.
    """
    terms = lender.terms
    piece = Piece(
        folder, network.config, data.photos, data.crops, tuple(data.names), data.preprocess, data.eval_s, recipe,
        seconds, replace(teacher.checkpoint, state_dict={}) if teacher else None, terms,
    )  # fmt: skip
    asked_to_stop = folder / STOP
    asked_to_stop.unlink(missing_ok=True)
    if not (folder / BEGINNING).is_file() and not write_state(folder, _tensors(network, data, teacher), BEGINNING):
        raise disk_refusal(OSError(errno.ENOSPC, ""), folder.name)
    yield Started("train", len(data.photos))
    paused: Paused | None = None
    while not (folder / END).is_file():
        if stop() and not (folder / STATE).is_file():
            break  # a loan for nothing
        try:
            for event in _borrow(lender, piece, terms.ask(paused)):
                if stop():
                    asked_to_stop.touch()
                if isinstance(event, Refusal):
                    raise event
                paused = event if isinstance(event, Paused) else None
                yield event
            if paused is None and not (folder / END).is_file():
                raise lost()
        except Refusal as refusal:
            yield Interrupted(refusal.kept())
            break
    yield from _kept(folder)


def _borrow(lender: Lender, piece: Piece, seconds: int) -> Iterator[Any]:
    """A loan, a shorter one where so long a one is not granted."""
    shorter: int | None = seconds
    while shorter is not None:
        try:
            yield from lender.lend(piece, shorter)
            return
        except Refusal as refusal:
            shorter = lender.terms.shorter(shorter, refusal)
            if shorter is None:
                raise


def _tensors(network: ResNet, data: FitData, teacher: TeacherParts | None) -> dict[str, Any]:
    """What `_beginning` reads again."""
    return {
        "network": network.state_dict(),
        "targets": data.targets,
        "val_targets": data.val_targets,
        "teacher": None if teacher is None else {
            "weights": dict(teacher.checkpoint.state_dict), "weight": teacher.head.weight, "bias": teacher.head.bias,
            "strength": teacher.head.strength, "features": teacher.features,
            "student_features": teacher.student_features,
        },
    }  # fmt: skip


def _kept(folder: Path) -> Iterator[Fitted]:
    """What the pieces ended with; of a training that was interrupted the best so far, and nothing before the first."""
    if (end := read_state(folder, {}, END)) is not None:
        yield Fitted(end["weights"], end["epoch"], end["why"], tuple(end["history"]))
    elif (state := read_state(folder, {})) is not None and state["best"]["weights"] is not None:
        yield Fitted(state["best"]["weights"], state["best"]["epoch"], "interrupted", tuple(state["history"]))


# -- where there is one ------------------------------------------------------------------------------------------------


def run_piece(piece: Piece, loan_s: float) -> Iterator[Event | Refusal]:
    """Go on with a training for so many seconds at most, on this process's device.

    The last event is `Paused`, or the training's end is in the folder; a refusal is yielded, as an exception would lose
    its sentence on the way.
    """
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield Lent(device_name(device), round(loan_s))
    try:
        network, data, teacher = _beginning(piece, device)
        for event in fit(
            network, data, piece.recipe, device, seconds=piece.seconds, teacher=teacher, folder=piece.folder,
            stop=(piece.folder / STOP).exists,
            pause=lambda next_s: piece.terms.over(loan_s, time.monotonic() - began, next_s),
        ):  # fmt: skip
            if isinstance(event, Fitted):
                end = {"weights": dict(event.state_dict), "epoch": event.epoch, "why": event.why}
                if not write_state(piece.folder, {**end, "history": list(event.history)}, END):
                    raise disk_refusal(OSError(errno.ENOSPC, ""), piece.folder.name)
            elif not isinstance(event, Started):  # it began long ago
                yield event
    except Refusal as refusal:
        yield refusal


def _beginning(piece: Piece, device: torch.device) -> tuple[ResNet, FitData, Teacher | None]:
    """The network as it was before the first step, and what it learns from."""
    kept = read_state(piece.folder, {}, BEGINNING)
    assert kept is not None
    with torch.device("meta"):
        network = ResNet(piece.config)
    network.load_state_dict(kept["network"], assign=True)
    data = FitData(
        piece.photos, kept["targets"], piece.crops, kept["val_targets"], piece.names, piece.preprocess, piece.eval_s
    )
    if piece.teacher is None:
        return network, data, None
    told = kept["teacher"]
    checkpoint = replace(piece.teacher, state_dict=told["weights"])
    head = Head(told["weight"], told["bias"], told["strength"])
    parts = TeacherParts(checkpoint, head, told["features"], told["student_features"])
    return network, data, parts.build(piece.preprocess, piece.recipe, device)

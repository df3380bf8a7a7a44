"""The first phase of a run: every photo is decoded once, and the frozen base says what it sees in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from resnet.errors import Refusal
from resnet.preprocess import Pixels
from train.cache import Shelf, decode, memory_limit, planned_bytes, room_for
from train.cache import Skipped as Undecoded
from train.dataset import Image
from train.events import Advanced, Event, Seen, Skipped, Started
from train.job import Job
from train.unpack import disk_refusal
from weights.checkpoint import Checkpoint

#: Photos whose features are computed at a time.
BATCH = 8


@dataclass(frozen=True)
class Held:
    """Photos that are kept apart: their crops, classes and names, and the base's features of them."""

    crops: Shelf
    targets: Tensor
    names: list[str]
    features: Tensor


@dataclass(frozen=True)
class Read:
    """What became of the photos: cached ones to learn from, crops to judge by, and pooled features of both.

    `features` are the base's, empty where it knows nothing; `taught` are the teacher's, empty without one. `val` are
    the photos that choices are made by; `test`, where there is such a part beside it, takes part in none and is what
    is reported. `eval_s` is how long the base takes to see the crops of `val`, `test_s` those of `test`.
    """

    photos: Shelf
    targets: Tensor
    kept: list[int]
    features: Tensor
    taught: Tensor
    val: Held
    val_taught: Tensor
    test: Held | None
    eval_s: float
    test_s: float
    skipped: dict[str, str]

    def seen(self, names: Sequence[str]) -> Seen | None:
        """What the base sees in all photos, of a dataset's names of images; None where it knows nothing."""
        if not len(self.features):
            return None
        held = [self.val] if self.test is None else [self.val, self.test]
        known = [names[place] for place in self.kept] + [name for one in held for name in one.names]
        return Seen(tuple(known), torch.cat([self.features, *(one.features for one in held)]))


class _Seen:
    """What one frozen network sees in the photos, as they come, and how long it takes."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self._classifier, self._width = headless(checkpoint).classifier(device), checkpoint.config.num_features
        self._rows: dict[int, Tensor] = {}
        self.seconds, self.photos = 0.0, 0

    def look(self, places: Sequence[int], crops: Sequence[Pixels], keep: bool = True) -> None:
        before = time.monotonic()
        features = self._classifier.pooled(crops)
        self.seconds += time.monotonic() - before
        self.photos += len(crops)
        if keep:
            self._rows.update(zip(places, features, strict=True))

    def of(self, places: Sequence[int]) -> Tensor:
        """``(N, D)``; ``(0, D)`` where nothing was kept."""
        return (
            torch.stack([self._rows[place] for place in places])
            if self._rows and places
            else torch.empty(0, self._width)
        )


def body(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Its weights without the classifier's."""
    return {key: value for key, value in checkpoint.state_dict.items() if not key.startswith("fc.")}


def headless(checkpoint: Checkpoint) -> Checkpoint:
    """The same network without its classifier."""
    return replace(checkpoint, config=checkpoint.config.with_classes(0), state_dict=body(checkpoint), label_names=())


def known_as(checkpoint: Checkpoint) -> str:
    """What a checkpoint is called; of one on disk the folder's or the file's name, not where it lies."""
    source = checkpoint.source
    if source.path is not None and source.repo is None:
        return source.path.name
    return source.name or checkpoint.architecture


def read_photos(
    job: Job, base: Checkpoint, device: torch.device, refuse: Callable[[], None] = lambda: None
) -> Generator[Event, None, Read]:
    """Decode every photo once; features of the frozen base and the teacher come along where they are of use.

    Args:
        job: whose photos.
        base: with the preprocessing.
        device: where to compute.
        refuse: called again and again; what it raises ends the reading.

    Raises:
        Refusal: if nothing of a class, or nothing to judge by, can be read any more, or the disk is full.
    """
    parts = [[job.dataset.images[index] for index in part] for part in (job.split.train, job.split.val, job.split.test)]
    side, targets = base.preprocess.size, job.dataset.targets
    places = [*job.split.train, *job.split.val, *job.split.test]
    shelf, *held = _shelves(job, parts, side)
    eyes = _Seen(base, device)
    teacher = None if job.teacher is None else _Seen(job.teacher, device)
    learns = job.recipe.method != "scratch"
    yield Started("read", len(places))
    skipped: dict[str, str] = {}
    kept: list[int] = []
    apart: tuple[list[int], list[int]] = [], []  # of val and of test
    pending: list[tuple[int, Pixels]] = []
    began = time.monotonic()

    def look() -> None:
        if not pending:
            return
        these, crops = zip(*pending, strict=True)
        if learns or not eyes.photos:  # one look tells how long judging will take
            eyes.look(these, crops, learns)
        if teacher is not None:
            teacher.look(these, crops)
        pending.clear()

    decoded = decode([image for part in parts for image in part], base.preprocess, side, room_for(job.recipe.min_scale))
    for number, one in enumerate(decoded, start=1):
        if isinstance(one, Undecoded):
            skipped[one.name] = str(one.reason)
            yield Skipped(one.name, str(one.reason), one.reason.code)
        else:
            place = places[one.index]
            if one.index < len(parts[0]):
                shelf.add(one.photo)
                kept.append(place)
            else:
                which = int(one.index >= len(parts[0]) + len(parts[1]))
                held[which].add(one.crop)
                apart[which].append(place)
            pending.append((place, one.crop))
            if len(pending) == BATCH:
                look()
        if number % BATCH == 0 or number == len(places):
            yield Advanced("read", number, len(places), number / max(time.monotonic() - began, 1e-6))
            if number < len(places):
                refuse()
    look()
    missing = set(job.dataset.classes) - {job.dataset.images[place].label for place in kept}
    if missing:
        raise Refusal(
            "train.unreadable", "No photo of {label} can be read any more; add some, or leave the class out.",
            label=min(missing),
        )  # fmt: skip
    if not apart[0]:
        raise Refusal(
            "train.no_val", "None of the photos kept apart can be read any more, so nothing could be judged; bring the "
            "dataset again.",
        )  # fmt: skip
    val, test = (
        Held(
            crops,
            torch.tensor([targets[place] for place in chosen]),
            [job.dataset.images[place].name for place in chosen],
            eyes.of(chosen),
        )
        for crops, chosen in zip(held, apart, strict=True)
    )
    taught, val_taught = (teacher.of(kept), teacher.of(apart[0])) if teacher else (torch.empty(0), torch.empty(0))
    each_s = eyes.seconds / max(eyes.photos, 1)
    return Read(
        shelf,
        torch.tensor([targets[place] for place in kept]),
        kept,
        eyes.of(kept),
        taught,
        val,
        val_taught,
        test if test.names else None,
        len(val.names) * each_s,
        len(test.names) * each_s,
        skipped,
    )


def _shelves(job: Job, parts: Sequence[Sequence[Image]], side: int) -> list[Shelf]:
    """For the photos that are learnt from, and for the crops of each part that is kept apart."""
    memory = job.memory if job.memory is not None else memory_limit()
    planned = [planned_bytes(parts[0], side, room_for(job.recipe.min_scale))]
    planned += [3 * side * side * len(part) for part in parts[1:]]
    folder = job.out.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if job.lender is not None:  # where training reads them is another process
            assert job.state is not None
            job.state.mkdir(parents=True, exist_ok=True)
            lent = [Shelf(planned[0], 0, path=job.state / "photos"), Shelf(planned[1], 0, path=job.state / "crops")]
            return [*lent, Shelf(planned[2], memory, folder)]
        return [Shelf(one, max(0, memory - sum(planned[:index])), folder) for index, one in enumerate(planned)]
    except OSError as error:
        raise disk_refusal(error, str(folder)) from None

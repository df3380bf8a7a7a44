"""The first phase of a run: every photo is decoded once, and the frozen base says what it sees in it."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from resnet.errors import Refusal
from resnet.preprocess import Pixels
from train.cache import Shelf, decode, memory_limit, planned_bytes, room_for
from train.cache import Skipped as Undecoded
from train.events import Advanced, Event, Skipped, Started
from train.job import Job
from weights.checkpoint import Checkpoint

#: Photos whose features are computed at a time.
BATCH = 8


@dataclass(frozen=True)
class Read:
    """What became of the photos: cached ones to learn from, crops to judge by, and features of both."""

    photos: Shelf
    targets: Tensor
    kept: list[int]
    crops: Shelf
    val_targets: Tensor
    val_names: list[str]
    features: Tensor
    val_features: Tensor
    eval_s: float
    skipped: dict[str, str]


def body(base: Checkpoint) -> dict[str, Tensor]:
    """Its weights without the classifier's."""
    return {key: value for key, value in base.state_dict.items() if not key.startswith("fc.")}


def read_photos(job: Job, base: Checkpoint, device: torch.device) -> Generator[Event, None, Read]:
    """Decode every photo once; features of the frozen base come along where they are of use."""
    train = [job.dataset.images[index] for index in job.split.train]
    val = [job.dataset.images[index] for index in job.split.val]
    side, targets = base.preprocess.size, job.dataset.targets
    places = [*job.split.train, *job.split.val]
    memory = job.memory if job.memory is not None else memory_limit()
    room = room_for(job.recipe.min_scale)
    planned = planned_bytes(train, side, room)
    job.out.parent.mkdir(parents=True, exist_ok=True)
    shelf = Shelf(planned, memory, job.out.parent)
    judged = Shelf(3 * side * side * len(val), max(0, memory - planned), job.out.parent)
    headless = replace(base, config=base.config.with_classes(0), state_dict=body(base), label_names=())
    classifier = headless.classifier(device)
    learns = job.recipe.method != "scratch"
    yield Started("read", len(places))
    found: list[tuple[int, Tensor]] = []
    skipped: dict[str, str] = {}
    kept: list[int] = []
    val_kept: list[int] = []
    pending: list[tuple[int, Pixels]] = []
    began, busy = time.monotonic(), 0.0

    def features() -> None:
        nonlocal busy
        if pending and learns:
            before = time.monotonic()
            found.extend(
                zip([one for one, _ in pending], classifier.pooled([crop for _, crop in pending]), strict=True)
            )
            busy += time.monotonic() - before
        pending.clear()

    for number, one in enumerate(decode([*train, *val], base.preprocess, side, room), start=1):
        if isinstance(one, Undecoded):
            skipped[one.name] = str(one.reason)
            yield Skipped(one.name, str(one.reason), one.reason.code)
        else:
            place = places[one.index]
            if one.index < len(train):
                shelf.add(one.photo)
                kept.append(place)
            else:
                judged.add(one.crop)
                val_kept.append(place)
            pending.append((place, one.crop))
            if len(pending) == BATCH:
                features()
        if number % BATCH == 0 or number == len(places):
            yield Advanced("read", number, len(places), number / max(time.monotonic() - began, 1e-6))
    features()
    missing = set(job.dataset.classes) - {job.dataset.images[place].label for place in kept}
    if missing:
        raise Refusal(
            "train.unreadable", "No photo of {label} can be read any more; add some, or leave the class out.",
            label=min(missing),
        )  # fmt: skip
    by_place = dict(found)
    width = base.config.num_features

    def stacked(places: Sequence[int]) -> Tensor:
        return torch.stack([by_place[place] for place in places]) if by_place and places else torch.empty(0, width)

    speed = len(found) / busy if busy else 0.0
    return Read(
        shelf,
        torch.tensor([targets[place] for place in kept]),
        kept,
        judged,
        torch.tensor([targets[place] for place in val_kept]),
        [job.dataset.images[place].name for place in val_kept],
        stacked(kept),
        stacked(val_kept),
        len(val_kept) / speed if speed else 0.0,
        skipped,
    )

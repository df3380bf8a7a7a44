"""Photos decoded once: as the network sees them when it is judged, and somewhat larger to cut pieces from."""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor

from resnet.classifier import Classifier
from resnet.errors import Refusal
from resnet.memory import total_bytes
from resnet.parallel import map_ahead
from resnet.preprocess import Pixels, Preprocess, open_image
from train.dataset import Image
from train.unpack import disk_refusal

#: Short side of a cached photo as a multiple of the training size: a crop of 70 % of its area is still not enlarged.
ROOM = 1.15
#: Share of the machine's memory that a cache may take before it goes to disk.
MEMORY_SHARE = 0.25
#: Crops that are judged at a time.
JUDGED = 64


@dataclass(frozen=True)
class Skipped:
    """A photo that could not be decoded, and why."""

    name: str
    reason: Refusal


class Shelf(Sequence[Pixels]):
    """Arrays of uint8 in memory, or in one file on disk of which the system keeps in memory what there is room for.

    Args:
        planned: bytes that will come, at most.
        memory: bytes that may stay in memory.
        folder: where the file goes; it has no name, so nothing is left behind.
        path: of a file for another process to read as well; it stays behind, and nothing is kept in memory.
    """

    def __init__(self, planned: int, memory: int, folder: Path | None = None, path: Path | None = None) -> None:
        self.on_disk, self._path = planned > memory or path is not None, path
        self._arrays: list[Pixels] = []
        self._places: list[tuple[int, tuple[int, ...]]] = []  # in the file: where each array starts, and its shape
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        if path is not None:
            self._file = path.open("w+b")
        elif self.on_disk:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (lives as long as we)

    def __reduce__(self) -> tuple[object, ...]:
        """What travels to another process is where the arrays lie."""
        if self._path is None:
            raise TypeError("only a shelf that has a file with a name can travel")
        return _opened, (self._path, self._places)

    def add(self, array: Pixels) -> None:
        """Keep an array.

        Raises:
            Refusal: if the disk is full.
        """
        if self._file is None:
            self._arrays.append(np.ascontiguousarray(array))
            return
        try:
            with self._lock:
                start = self._file.seek(0, os.SEEK_END)
                self._file.write(np.ascontiguousarray(array).data)
                self._file.flush()
        except OSError as error:
            raise disk_refusal(error, "the cache of photos") from None
        self._places.append((start, array.shape))

    def shape(self, index: int) -> tuple[int, ...]:
        """Of an array, without reading it."""
        return self._arrays[index].shape if self._file is None else self._places[index][1]

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pixels]: ...
    def __getitem__(self, index: int | slice) -> Pixels | list[Pixels]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if self._file is None:
            return self._arrays[index]
        start, shape = self._places[index]
        # Read, not mapped: a mapping for each of 100,000 photos is more than a process may have.
        with self._lock:
            self._file.seek(start)
            data = self._file.read(math.prod(shape))
        return np.frombuffer(data, np.uint8).reshape(shape)

    def __len__(self) -> int:
        return len(self._arrays) if self._file is None else len(self._places)


def _opened(path: Path, places: list[tuple[int, tuple[int, ...]]]) -> Shelf:
    """A shelf that another process has filled."""
    shelf = Shelf(0, 0)
    shelf._places, shelf._file, shelf.on_disk = places, path.open("rb"), True
    return shelf


@dataclass(frozen=True)
class Decoded:
    """One photo: its place in the list, the crop that is judged, and the whole photo, made small."""

    index: int
    crop: Pixels
    photo: Pixels


def judge(classifier: Classifier, crops: Sequence[Pixels], places: Sequence[int]) -> Tensor:
    """What a classifier says of some crops, of which no more are read at a time than it sees at a time.

    Args:
        classifier: of K classes.
        crops: of which these may be on disk.
        places: N indices into them.

    Returns:
        ``(N, K)`` logits.
    """
    found = [torch.empty(0, len(classifier.label_names))]
    for start in range(0, len(places), JUDGED):
        found.append(classifier.logits([crops[index] for index in places[start : start + JUDGED]]))
    return torch.cat(found)


def decode(
    images: Sequence[Image], preprocess: Preprocess, side: int, room: float = ROOM
) -> Iterator[Decoded | Skipped]:
    """Every photo in order, decoded on all cores a few ahead.

    Args:
        images: of a dataset.
        preprocess: for the crop.
        side: that the network will be trained at, in pixels.
        room: how many times as long the photo's short side is, at most.
    """

    def read(item: tuple[int, Image]) -> Decoded | Skipped:
        index, image = item
        try:
            picture = open_image(image.path, image.name)
        except Refusal as refusal:
            return Skipped(image.name, refusal.kept())
        return Decoded(index, preprocess.pixels(picture), np.asarray(smaller(picture, side, room)))

    yield from map_ahead(read, enumerate(images), ahead=4 * (os.cpu_count() or 1))


def room_for(min_scale: float) -> float:
    """How much longer than the training size a cached photo's short side should be.

    Where crops show a third of a photo or more, `ROOM` is enough: the smallest are enlarged a little. Smaller ones are
    cut from a photo that has their pixels, as if it had not been made small.
    """
    return ROOM if min_scale >= 0.25 else 1 / math.sqrt(min_scale)


def smaller(picture: Picture.Image, side: int, room: float = ROOM) -> Picture.Image:
    """A photo at its own aspect with a short side of `room` times `side`, unless it is smaller already."""
    wish = round(side * room)
    short = min(picture.size)
    if short <= wish:
        return picture
    size = (max(1, round(picture.width * wish / short)), max(1, round(picture.height * wish / short)))
    # A panorama stays within bounds: what is cut off could hardly be reached by a crop anyway.
    longest = 4 * wish
    if max(size) > longest:
        across, down = min(picture.width, picture.height * 4), min(picture.height, picture.width * 4)
        left, top = (picture.width - across) // 2, (picture.height - down) // 2
        box = (left, top, left + across, top + down)
        return picture.resize((min(size[0], longest), min(size[1], longest)), Picture.Resampling.BILINEAR, box)
    return picture.resize(size, Picture.Resampling.BILINEAR)


def planned_bytes(images: Sequence[Image], side: int, room: float = ROOM) -> int:
    """What their cached photos take, at most."""
    wish = round(side * room)
    total = 0
    for image in images:
        short, long = image.sides
        scale = min(1.0, wish / short)
        total += 3 * round(short * scale + 1) * round(min(long * scale, 4 * wish) + 1)
    return total


def memory_limit() -> int:
    """Bytes that a cache may take of the memory that this process may have; a gigabyte where nobody says how much."""
    total = total_bytes()
    return 1_000_000_000 if total is None else int(MEMORY_SHARE * total)

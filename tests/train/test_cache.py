"""The cache of photos: many, cut up, on disk and in memory; and how large they are kept."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet.preprocess import Preprocess
from train.cache import ROOM, Shelf, planned_bytes, room_for, smaller
from train.dataset import Dataset
from train.events import Advanced
from train.job import Job
from train.run import _base, run
from weights.checkpoint import Checkpoint


@pytest.fixture
def few_files() -> Iterator[None]:
    """As many open files as a shell allows by default, or fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_cache_on_disk_holds_any_number_of_photos(tmp_path: Path, few_files: None) -> None:
    shelf = Shelf(10**9, 0, tmp_path)
    for number in range(600):
        shelf.add(np.full((2, 3 + number % 5, 3), number % 256, np.uint8))
    assert len(shelf) == 600 and shelf.shape(7) == (2, 5, 3)
    with ThreadPoolExecutor(8) as pool:  # threads cut pieces from it at once
        for number, one in enumerate(pool.map(shelf.__getitem__, range(600))):
            assert one.shape == (2, 3 + number % 5, 3) and (one == number % 256).all()


@pytest.mark.parametrize("memory", [0, 10**9])
def test_a_cache_is_read_in_parts(memory: int, tmp_path: Path) -> None:
    shelf = Shelf(10**6, memory, tmp_path)
    assert not shelf
    for number in range(5):
        shelf.add(np.full((number + 1, 2, 3), number, np.uint8)[:, ::-1])
    assert [one.shape[0] for one in shelf[1:4]] == [2, 3, 4] and shelf.shape(4) == (5, 2, 3)
    assert shelf[3:][-1].max() == 4 and len(list(shelf)) == 5
    with pytest.raises(IndexError):
        shelf[5]


def test_small_crops_are_cut_from_photos_that_have_their_pixels(shapes: Dataset) -> None:
    assert room_for(0.35) == ROOM
    assert room_for(0.08) * 0.08**0.5 == pytest.approx(1)
    assert min(smaller(Image.new("RGB", (900, 1200)), 224, room_for(0.08)).size) == 792
    assert planned_bytes(shapes.images, 32) < planned_bytes(shapes.images, 32, room_for(0.08))


def test_the_tutorial_is_judged_as_the_tutorial_judges(make_job: Callable[..., Job], tiny: Checkpoint) -> None:
    """Resize(256), CenterCrop(224), whatever the base was judged by."""
    other = replace(tiny, preprocess=Preprocess(288, "bicubic", 0.95, "squash", (0.5, 0.5, 0.5)))
    found = _base(replace(make_job("tutorial"), base=other)).preprocess
    assert (found.size, found.resize, found.interpolation, found.crop_mode) == (224, 256, "bilinear", "center")
    assert found.mean == (0.5, 0.5, 0.5), "what its weights were trained with"
    assert _base(replace(make_job("all", image_size=96), base=other)).preprocess == replace(other.preprocess, size=96)


def test_how_far_reading_is_is_told(make_job: Callable[..., Job]) -> None:
    job = make_job("head", views=1)
    told = [event for event in run(job) if isinstance(event, Advanced)]
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[-1].done == told[-1].total == len(job.dataset.images)

"""A small drawn dataset and a small network to train on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.dataset import Dataset
from train.drawn import draw
from train.ingest import ingest
from train.job import Job
from train.methods import Method
from train.recipe import choose
from train.split import split
from weights.checkpoint import Checkpoint, Source


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 drawn shapes in four classes."""
    folder = tmp_path_factory.mktemp("shapes")
    draw(folder, per_class=10)
    return replace(ingest(folder), name="shapes")


@pytest.fixture(scope="session")
def tiny() -> Checkpoint:
    """A base of four blocks for photos of 32 pixels, with weights of no training."""
    torch.manual_seed(7)
    config = ResNetConfig("basic", (1, 1, 1, 1), include_top=False)
    preprocess = Preprocess(size=32)
    return Checkpoint(config, ResNet(config).state_dict(), preprocess, (), license="mit", source=Source("tiny"))


@pytest.fixture
def make_job(shapes: Dataset, tiny: Checkpoint, tmp_path: Path) -> Callable[..., Job]:
    """A function: (method, out=…, state=…, **settings of the recipe) -> Job on the CPU."""

    def make(method: Method = "all", out: Path | None = None, state: Path | None = None, **settings: Any) -> Job:
        settings = {"epochs": 2, "batch_size": 8, **settings}
        parts = split(shapes, 0.3)
        recipe = choose(method, len(parts.train), **settings)
        return Job(shapes, parts, tiny, recipe, out or tmp_path / "out", state, torch.device("cpu"), "shapes")

    return make

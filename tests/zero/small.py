"""A run that is small enough to be divided and repeated, the same in every process."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.drawn import draw
from train.ingest import ingest
from train.job import Job
from train.loan import Lender
from train.recipe import choose
from train.split import split
from weights.checkpoint import Checkpoint, Source


def small_job(folder: Path, method: Any = "all", lender: Lender | None = None, **settings: Any) -> Job:
    """24 drawn shapes and a network of four blocks: two epochs of two steps."""
    if not (folder / "shapes").is_dir():
        draw(folder / "shapes", per_class=6)
    dataset = ingest(folder / "shapes")
    parts = split(dataset, 0.35)
    torch.manual_seed(7)
    config = ResNetConfig("basic", (1, 1, 1, 1), include_top=False)
    base = Checkpoint(config, ResNet(config).state_dict(), Preprocess(size=64), (), source=Source("tiny"))
    recipe = choose(method, len(parts.train), **({"epochs": 2, "batch_size": 8} | settings))
    return Job(
        dataset, parts, base, recipe, folder / "model", folder / "state", torch.device("cpu"), "shapes", lender=lender
    )


def sums(state: Mapping[str, Tensor]) -> int:
    """One number for all weights."""
    return zlib.crc32(str({key: zlib.crc32(value.numpy().tobytes()) for key, value in state.items()}).encode())

"""Networks and photos for the tests of `resnet`, all of them made from a seed."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

State = dict[str, Tensor]


@pytest.fixture(scope="session")
def random_state() -> Callable[[nn.Module, int], State]:
    """A function: a network (on the meta device, say) -> weights for it that keep the activations near 1.

    BatchNorm's scales, shifts and statistics are all far from the identity, so that one left out or mixed up shows in
    the logits; the last one of a block is small, or 50 blocks would add up to numbers that no tolerance fits.
    """

    def make(network: nn.Module, seed: int = 0) -> State:
        generator = torch.Generator().manual_seed(seed)
        state = {}
        for key, value in network.state_dict().items():
            shape = value.shape
            if key.endswith("num_batches_tracked"):
                state[key] = torch.tensor(7)
            elif key.endswith("running_mean"):
                state[key] = torch.randn(shape, generator=generator) * 0.2
            elif key.endswith("running_var"):
                state[key] = torch.rand(shape, generator=generator) + 0.5
            elif len(shape) == 1 and key.endswith("weight"):
                state[key] = torch.rand(shape, generator=generator) * 0.5 + 0.2
            elif len(shape) == 1:
                state[key] = torch.randn(shape, generator=generator) * 0.2
            else:
                wide = (24 / shape[1:].numel()) ** 0.5  # uniform, of He's variance: drawn three times as fast as normal
                state[key] = (torch.rand(shape, generator=generator) - 0.5).mul_(wide)
        return state

    return make


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image.Image]:
    """A function: (width, height, seed) -> an RGB photo with smooth parts, sharp edges and noise; not to be changed."""

    @functools.cache
    def make(width: int, height: int, seed: int = 0) -> Image.Image:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        waves = [np.sin(x / a + y / b) for a, b in rng.uniform(5, 60, (3, 2))]
        values = 128 + 70 * np.stack(waves, -1) + rng.normal(0, 12, (height, width, 3))
        for _ in range(6):
            top, left = rng.integers(0, height), rng.integers(0, width)
            values[top : top + height // 3 + 1, left : left + width // 4 + 1] = rng.integers(0, 256, 3)
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))

    return make

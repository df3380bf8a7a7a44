"""A batch of training views: random pieces of cached photos, flipped and lightly coloured, from one random generator.

What is random is drawn in one place and in order, so that the same seed gives the same views whatever the threads do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor

from resnet.preprocess import Pixels


@dataclass(frozen=True)
class View:
    """What is done to one photo: the piece that is cut out (left, top, width, height in its pixels), and a flip."""

    left: int
    top: int
    width: int
    height: int
    flip: bool


def random_view(
    height: int,
    width: int,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> View:
    """A piece as torchvision's ``RandomResizedCrop`` draws it, and a flip in half of the cases.

    Ten times a share of the area and an aspect (uniform in its logarithm) are drawn; the first piece that fits is
    taken, and if none does, the largest in the middle whose aspect is within bounds.

    Args:
        height: of the photo.
        width: of the photo.
        generator: what is drawn from.
        scale: share of the photo's area.
        ratio: width / height of the piece.
    """
    area = height * width
    flip = bool(torch.rand((), generator=generator) < 0.5)
    for _ in range(10):
        share, aspect = torch.rand(2, generator=generator).tolist()
        target = area * (scale[0] + share * (scale[1] - scale[0]))
        shape = math.exp(math.log(ratio[0]) + aspect * (math.log(ratio[1]) - math.log(ratio[0])))
        w, h = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
        if 0 < w <= width and 0 < h <= height:
            top = int(torch.randint(0, height - h + 1, (), generator=generator))
            left = int(torch.randint(0, width - w + 1, (), generator=generator))
            return View(left, top, w, h, flip)
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return View((width - w) // 2, (height - h) // 2, w, h, flip)


def cut(photo: Pixels, view: View, size: int) -> Pixels:
    """The piece of a photo, ``(H, W, 3)`` uint8 -> ``(size, size, 3)`` uint8."""
    box = (view.left, view.top, view.left + view.width, view.top + view.height)
    piece = np.asarray(Picture.fromarray(photo).resize((size, size), Picture.Resampling.BILINEAR, box))
    return piece[:, ::-1] if view.flip else piece


def cut_all(photos: Sequence[Pixels], views: Sequence[View], size: int, pool: ThreadPoolExecutor) -> Tensor:
    """Pieces of many photos, cut on all cores -> ``(N, size, size, 3)`` uint8."""
    return torch.from_numpy(np.stack(list(pool.map(cut, photos, views, [size] * len(views)))))


@dataclass(frozen=True)
class Colours:
    """How far brightness, contrast and saturation of each photo are moved: factors of a batch, ``(N, 1, 1, 1)``."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor


def random_colours(count: int, strength: float, generator: torch.Generator) -> Colours:
    """Factors from ``1 - strength`` to ``1 + strength``."""
    factors = 1 + strength * (2 * torch.rand(3, count, 1, 1, 1, generator=generator) - 1)
    return Colours(*factors)


def coloured(batch: Tensor, colours: Colours) -> Tensor:
    """``(N, 3, H, W)`` in 0..1 -> the same, with brightness, contrast and saturation changed as torchvision does it."""
    device = batch.device
    grey_weights = torch.tensor([0.2989, 0.587, 0.114], device=device).view(1, 3, 1, 1)
    batch = (batch * colours.brightness.to(device)).clamp(0, 1)
    mean = (batch * grey_weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    batch = torch.lerp(mean, batch, colours.contrast.to(device)).clamp(0, 1)
    grey = (batch * grey_weights).sum(1, keepdim=True)
    return torch.lerp(grey, batch, colours.saturation.to(device)).clamp(0, 1)


def mixed(batch: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., https://arxiv.org/abs/1710.09412): each photo and its neighbour, laid over each other.

    Args:
        batch: ``(N, 3, H, W)``.
        targets: ``(N, K)`` probabilities.
        alpha: of the symmetric Beta distribution that the share is drawn from.
        generator: what is drawn from.
    """
    # Of two Gamma(alpha) the first's share is Beta(alpha, alpha).
    one, other = torch._standard_gamma(torch.full((2,), alpha), generator=generator).tolist()
    share = one / max(one + other, 1e-12)
    return torch.lerp(batch.roll(1, 0), batch, share), torch.lerp(targets.roll(1, 0), targets, share)

"""Random views beside torchvision's."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tv

from train.augment import View, coloured, cut, cut_all, mixed, random_colours, random_view


@pytest.mark.parametrize(("height", "width"), [(200, 300), (300, 120), (64, 640)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.35, 1.0)])
def test_pieces_are_distributed_as_torchvisions(height: int, width: int, scale: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(1)
    ours = [random_view(height, width, generator, scale) for _ in range(1500)]
    torch.manual_seed(2)
    blank = torch.empty(3, height, width)
    theirs = [RandomResizedCrop.get_params(blank, list(scale), [3 / 4, 4 / 3]) for _ in range(1500)]
    for mine, yours in (
        ([one.top for one in ours], [one[0] for one in theirs]),
        ([one.left for one in ours], [one[1] for one in theirs]),
        ([one.width * one.height for one in ours], [one[2] * one[3] for one in theirs]),
        ([one.width / one.height for one in ours], [one[3] / one[2] for one in theirs]),
    ):
        assert ks_2samp(mine, yours).pvalue > 1e-3
    assert 0.45 < np.mean([one.flip for one in ours]) < 0.55
    for one in ours:
        assert 0 <= one.left <= width - one.width and 0 <= one.top <= height - one.height


def test_a_piece_is_torchvisions_resized_crop() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 140, 3), dtype=np.uint8)
    for view in (View(10, 5, 70, 60, False), View(0, 0, 140, 90, True)):
        cropped = Image.fromarray(photo[view.top : view.top + view.height, view.left : view.left + view.width])
        theirs = np.asarray(tv.resize(cropped, [48, 48]))
        ours = cut(photo, view, 48)
        assert np.abs(ours.astype(int) - (theirs[:, ::-1] if view.flip else theirs)).mean() < 1.5
    with ThreadPoolExecutor(2) as pool:
        both = cut_all([photo, photo], [View(10, 5, 70, 60, False)] * 2, 48, pool)
    assert both.shape == (2, 48, 48, 3) and torch.equal(both[0], both[1])


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_colours_are_moved_as_torchvision_does(kind: str) -> None:
    batch = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    colours = random_colours(3, 0.4, torch.Generator().manual_seed(1))
    ones = torch.ones(3, 1, 1, 1)
    factors = getattr(colours, kind)
    assert ((factors > 0.6) & (factors < 1.4)).all()
    only = type(colours)(
        **{name: factors if name == kind else ones for name in ("brightness", "contrast", "saturation")}
    )
    ours = coloured(batch, only)
    for index, image in enumerate(batch):
        theirs = getattr(tv, f"adjust_{kind}")(image, float(factors[index]))
        torch.testing.assert_close(ours[index], theirs, atol=1e-3, rtol=1e-3)


def test_mixup_lays_photos_and_targets_over_each_other_alike() -> None:
    batch, targets = torch.eye(4)[:, :, None, None].expand(4, 4, 2, 2), torch.eye(4)
    images, wanted = mixed(batch, targets, 0.2, torch.Generator().manual_seed(3))
    torch.testing.assert_close(images[:, :, 0, 0], wanted)
    torch.testing.assert_close(wanted.sum(1), torch.ones(4))
    shares = []
    for seed in range(400):
        _, wanted = mixed(batch, targets, 0.2, torch.Generator().manual_seed(seed))
        shares.append(float(wanted[0, 0]))
    # Beta(0.2, 0.2): mean 1/2, variance 1 / (4 (2 * 0.2 + 1)).
    assert abs(np.mean(shares) - 0.5) < 0.06 and abs(np.var(shares) - 1 / (4 * 1.4)) < 0.03


def test_the_same_generator_gives_the_same_views() -> None:
    one, other = (
        [random_view(50, 60, generator) for _ in range(9)]
        for generator in (torch.Generator().manual_seed(5), torch.Generator().manual_seed(5))
    )
    assert one == other
    assert all(math.isfinite(view.width) for view in one)

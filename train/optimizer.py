"""What turns gradients into weights: groups of parameters that learn at their own rates, one cycle, an average."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from resnet.network import ResNet
from train.recipe import Recipe

#: Share of a one-cycle schedule in which the learning rate rises, and where it begins and ends.
RISE, LOWEST, LAST = 0.25, 0.04, 1e-3
#: From the photo to the names.
PARTS = ("stem", "layer1", "layer2", "layer3", "layer4", "fc")


def optimizer_for(network: ResNet, recipe: Recipe, others: Iterable[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """An optimizer in whose groups lower stages learn slower and vectors don't decay.

    Args:
        network: after `train.methods.freeze`; what is frozen is in no group.
        recipe: with the rates.
        others: parameters beside the network's; they learn as the head does.
    """
    groups: list[dict[str, Any]] = []
    for depth, part in enumerate(PARTS):
        slower = recipe.stage_decay ** (len(PARTS) - 2 - depth)
        largest = recipe.learning_rate * (recipe.head_factor if part == "fc" else slower)
        chosen = [one for path, one in network.named_parameters() if one.requires_grad and _part(path) == part]
        if part == "fc":
            chosen += others
        for matrices in (False, True):
            some = [one for one in chosen if (one.ndim > 1) == matrices]
            if some:
                decay = recipe.weight_decay if matrices else 0.0
                groups.append({"params": some, "lr": largest, "largest": largest, "weight_decay": decay})
    # Fused: one pass over the weights and their moments where the plain loop takes about ten.
    return (torch.optim.AdamW if recipe.adamw else torch.optim.Adam)(groups, fused=True)


def _part(path: str) -> str:
    first = path.split(".")[0]
    return first if first in PARTS else "stem"


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give each group that share of its largest rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["largest"] * factor


def rate(progress: float) -> float:
    """One cycle of the learning rate, as a share of its largest: up along half a cosine, then down along another."""
    if progress < RISE:
        return LOWEST + (1 - LOWEST) * (1 - math.cos(math.pi * progress / RISE)) / 2
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE))) / 2


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move an average towards the weights; at first faster, since it began with weights of no training.

    BatchNorms' running statistics are averaged along; they belong to the weights.

    References:
        Polyak & Juditsky 1992, https://doi.org/10.1137/0330046
    """
    decay = min(decay, (1 + step) / (10 + step))
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    numbers = [pair for pair in pairs if pair[0].is_floating_point()]
    means, values = zip(*numbers, strict=True)
    torch._foreach_lerp_(means, values, 1 - decay)
    for mean, value in pairs:
        if not mean.is_floating_point():
            mean.copy_(value)

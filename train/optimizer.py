"""What turns gradients into weights: groups of parameters that learn at their own rates, one cycle, an average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from resnet.network import ResNet
from train.methods import LEARNS
from train.recipe import Recipe

#: Share of a one-cycle schedule in which the learning rate rises, and where it begins and ends.
RISE, LOWEST, LAST = 0.25, 0.04, 1e-3
#: From the photo to the names. The stem stops learning with layer1, the head with layer4.
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
                groups.append({
                    "params": some, "lr": largest, "largest": largest, "until": learns_until(part, recipe.freeze_out),
                    "weight_decay": recipe.weight_decay if matrices else 0.0,
                })  # fmt: skip
    # Fused: one pass over the weights and their moments where the plain loop takes about ten.
    return (torch.optim.AdamW if recipe.adamw else torch.optim.Adam)(groups, fused=True)


def _part(path: str) -> str:
    first = path.split(".")[0]
    return first if first in PARTS else "stem"


def learns_until(part: str, freeze_out: float) -> float:
    """The share of the training after which a part stops: layer1 first, one stage after the other, layer4 at the end.

    References:
        Brock et al., FreezeOut, https://arxiv.org/abs/1706.04983
    """
    stage = min(max(PARTS.index(part) - 1, 0), 3)
    return freeze_out + (1 - freeze_out) * stage / 3


def _has_ended(until: float, progress: float) -> bool:
    """What learns to the end of the training never ends before it, however close the progress is."""
    return until <= progress and until < 1


def set_rates(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Give each group its rate: its own cycle ends where it stops learning."""
    for group in optimizer.param_groups:
        group["lr"] = group["largest"] * rate(min(1.0, progress / group["until"]))


def stop_learning(optimizer: torch.optim.Optimizer, progress: float) -> bool:
    """Take what has learnt to its end out of the backward pass; whether there was any."""
    ended = [group for group in optimizer.param_groups if _has_ended(group["until"], progress)]
    found = [one for group in ended for one in group["params"] if one.requires_grad]
    for one in found:
        one.requires_grad_(False)
    return bool(found)


def saved_by_freezing(depths: Sequence[int], recipe: Recipe, progress: float) -> float:
    """The share of a step's time that is saved by what has stopped learning.

    Each block costs about the same, by design, and two thirds of that are its backward pass.

    Args:
        depths: blocks of each stage.
        recipe: whose method says what has learnt at all.
        progress: of the training, from 0 to 1.
    """
    blocks = sum(
        depth
        for stage, depth in zip(PARTS[1:5], depths, strict=True)
        if stage in LEARNS[recipe.method] and _has_ended(learns_until(stage, recipe.freeze_out), progress)
    )
    return 2 / 3 * blocks / sum(depths)


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

"""What happens inside: where in the photo a class was seen (Grad-CAM), and what the strongest channels answer to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from resnet.network import ResNet

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class ActivationMap:
    """What one channel of a stage answered to an image.

    Args:
        channel: its index.
        mean: of its activations over all positions; what it is ranked by.
        maximum: of its activations.
        values: ``(h, w)`` activations, 0 and above since a ReLU comes last.
    """

    channel: int
    mean: float
    maximum: float
    values: npt.NDArray[np.float32]


def activation_maps(network: ResNet, image: Tensor, stage: str, count: int = 16) -> list[ActivationMap]:
    """The channels of a stage that answer most to an image, the strongest first.

    Args:
        network: a ResNet in evaluation mode, with or without a classifier.
        image: ``(1, 3, H, W)``, normalised.
        stage: ``"layer1"`` to ``"layer4"``.
        count: channels at most.

    Raises:
        ValueError: if there is no such stage.
    """
    (maps,) = stage_maps(network, image, stage).float().cpu()
    means, channels = maps.mean(dim=(1, 2)).topk(min(count, len(maps)))
    return [
        ActivationMap(channel, mean, float(maps[channel].max()), maps[channel].numpy())
        for channel, mean in zip(channels.tolist(), means.tolist(), strict=True)
    ]


@torch.no_grad()
def stage_maps(network: ResNet, batch: Tensor, stage: str) -> Tensor:
    """``(N, 3, H, W)`` images -> ``(N, C, h, w)``, what a stage gives to the next.

    Raises:
        ValueError: if there is no such stage.
    """
    if stage not in STAGES:
        raise ValueError(f"stage is {stage!r}; it must be one of {', '.join(STAGES)}")
    maps: Tensor = network.maxpool(network.relu(network.bn1(network.conv1(batch))))
    for name in STAGES[: STAGES.index(stage) + 1]:
        maps = network.get_submodule(name)(maps)
    return maps


def grad_cam(network: ResNet, batch: Tensor, class_index: int, stage: str = "layer4") -> npt.NDArray[np.float32]:
    """How much each position of a stage speaks for a class.

    The stage's maps are summed, each weighted by the mean gradient of the class's logit with respect to it, and what
    speaks against the class is cut off. Works on networks whose parameters are all frozen: the gradient is taken with
    respect to the maps, not to the weights.

    Args:
        network: a ResNet with a classifier, in evaluation mode.
        batch: ``(N, 3, H, W)`` normalised images.
        class_index: which logit to explain.
        stage: ``"layer1"`` to ``"layer4"``.

    Returns:
        ``(N, h, w)`` with the stage's resolution, each image's largest value 1 (all 0 where nothing speaks for it).

    Raises:
        ValueError: if the network has no classifier, or there is no such class or stage.

    References:
        Selvaraju et al., "Grad-CAM", https://arxiv.org/abs/1610.02391
    """
    if network.fc is None:
        raise ValueError("a network without a classifier has no class to explain")
    if not 0 <= class_index < network.fc.out_features:
        raise ValueError(f"class {class_index} is not one of {network.fc.out_features}")
    maps = stage_maps(network, batch, stage)
    if stage == STAGES[-1]:
        # Between these maps and the logit stand a mean and a row of the classifier: the gradient is that row, up to a
        # factor that the last line takes out again, and no backward pass is needed (Zhou et al., "CAM",
        # https://arxiv.org/abs/1512.04150).
        weights = network.fc.weight.detach()[class_index].view(1, -1, 1, 1)
    else:
        weights = _gradient(network, maps, class_index, stage).mean(dim=(2, 3), keepdim=True)
    heat = (weights * maps.detach()).sum(1).relu_()
    heat /= heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    return heat.float().cpu().numpy()


def _gradient(network: ResNet, maps: Tensor, class_index: int, stage: str) -> Tensor:
    """Of a class's logit with respect to a stage's maps, ``(N, C, h, w)``."""
    with torch.enable_grad():
        maps = maps.detach().requires_grad_()
        # The first block of the next stage adds in place on its own tensors only, so `maps` stays what it was.
        x = maps
        for name in STAGES[STAGES.index(stage) + 1 :]:
            x = network.get_submodule(name)(x)
        logit = network.forward_head(x)[:, class_index].sum()
        (gradient,) = torch.autograd.grad(logit, maps)
    return gradient

"""The ways to transfer what a network knows: which of its layers learn, and which stay as they were."""

from __future__ import annotations

from typing import Literal

from torch import nn

from resnet.network import ResNet

#: ``all``: every layer learns; ``last-stage``: layer4 and the head; ``head``: a new head alone; ``scratch``: every
#: layer, from random weights; ``tutorial``: every layer, with the tutorial's own settings.
Method = Literal["head", "last-stage", "all", "scratch", "tutorial"]
METHODS: tuple[Method, ...] = ("head", "last-stage", "all", "scratch", "tutorial")

#: Parts of the network, by the first word of their paths, that learn; the others are frozen.
LEARNS: dict[Method, tuple[str, ...]] = {
    "head": ("fc",),
    "last-stage": ("layer4", "fc"),
    "all": ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"),
    "scratch": ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"),
    "tutorial": ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"),
}


def freeze(network: ResNet, method: Method) -> list[str]:
    """Let those layers learn that the method trains, and no others.

    What a frozen BatchNorm feeds was learnt with its running statistics, so `train_mode` keeps these too.

    Args:
        network: on any device, the meta device included.
        method: see `METHODS`.

    Returns:
        Paths of the parameters that learn, in the order of the state dict.

    Raises:
        ValueError: if there is no such method.
    """
    if method not in LEARNS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    for path, parameter in network.named_parameters():
        parameter.requires_grad_(path.split(".")[0] in LEARNS[method])
    return [path for path, parameter in network.named_parameters() if parameter.requires_grad]


def train_mode(network: ResNet, statistics: bool = True) -> None:
    """``network.train()``, except that a frozen BatchNorm stays in evaluation mode.

    Args:
        network: after `freeze`.
        statistics: whether the BatchNorms that learn take means and variances of the batch. A batch of few photos gives
            noisy ones; a network that has seen a million photos has better ones already, and then only its scales and
            shifts learn.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not (statistics and module.weight.requires_grad):
            module.eval()

"""The ways to transfer what a network knows: which of its layers learn, and which stay as they were."""

from __future__ import annotations

from typing import Literal

from torch import nn

from resnet.network import ResNet

#: ``all``: every layer learns; ``last-stage``: layer4 and the head; ``head``: a new head alone; ``scratch``: every layer,
#: from random weights; ``tutorial``: every layer, with the tutorial's own settings.
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

    A frozen BatchNorm also keeps its running statistics: `train_mode` leaves it in evaluation, since what it feeds was
    learnt with these statistics.

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


def train_mode(network: ResNet) -> None:
    """``network.train()``, except that a BatchNorm whose weights are frozen stays in evaluation mode."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()

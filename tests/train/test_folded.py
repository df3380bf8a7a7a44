"""A network with its BatchNorms folded into its convolutions learns what the network itself learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnet.config import ResNetConfig
from resnet.network import ResNet
from train.folded import Folded, Maps
from train.methods import Method, freeze, train_mode

CONFIGS = [
    ResNetConfig("basic", (1, 2, 1, 1), num_classes=3),
    ResNetConfig("bottleneck", (1, 1, 1, 2), num_classes=3),
    ResNetConfig("bottleneck", (1, 1, 1, 1), num_classes=3, groups=32, width_per_group=4, stride_in_1x1=True),
]


def trained(config: ResNetConfig) -> ResNet:
    """A network whose BatchNorms have seen something, in double precision: only rounding may differ."""
    torch.manual_seed(1)
    network = ResNet(config).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return network


@pytest.mark.parametrize("method", ["all", "last-stage"])
@pytest.mark.parametrize("config", CONFIGS, ids=["basic", "bottleneck", "grouped"])
def test_the_same_maps_logits_and_gradients(config: ResNetConfig, method: Method) -> None:
    network = trained(config)
    learns = freeze(network, method)
    train_mode(network, statistics=False)
    images = torch.randn(3, 3, 64, 64, dtype=torch.double)
    found = []
    for forward in (Maps(network), Folded(network)):
        maps, logits = forward(images)
        (maps.square().mean() + logits.square().sum()).backward()
        gradients = {path: one.grad for path, one in network.named_parameters() if one.grad is not None}
        assert list(gradients) == learns
        found.append((maps.detach(), logits.detach(), gradients))
        network.zero_grad()
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_what_has_been_learnt_meanwhile_is_used() -> None:
    network = trained(CONFIGS[0])
    freeze(network, "last-stage")
    train_mode(network, statistics=False)
    folded, images = Folded(network), torch.randn(2, 3, 64, 64, dtype=torch.double)
    folded(images)[1].sum().backward()
    torch.optim.SGD([one for one in network.parameters() if one.requires_grad], 0.1).step()
    with torch.no_grad():
        torch.testing.assert_close(folded(images)[1], network(images), rtol=1e-9, atol=1e-9)

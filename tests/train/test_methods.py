"""What a transfer method trains: against the tutorial's own way of freezing, on torchvision's module names."""

from __future__ import annotations

from typing import cast

import pytest
import torch
import torchvision
from torch import nn

from resnet.config import VARIANTS
from resnet.network import ResNet
from train.methods import METHODS, Method, freeze, train_mode


def meta_network(name: str) -> ResNet:
    with torch.device("meta"):
        return ResNet(VARIANTS[name])


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_parameters_that_learn(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name)
    everything = [path for path, _ in theirs.named_parameters()]
    for one in theirs.parameters():
        one.requires_grad = False
    for one in (*theirs.layer4.parameters(), *theirs.fc.parameters()):
        one.requires_grad = True
    last = [path for path, one in theirs.named_parameters() if one.requires_grad]
    expected = {"head": ["fc.weight", "fc.bias"], "last-stage": last}
    for method in METHODS:
        network = meta_network(name)
        assert freeze(network, method) == expected.get(method, everything)
        learns = [path for path, one in network.named_parameters() if one.requires_grad]
        assert learns == expected.get(method, everything)


def test_a_method_can_follow_another() -> None:
    network = meta_network("resnet18")
    freeze(network, "head")
    assert len(freeze(network, "all")) == len(list(network.parameters()))


def test_frozen_batch_norms_keep_their_statistics() -> None:
    network = meta_network("resnet18")
    freeze(network, "last-stage")
    train_mode(network)
    for path, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == path.startswith("layer4"), path
    freeze(network, "all")
    train_mode(network)
    assert all(module.training for module in network.modules())
    train_mode(network, statistics=False)
    for module in network.modules():
        assert module.training != isinstance(module, nn.BatchNorm2d)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match=r"'lora'.*last-stage"):
        freeze(meta_network("resnet18"), cast(Method, "lora"))

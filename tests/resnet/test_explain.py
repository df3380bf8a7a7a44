"""Grad-CAM beside an independent computation: hooks on torchvision's network with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnet.classifier import fold_batch_norm
from resnet.config import VARIANTS, ResNetConfig
from resnet.explain import STAGES, activation_maps, grad_cam
from resnet.network import ResNet

CLASSES = 5


@pytest.fixture(scope="module", params=["basic", "bottleneck"])
def pair(request: pytest.FixtureRequest, random_state: Any) -> tuple[ResNet, nn.Module]:
    """Our network and torchvision's, with the same weights."""
    depths = (1, 1, 1, 2)
    block = {"basic": torchvision.models.resnet.BasicBlock, "bottleneck": torchvision.models.resnet.Bottleneck}
    ours = ResNet(ResNetConfig(request.param, depths, num_classes=CLASSES))
    theirs = torchvision.models.ResNet(block[request.param], list(depths), num_classes=CLASSES)
    state = random_state(ours, seed=11)
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    return ours.eval(), theirs.eval()


@pytest.fixture(scope="module")
def batch() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))


def _explainable(network: ResNet, batch: Tensor, stage: str) -> int:
    """A class that something of each image speaks for."""
    return next(
        index for index in range(CLASSES) if (grad_cam(network, batch, index, stage).max(axis=(1, 2)) > 0.9).all()
    )


def _by_hooks(network: nn.Module, batch: Tensor, class_index: int, stage: str) -> npt.NDArray[np.float32]:
    """The paper's equations, image by image, from what passes through the stage forwards and backwards."""
    seen: dict[str, Tensor] = {}

    def forward(_: nn.Module, __: Any, output: Tensor) -> None:
        seen["maps"] = output.detach().clone()
        output.register_hook(lambda gradient: seen.update(gradient=gradient.clone()))

    handle = network.get_submodule(stage).register_forward_hook(forward)
    heats = []
    for image in batch:
        network.zero_grad()
        network(image[None])[0, class_index].backward()
        maps, gradient = seen["maps"][0], seen["gradient"][0]
        alphas = [channel.mean() for channel in gradient]
        heat = sum((alpha * channel for alpha, channel in zip(alphas, maps, strict=True)), torch.zeros(maps.shape[1:]))
        heat = heat.clamp(min=0)
        heats.append(heat / heat.max() if heat.max() > 0 else heat)
    handle.remove()
    return torch.stack(heats).numpy()


@pytest.mark.parametrize("stage", ["layer4", "layer3"])
def test_it_is_what_hooks_on_torchvisions_network_give(
    pair: tuple[ResNet, nn.Module], batch: Tensor, stage: str
) -> None:
    ours, theirs = pair
    different = []
    for class_index in (0, 2, 4):
        expected = _by_hooks(theirs, batch, class_index, stage)
        heat = grad_cam(ours, batch, class_index, stage)
        assert heat.dtype == np.float32 and heat.shape == ((2, 2, 3) if stage == "layer4" else (2, 4, 6))
        np.testing.assert_allclose(heat, expected, atol=1e-4)
        different.append(heat)
    assert np.ptp(np.stack(different), axis=0).max() > 0.1, "each class has its own map"


def test_the_last_stage_is_the_one_by_default(pair: tuple[ResNet, nn.Module], batch: Tensor) -> None:
    np.testing.assert_array_equal(grad_cam(pair[0], batch, 1), grad_cam(pair[0], batch, 1, "layer4"))


@pytest.mark.parametrize("stage", STAGES)
def test_frozen_weights_change_nothing(pair: tuple[ResNet, nn.Module], batch: Tensor, stage: str) -> None:
    network = pair[0]
    index = _explainable(network, batch, stage)
    trainable = grad_cam(network, batch, index, stage)
    network.requires_grad_(False)
    try:
        frozen = grad_cam(network, batch, index, stage)
        with torch.no_grad():
            without = grad_cam(network, batch, index, stage)
    finally:
        network.requires_grad_(True)
    np.testing.assert_array_equal(frozen, trainable)
    np.testing.assert_array_equal(without, trainable)


def test_nothing_is_left_behind(pair: tuple[ResNet, nn.Module], batch: Tensor) -> None:
    """No gradients on the weights, no hooks, the batch as it was."""
    network, before = pair[0], batch.clone()
    network.zero_grad()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    grad_cam(network, batch, 0)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(batch, before)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize("stage", STAGES)
def test_the_folded_network_sees_the_same(pair: tuple[ResNet, nn.Module], batch: Tensor, stage: str) -> None:
    index = _explainable(pair[0], batch, stage)
    expected = grad_cam(pair[0], batch, index, stage)
    folded = fold_batch_norm(pair[0])
    np.testing.assert_allclose(grad_cam(folded, batch, index, stage), expected, atol=2e-3)
    channels_last = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    np.testing.assert_allclose(grad_cam(channels_last, batch, index, stage), expected, atol=2e-3)


def test_each_image_has_its_own_scale(pair: tuple[ResNet, nn.Module], batch: Tensor) -> None:
    together = grad_cam(pair[0], batch, 1)
    for heat, image in zip(together, batch, strict=True):
        np.testing.assert_allclose(heat, grad_cam(pair[0], image[None], 1)[0], atol=1e-4)
        assert heat.min() >= 0 and heat.max() in (pytest.approx(1), 0)


def test_where_nothing_speaks_for_a_class_there_is_nothing(random_state: Callable[..., Any], batch: Tensor) -> None:
    network = ResNet(VARIANTS["resnet18"].with_classes(2))
    network.load_state_dict(random_state(network, seed=1))
    network.eval()
    assert network.fc is not None
    network.fc.weight.data[0] = -1  # every map, none of them negative, speaks against the first class
    network.fc.weight.data[1] = 1
    assert (grad_cam(network, batch, 0) == 0).all()
    np.testing.assert_allclose(grad_cam(network, batch, 1).max((1, 2)), 1, rtol=1e-6)


@pytest.mark.parametrize("class_index", [-1, CLASSES, 1000])
def test_there_must_be_such_a_class(pair: tuple[ResNet, nn.Module], batch: Tensor, class_index: int) -> None:
    with pytest.raises(ValueError, match=f"class {class_index}"):
        grad_cam(pair[0], batch, class_index)


@pytest.mark.parametrize("stage", ["layer5", "conv1", ""])
def test_there_must_be_such_a_stage(pair: tuple[ResNet, nn.Module], batch: Tensor, stage: str) -> None:
    with pytest.raises(ValueError, match="layer4"):
        grad_cam(pair[0], batch, 0, stage)


def test_a_base_has_no_class_to_explain(batch: Tensor) -> None:
    with pytest.raises(ValueError, match="classifier"):
        grad_cam(ResNet(VARIANTS["resnet18"].with_classes(0)), batch, 0)


@pytest.mark.parametrize("stage", STAGES)
def test_the_strongest_maps_are_those_of_torchvisions_stage(
    pair: tuple[ResNet, nn.Module], batch: Tensor, stage: str
) -> None:
    ours, theirs = pair
    seen: list[Tensor] = []
    handle = theirs.get_submodule(stage).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    with torch.no_grad():
        theirs(batch[:1])
    handle.remove()
    (maps,) = seen[0]
    for network in (ours, fold_batch_norm(ours)):
        found = activation_maps(network, batch[:1], stage)
        assert len(found) == 16 and found == sorted(found, key=lambda one: -one.mean)
        means = maps.mean(dim=(1, 2))
        assert found[-1].mean >= float(means.sort(descending=True).values[16]) - 1e-4, "none stronger is left out"
        for one in found:
            np.testing.assert_allclose(one.values, maps[one.channel].numpy(), atol=1e-3, rtol=1e-3)
            assert one.mean == pytest.approx(float(means[one.channel]), abs=1e-3)
            assert one.maximum == pytest.approx(float(one.values.max())) and one.values.min() >= 0
    assert len(activation_maps(ours, batch[:1], stage, count=10**6)) == len(maps)


def test_maps_of_an_unknown_stage(pair: tuple[ResNet, nn.Module], batch: Tensor) -> None:
    with pytest.raises(ValueError, match=r"layer9.*layer4"):
        activation_maps(pair[0], batch[:1], "layer9")

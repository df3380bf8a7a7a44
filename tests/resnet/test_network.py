"""The network beside torchvision's and timm's: the same weights give the same logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from resnet.config import VARIANTS, ResNetConfig
from resnet.network import BasicBlock, Bottleneck, ResNet

IN_TORCHVISION = [name for name in VARIANTS if hasattr(torchvision.models, name)]
IN_TIMM = [name for name in VARIANTS if timm.is_model(name)]
#: At 224 pixels more than this many weights take too long for a test.
LIGHT = 26_000_000


def _meta(build: Callable[..., nn.Module], *args: Any, **settings: Any) -> nn.Module:
    with torch.device("meta"):  # nothing is computed for weights that are replaced anyway
        return build(*args, **settings)


def _load(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest, random_state: Any) -> tuple[str, ResNet, dict[str, Tensor]]:
    """A variant's name, the network with random weights, and those weights (shared, not copied)."""
    network = _meta(ResNet, VARIANTS[request.param])
    state = random_state(network, seed=list(VARIANTS).index(request.param))
    return request.param, _load(network, state), state


def _batch(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def _assert_same_logits(ours: nn.Module, theirs: nn.Module, sizes: list[tuple[int, int]]) -> None:
    for height, width in sizes:
        batch = _batch(2 if height < 200 else 1, 3, height, width)
        expected = theirs(batch)
        assert expected.std() > 0.05, "logits that are all alike would agree with anything"
        assert expected.abs().max() < 50, "logits so large that 1e-5 is beyond fp32"
        torch.testing.assert_close(ours(batch), expected, rtol=0, atol=1e-5)


def _sizes(config: ResNetConfig) -> list[tuple[int, int]]:
    return [(97, 129), (64, 64)] if config.num_parameters < LIGHT else [(65, 97)]


def test_nothing_is_left_out() -> None:
    assert set(VARIANTS) == {*IN_TORCHVISION, *IN_TIMM}
    assert {"resnet26", "resnet200", "resnext101_32x4d"} <= set(IN_TIMM)
    assert set(IN_TORCHVISION) == {
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
    }


def test_same_logits_as_torchvision_and_timm(variant: tuple[str, ResNet, dict[str, Tensor]]) -> None:
    name, ours, state = variant
    references = [_meta(getattr(torchvision.models, name))] if name in IN_TORCHVISION else []
    references += [_meta(timm.create_model, name)] if name in IN_TIMM else []
    for theirs in references:
        assert list(ours.state_dict()) == list(theirs.state_dict())
        _assert_same_logits(ours, _load(theirs, state), _sizes(ours.config))


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_v1_is_torchvision_with_the_stride_in_the_first_1x1(name: str, random_state: Any) -> None:
    config = dataclasses.replace(VARIANTS[name], stride_in_1x1=True)
    theirs = _meta(getattr(torchvision.models, name))
    state = random_state(theirs, seed=3)
    _load(theirs, state)
    newer = _load(_meta(ResNet, VARIANTS[name]), state)
    batch = _batch(2, 3, 97, 129)
    with torch.inference_mode():
        assert (newer(batch) - theirs(batch)).abs().max() < 1e-5
        for block in theirs.modules():
            if isinstance(block, torchvision.models.resnet.Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        assert (newer(batch) - theirs(batch)).abs().max() > 1e-2, "the stride's place must matter here"
    _assert_same_logits(_load(_meta(ResNet, config), state), theirs, [(97, 129), (64, 64)])


@pytest.mark.parametrize("name", ["resnet18", "resnet26", "resnext50_32x4d"])
@torch.inference_mode()
def test_without_a_classifier_the_features_are_timms(name: str, random_state: Any) -> None:
    theirs = _meta(timm.create_model, name, num_classes=0)
    ours = _meta(ResNet, VARIANTS[name].with_classes(0))
    assert isinstance(ours, ResNet)
    assert ours.fc is None
    assert list(ours.state_dict()) == list(theirs.state_dict())
    state = random_state(theirs, seed=1)
    _load(ours, state)
    _load(theirs, state)
    batch = _batch(2, 3, 97, 129)
    pooled, maps = ours(batch), ours.forward_features(batch)
    assert pooled.shape == (2, ours.config.num_features)
    assert maps.shape == (2, ours.config.num_features, 4, 5)
    torch.testing.assert_close(pooled, theirs(batch), rtol=0, atol=1e-5)
    torch.testing.assert_close(maps, theirs.forward_features(batch), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.forward_head(maps), pooled, rtol=0, atol=0)


@torch.inference_mode()
def test_the_head_reads_the_maps(random_state: Any) -> None:
    network = _meta(ResNet, VARIANTS["resnet18"].with_classes(5))
    assert isinstance(network, ResNet) and network.fc is not None
    state = random_state(network, seed=2)
    _load(network, state)
    batch = _batch(2, 3, 64, 96)
    maps = network.forward_features(batch)
    assert maps.shape == (2, 512, 2, 3)
    expected = maps.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(batch), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.forward_head(maps), network(batch), rtol=0, atol=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_shortcuts_are_dashed_only_where_the_shape_changes(name: str) -> None:
    network = _meta(ResNet, VARIANTS[name])
    blocks = {key: block for key, block in network.named_modules() if isinstance(block, BasicBlock | Bottleneck)}
    assert len(blocks) == sum(VARIANTS[name].depths)
    dashed = {key for key, block in blocks.items() if block.downsample is not None}
    changes = {"layer2.0", "layer3.0", "layer4.0"}
    if VARIANTS[name].block == "bottleneck":
        changes.add("layer1.0")  # 64 channels become 256 there, at the same resolution
    assert dashed == changes
    for key in dashed:
        convolution = network.get_submodule(f"{key}.downsample.0")
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.kernel_size == (1, 1)
        assert convolution.stride == ((1, 1) if key == "layer1.0" else (2, 2))


@torch.inference_mode()
def test_a_solid_shortcut_passes_its_input_on(random_state: Any) -> None:
    """With F switched off by its last BatchNorm, what is left of a block is relu(x)."""
    block = Bottleneck(ResNetConfig("bottleneck", (1, 1, 1, 1)), in_channels=256, planes=64, stride=1).eval()
    block.load_state_dict(random_state(block, seed=4))
    nn.init.zeros_(block.bn3.weight)
    nn.init.zeros_(block.bn3.bias)
    x = _batch(1, 256, 5, 6)
    before = x.clone()
    torch.testing.assert_close(block(x), x.relu(), rtol=0, atol=0)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "resnext50_32x4d"])
def test_weights_start_as_he_proposes(name: str) -> None:
    torch.manual_seed(0)
    for key, module in ResNet(VARIANTS[name]).named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), key
            assert module.bias is None, key
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all(), key


def test_it_trains() -> None:
    """Every weight gets a gradient, in training mode and through the in-place sums."""
    torch.manual_seed(0)
    network = ResNet(ResNetConfig("bottleneck", (2, 1, 1, 2), groups=4, width_per_group=16, num_classes=3)).train()
    loss = nn.functional.cross_entropy(network(_batch(4, 3, 64, 64)), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, key

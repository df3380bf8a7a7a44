"""ResNetConfig: what is refused, and how much it says a network weighs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torchvision

from resnet.config import VARIANTS, ResNetConfig, variant_name
from resnet.network import ResNet

#: Shapes that nobody has a name for.
ODD_CONFIGS = [
    ResNetConfig("basic", (1, 1, 1, 1), num_classes=1),
    ResNetConfig("basic", (2, 2, 2, 3), num_classes=5),
    ResNetConfig("basic", (5, 1, 2, 1), include_top=False),
    ResNetConfig("bottleneck", (1, 2, 1, 3), groups=2, width_per_group=48, num_classes=7),
    ResNetConfig("bottleneck", (2, 1, 1, 1), width_per_group=100, stride_in_1x1=True, num_classes=11),
    ResNetConfig("bottleneck", (1, 1, 1, 2), groups=8, width_per_group=8, include_top=False),
]


def _parameters(config: ResNetConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ResNet(config).parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_counts_its_parameters(name: str) -> None:
    assert VARIANTS[name].num_parameters == _parameters(VARIANTS[name])


@pytest.mark.parametrize("name", [name for name in VARIANTS if hasattr(torchvision.models, name)])
def test_a_variant_has_as_many_parameters_as_torchvision_publishes(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert VARIANTS[name].num_parameters == published


@pytest.mark.parametrize("config", ODD_CONFIGS, ids=str)
def test_a_network_without_a_name_counts_its_parameters(config: ResNetConfig) -> None:
    assert config.num_parameters == _parameters(config)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("classes", [0, 5])
def test_another_classifier_changes_the_count_by_its_own_size(name: str, classes: int) -> None:
    config = VARIANTS[name].with_classes(classes)
    features = 512 if config.block == "basic" else 2048
    assert config.num_features == features
    assert VARIANTS[name].num_parameters - config.num_parameters == (features + 1) * (1000 - classes)


def test_the_classifier_comes_and_goes() -> None:
    config = VARIANTS["resnet50"]
    base = config.with_classes(0)
    assert not base.include_top
    assert base.with_classes(7) == dataclasses.replace(config, num_classes=7)
    with pytest.raises(ValueError, match="include_top=False"):
        config.with_classes(-1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"block": "inverted"}, "basic, bottleneck"),
        ({"depths": (2, 2, 2)}, "four stages"),
        ({"depths": (2, 2, 2, 2, 2)}, "four stages"),
        ({"depths": (2, 0, 2, 2)}, "four stages"),
        ({"depths": (2, 2, 2, -1)}, "four stages"),
        ({"groups": 0}, "at least 1"),
        ({"width_per_group": 0}, "at least 1"),
        ({"num_classes": 0}, "include_top=False"),
        ({"num_classes": -5}, "include_top=False"),
        ({"block": "basic", "groups": 32}, "no groups"),
        ({"block": "basic", "width_per_group": 128}, "width_per_group"),
        ({"block": "basic", "stride_in_1x1": True}, "no 1x1"),
    ],
    ids=lambda value: str(value),
)
def test_what_can_not_be_built_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ResNetConfig(**({"block": "bottleneck", "depths": (1, 1, 1, 1)} | wrong))  # type: ignore[arg-type]


def test_a_config_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        VARIANTS["resnet18"].num_classes = 5  # type: ignore[misc]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_known_by_its_body(name: str) -> None:
    config = VARIANTS[name]
    assert variant_name(config.with_classes(3)) == name
    assert variant_name(config.with_classes(0)) == name
    if config.block == "bottleneck":
        assert variant_name(dataclasses.replace(config, stride_in_1x1=True)) == name


def test_a_body_without_a_name_has_none() -> None:
    assert [variant_name(config) for config in ODD_CONFIGS] == [None] * len(ODD_CONFIGS)

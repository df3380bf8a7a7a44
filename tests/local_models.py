"""Checkpoints made by the real timm and transformers from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf
from torch import nn
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification


def as_trained(build: Callable[..., nn.Module], *arguments: Any, seed: int = 0, **named: Any) -> nn.Module:
    """A network as if it had been trained: BatchNorm's statistics, scales and shifts are far from the identity.

    Args:
        build: a class or a function that makes the network of `arguments` and `named`.
        seed: of its weights.
    """
    with torch.device("meta"):  # else most of the time would go into weights that are replaced at once
        network = build(*arguments, **named)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            value.fill_(7)
        elif key.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        elif key.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.ndim == 1 and key.endswith("weight"):
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.3)
        elif value.ndim == 1:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        else:
            fan_in = value[0].numel()
            value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5)
    return network.eval()


def write_timm(folder: Path, name: str = "resnet18.a1_in1k", seed: int = 0) -> None:
    """What timm uploads for that name, with weights from a seed instead of the trained ones."""
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False)
    _sharpen(model.get_classifier())
    save_for_hf(model, folder, safe_serialization=True)


def write_base(folder: Path, layers: Sequence[int] = (1, 1, 1, 1), size: int = 64, seed: int = 0) -> nn.Module:
    """A base as timm uploads it, for photos of so many pixels, which names nothing; timm's own network of it."""
    arguments = {"layers": list(layers), "num_classes": 0}
    shape = (3, size, size)
    facts = {"input_size": shape, "test_input_size": shape, "license": "mit"}
    named = {"pretrained": False, "pretrained_cfg_overlay": facts, **arguments}
    model = as_trained(timm.create_model, "resnet18", seed=seed, **named)
    save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    return model


def write_transformers(folder: Path, labels: Sequence[str], seed: int = 0) -> None:
    """The smallest ResNet that transformers and we can build, 5 M parameters, with those labels."""
    torch.manual_seed(seed)
    config = ResNetConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[64, 128, 256, 512],
        layer_type="basic",
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    model = ResNetForImageClassification(config).eval()
    _sharpen(model.classifier[1])
    model.save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875).save_pretrained(folder)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))


@torch.no_grad()
def _sharpen(classifier: torch.nn.Linear) -> None:
    """Weights from a seed find all classes equally likely; larger ones make up their mind, so that ranks are stable."""
    classifier.weight.normal_(0, 0.2)

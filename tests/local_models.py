"""Checkpoints made by the real timm and transformers from a seed, and the Hub on loopback that serves them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torch
from timm.models import save_for_hf
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification


def local_hub(shared: Path) -> ModuleType:
    """The module `shared/tools/local_hub.py`, whose `LocalHub` the real client talks to."""
    spec = importlib.util.spec_from_file_location("local_hub", shared / "tools" / "local_hub.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def write_timm(folder: Path, name: str = "resnet18.a1_in1k", seed: int = 0) -> None:
    """What timm uploads for that name, with weights from a seed instead of the trained ones."""
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False)
    _sharpen(model.get_classifier())
    save_for_hf(model, folder, safe_serialization=True)


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

"""The first blocks of a deeper network: the same numbers as torchvision's network that is cut there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.__main__ import main
from train.drawn import draw
from train.shallower import shallower
from weights.checkpoint import Checkpoint, Source, read_folder, write_folder


def of(config: ResNetConfig) -> Checkpoint:
    """A checkpoint with weights of no training, BatchNorm statistics included."""
    torch.manual_seed(5)
    network = ResNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    names = tuple(f"class {index}" for index in range(config.num_classes)) if config.include_top else ()
    return Checkpoint(
        config, network.state_dict(), label_names=names, preprocess=Preprocess(size=64), source=Source("deep")
    )


@pytest.mark.parametrize(("deep", "shallow"), [("resnet34", "resnet18"), ("resnet152", "resnet101"), ("resnet18",) * 2])
def test_it_sees_what_torchvisions_network_without_those_blocks_sees(deep: str, shallow: str) -> None:
    checkpoint = of(VARIANTS[deep].with_classes(7))
    found = shallower(checkpoint, shallow)
    assert found.architecture == shallow and found.label_names == ()
    theirs = models.get_model(deep, num_classes=7).eval()
    theirs.load_state_dict(dict(checkpoint.state_dict))
    for stage, depth in enumerate(VARIANTS[shallow].depths, 1):
        setattr(theirs, f"layer{stage}", getattr(theirs, f"layer{stage}")[:depth])
    theirs.fc = nn.Identity()
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(found.network()(photos), theirs(photos), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("deep", "shallow", "words"),
    [
        (VARIANTS["resnet18"], "resnet34", "deep is a resnet18 and holds no resnet34"),
        (VARIANTS["resnet50"], "resnet18", "deep is a resnet50 and holds no resnet18"),
        (VARIANTS["resnet18"], "resnet9", "no architecture 'resnet9'; choose one of resnet18, resnet34"),
    ],
)
def test_what_it_does_not_hold_is_refused(deep: ResNetConfig, shallow: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        shallower(of(deep.with_classes(0)), shallow)


@pytest.mark.parametrize("method", ["all", "scratch"])
def test_a_run_that_ends_with_the_smaller_network(method: str, tmp_path: Path) -> None:
    draw(tmp_path / "shapes", per_class=4)
    write_folder(of(ResNetConfig("basic", (2, 2, 2, 3)).with_classes(0)), tmp_path / "deep")
    data, base, out = str(tmp_path / "shapes"), str(tmp_path / "deep"), str(tmp_path / "out")
    options = ["--method", method, "--architecture", "resnet18", "--epochs", "1", "--image-size", "32", "--out", out]
    assert main([data, "--base", base, *options]) == 0
    found = read_folder(Path(out))
    assert found.architecture == "resnet18" and len(found.label_names) == 4

"""Files that the tutorial and others leave behind, read as checkpoints."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from resnet.config import ResNetConfig
from resnet.preprocess import Preprocess
from weights.checkpoint import Source
from weights.load import load

LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
INDICES = json.dumps({str(index): label for index, label in enumerate(LABELS)})


def _prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: collections.OrderedDict(state),
        lambda state: {"state_dict": state, "epoch": 3, "best_acc1": 91.5, "arch": "resnet"},
        lambda state: {"model": state, "args": {"lr": 0.1, "sizes": [1, 2]}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: _prefixed(state, "module."),
        lambda state: {"state_dict": _prefixed(state, "module.")},
        lambda state: {"model": _prefixed(state, "module.")},
        lambda state: _prefixed(state, "_orig_mod."),
        lambda state: {key: torch.nn.Parameter(value.float()) for key, value in state.items()},
    ],
    ids=[
        "plain",
        "ordered",
        "state_dict",
        "model",
        "nested",
        "module",
        "both",
        "model+module",
        "compiled",
        "parameters",
    ],
)
def test_state_dicts_are_found_however_they_were_saved(
    tmp_path: Path, state: Any, logits: Tensor, same_logits: Any, wrap: Callable[[Any], Any], zipped: bool
) -> None:
    path = tmp_path / "resNet.pth"
    torch.save(wrap(state), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load(str(path))
    same_logits(checkpoint, logits)
    assert checkpoint.label_names == tuple(f"class {index}" for index in range(5))


def test_an_optimizer_beside_the_weights_does_no_harm(
    tmp_path: Path, network: Any, state: Any, logits: Tensor, same_logits: Any
) -> None:
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    torch.save({"optimizer": optimizer.state_dict(), "model": state}, tmp_path / "last.pth")
    same_logits(load(str(tmp_path / "last.pth")), logits)


def test_the_tutorials_names_are_read_from_beside_it(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "resNet34.pth")
    (tmp_path / "class_indices.json").write_text(INDICES)
    checkpoint = load(str(tmp_path / "resNet34.pth"))
    assert checkpoint.label_names == LABELS
    assert checkpoint.source == Source(str(tmp_path / "resNet34.pth"), path=(tmp_path / "resNet34.pth").resolve())


def test_the_tutorials_pretrained_file_keeps_imagenets_names(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.resnet34().state_dict()
    zeros = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    torch.save(zeros, tmp_path / "resnet34-pre.pth")
    (tmp_path / "class_indices.json").write_text(INDICES)
    checkpoint = load(str(tmp_path / "resnet34-pre.pth"))
    assert checkpoint.architecture == "resnet34"
    assert checkpoint.label_names == tuple(torchvision.models.ResNet34_Weights.DEFAULT.meta["categories"])
    assert checkpoint.preprocess == Preprocess(224, "bilinear", 0.875)


def test_names_that_do_not_match_the_file_are_refused(tmp_path: Path, state: Any, refused: Any) -> None:
    torch.save(state, tmp_path / "resNet34.pth")
    (tmp_path / "class_indices.json").write_text(json.dumps({"0": "a", "1": "b"}))
    assert "2 class names for 5 outputs" in str(refused("weights.labels", load, str(tmp_path / "resNet34.pth")))
    (tmp_path / "class_indices.json").write_text(json.dumps({"daisy": 1}))
    refused("weights.config", load, str(tmp_path / "resNet34.pth"))
    (tmp_path / "class_indices.json").write_text("daisy, dandelion")
    refused("weights.json", load, str(tmp_path / "resNet34.pth"))


def test_a_lone_safetensors_file_is_read(tmp_path: Path, state: Any, logits: Tensor, same_logits: Any) -> None:
    save_file(state, tmp_path / "some.safetensors")
    same_logits(load(str(tmp_path / "some.safetensors")), logits)


def test_a_file_without_a_classifier_is_a_base(tmp_path: Path, state: Any, refused: Any, a_photo: Image.Image) -> None:
    torch.save({key: value for key, value in state.items() if not key.startswith("fc.")}, tmp_path / "base.pth")
    checkpoint = load(str(tmp_path / "base.pth"))
    assert checkpoint.label_names == ()
    assert not checkpoint.config.include_top
    assert "fine-tuned" in str(refused("model.base", checkpoint.classifier("cpu").predict, [a_photo]))


def test_only_the_strides_of_a_bottleneck_are_a_guess(train: Any, tmp_path: Path) -> None:
    """They can't be seen in shapes; torchvision's place is taken, whose file it most likely is."""
    network = train(torchvision.models.ResNet, torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=3)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth")).config == ResNetConfig("bottleneck", (1, 1, 1, 1), num_classes=3)

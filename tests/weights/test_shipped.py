"""The checkpoint that comes with the project, and a base without classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from resnet.config import ResNetConfig
from tests.local_models import write_base
from tests.weights.test_checkpoint import LABELS
from weights.catalog import SHIPPED
from weights.checkpoint import read_folder, write_folder
from weights.load import load


def test_the_shipped_checkpoint_needs_no_network(monkeypatch: pytest.MonkeyPatch, a_photo: Image.Image) -> None:
    import socket

    def refuse(*arguments: object) -> None:
        raise AssertionError("no network is needed for it")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    checkpoint = load("flowers", local=False)
    assert checkpoint.architecture == "resnet18"
    assert checkpoint.label_names == LABELS
    assert checkpoint.license == "mit"
    (row,) = checkpoint.classifier("cpu").predict([a_photo])
    assert abs(sum(prediction.probability for prediction in row.predictions) - 1) < 1e-5


def test_the_shipped_files_travel_in_plain_git() -> None:
    sizes = {file.name: file.stat().st_size for file in SHIPPED.iterdir()}
    assert max(sizes.values()) < 9_000_000, sizes
    assert {"README.md", "config.json", "class_indices.json", "model.safetensors.index.json"} <= set(sizes)
    for part in SHIPPED.glob("*.safetensors"):
        for key, value in load_file(part).items():
            assert value.dtype in (torch.float16, torch.float32, torch.int64)
            assert (value.dtype == torch.float16) == ("conv" in key or "downsample.0" in key or key == "fc.weight")


def test_the_card_of_the_shipped_checkpoint_says_what_was_measured() -> None:
    """`bench.shipped` measures it anew, on the photos that its training had kept apart."""
    told = json.loads((SHIPPED / "metrics.json").read_text())
    shipped = load("flowers")
    assert told["calibration"]["temperature"] == shipped.temperature
    assert (told["none_of_these"]["score"], told["none_of_these"]["threshold"]) == (
        shipped.rule.score, shipped.rule.threshold,
    )  # fmt: skip
    assert told["photos"] == sum(one["support"] for one in told["classes"]) == 390
    assert told["accuracy"]["value"] == told["accuracy"]["right"] / told["photos"]
    card = (SHIPPED / "README.md").read_text()
    assert f"| {told['photos']} | {100 * told['accuracy']['value']:.1f} % (" in card
    for one in told["classes"]:
        assert f"| {one['name']} | {one['support']} | {100 * one['precision']['value']:.1f} % |" in card


def test_the_shipped_checkpoint_reads_as_timm_reads_it(tmp_path: Path, pixels: Tensor, same_logits: Any) -> None:
    """timm reads no shards, so they are joined first."""
    shipped = load("flowers")
    write_folder(shipped, tmp_path / "joined")
    network = timm.create_model(f"local-dir:{tmp_path / 'joined'}", pretrained=True).eval()
    with torch.inference_mode():
        same_logits(shipped, network(pixels))


def test_a_base_of_timms_reads_as_timm_reads_it(tmp_path: Path, pixels: Tensor, same_logits: Any) -> None:
    network = write_base(tmp_path / "base", layers=(2, 2, 2, 3))
    checkpoint = read_folder(tmp_path / "base")
    with torch.inference_mode():
        same_logits(checkpoint, network(pixels))
    assert checkpoint.config == ResNetConfig("basic", (2, 2, 2, 3), include_top=False)

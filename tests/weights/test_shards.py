"""Checkpoints in several files, as transformers writes them, safetensors and pickles, on disk and from the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from tests.hub.local_hub import LocalHub
from weights.hub import Hub
from weights.load import load

SHARD_BYTES = 4_000_000


@pytest.fixture(scope="module")
def theirs(train: Any) -> Any:
    config = transformers.ResNetConfig(
        layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[1, 1, 1, 1], id2label={0: "a", 1: "b", 2: "c"}
    )
    return train(transformers.ResNetForImageClassification, config)


@pytest.fixture(scope="module")
def expected(theirs: Any, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return theirs(pixels).logits


def write(model: Any, folder: Path, suffix: str) -> None:
    """transformers' own shards; as pickles by the Hub's client, since transformers writes no more of these."""
    model.save_pretrained(folder, max_shard_size=SHARD_BYTES)
    if suffix == ".bin":
        for file in folder.glob("model*"):
            file.unlink()
        save_torch_state_dict(
            model.state_dict(), folder, filename_pattern="pytorch_model{suffix}.bin", max_shard_size=SHARD_BYTES,
            safe_serialization=False,
        )  # fmt: skip
    assert len(list(folder.glob(f"*-of-*{suffix}"))) > 2
    assert len(list(folder.glob(f"*{suffix}.index.json"))) == 1


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_load_as_the_whole_does(
    tmp_path: Path, theirs: Any, expected: Tensor, same_logits: Any, refused: Any, suffix: str
) -> None:
    write(theirs, tmp_path, suffix)
    found = load(str(tmp_path))
    same_logits(found, expected)
    assert found.label_names == ("a", "b", "c")
    gone = sorted(tmp_path.glob(f"*-of-*{suffix}"))[1]
    gone.unlink()
    assert gone.name in str(refused("weights.shards", load, str(tmp_path)))


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("local", [True, False], ids=["owner", "visitor"])
def test_shards_from_the_hub_load_as_the_whole_does(
    tmp_path: Path, theirs: Any, expected: Tensor, same_logits: Any, suffix: str, local: bool
) -> None:
    write(theirs, tmp_path / "hub" / "lab" / "parts", suffix)
    with LocalHub(tmp_path / "hub") as server:
        hub = Hub(endpoint=server.url, cache_dir=tmp_path / "cache", token=False)
        same_logits(load("lab/parts", hub=hub, local=local), expected)


@pytest.mark.parametrize("named", ["../../etc/passwd", "/etc/passwd", "sub/a.bin", "model.safetensors", "config.json"])
def test_an_index_of_pickles_names_no_other_files(tmp_path: Path, refused: Any, named: str) -> None:
    config = {"architecture": "resnet18", "num_classes": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": named}}))
    assert named in str(refused("weights.shards", load, str(tmp_path)))


def test_a_model_in_thousands_of_files_is_refused(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 3}))
    names = [f"pytorch_model-{number}.bin" for number in range(300)]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {name: name for name in names}}))
    refused("weights.many_shards", load, str(tmp_path))

"""What stands in a repository: fetched, or refused before its weights are sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, ModelCardData
from torch import Tensor

import weights.hub
import weights.load
from tests.hub.local_hub import LocalHub
from tests.local_models import write_base
from tests.weights.hubs import WEIGHTS, downloads
from weights.hub import Hub, Listing
from weights.load import load


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("vit", "weights.not_resnet", "lab/vit is a vit_base_patch16_224"),
        ("bert", "weights.not_resnet", "lab/bert is a bert model"),
        ("no-config", "weights.not_resnet", "without a config.json"),
        ("broken-config", "weights.json", "config.json of lab/broken-config"),
        ("no-weights", "weights.none", "model.safetensors or pytorch_model.bin"),
        ("index-up", "weights.shards", "../../../../etc/passwd"),
        ("index-root", "weights.shards", "/etc/passwd"),
        ("index-absent", "weights.shards", "model-00001-of-00002.safetensors"),
        ("index-below", "weights.shards", "sub/model.safetensors"),
        ("index-pickle", "weights.shards", "pytorch_model.bin"),
        ("index-empty", "weights.shards", "no file"),
        ("index-list", "weights.shards", "no file"),
    ],
)
def test_what_is_no_resnet_is_refused_before_its_weights_are_sent(
    client: Hub, hub: Any, refused: Any, name: str, code: str, words: str
) -> None:
    assert words in str(refused(code, load, f"lab/{name}", hub=client))
    assert not [file for file in downloads(hub) if not file.endswith(".json")]
    stored = {path.resolve() for path in client.cache_dir.rglob("*")}
    assert all(path.is_relative_to(client.cache_dir.resolve()) for path in stored)


def test_weights_of_another_architecture_are_refused(client: Hub, refused: Any) -> None:
    refusal = refused("weights.misfit", load, "lab/misfit", hub=client)
    assert "fc.weight is 3 x 512 instead of 4 x 512" in str(refusal)


def test_a_repository_with_only_a_pickle_is_read(client: Hub, hub: Any) -> None:
    checkpoint = load("lab/bin", hub=client)
    assert checkpoint.label_names == ("daisy", "tulip", "none")
    assert sorted(downloads(hub)) == ["config.json", "pytorch_model.bin"]


def test_a_repository_whose_pickle_would_run_code_is_refused(client: Hub, refused: Any) -> None:
    assert "pytorch_model.bin of lab/pickle" in str(refused("weights.pickle", load, "lab/pickle", hub=client))


def test_a_checkpoint_of_transformers_is_fetched_with_its_processor(
    tmp_path: Path, train: Any, pixels: Tensor, same_logits: Any
) -> None:
    import transformers

    folder = tmp_path / "root" / "microsoft" / "resnet-tiny"
    config = transformers.ResNetConfig(depths=[1, 1, 1, 1], num_labels=1000)
    network = train(transformers.ResNetForImageClassification, config)
    network.save_pretrained(folder)
    transformers.BitImageProcessor(size={"shortest_edge": 256}).save_pretrained(folder)
    with torch.inference_mode():
        logits = network(pixels).logits
    with LocalHub(tmp_path / "root") as hub:
        checkpoint = load("microsoft/resnet-tiny", hub=Hub(hub.url, tmp_path / "cache", token=False))
    same_logits(checkpoint, logits)
    assert (checkpoint.preprocess.size, checkpoint.preprocess.resize) == (224, 256)
    assert checkpoint.label_names[0] == "tench"


def test_what_is_too_large_is_refused_before_it_is_sent(
    client: Hub, hub: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights.load, "MAX_TOTAL_BYTES", 1_000_000)
    assert "0.0 GB, more than any ResNet" in str(refused("hub.too_large", load, "lab/timm", hub=client))
    monkeypatch.setattr(weights.hub, "MAX_TOTAL_BYTES", 1_000_000)
    listing = client.resolve("lab/timm")
    refused("hub.too_large", client.fetch, listing, WEIGHTS)
    assert WEIGHTS not in downloads(hub)


def test_a_listing_says_what_the_hub_announced(client: Hub, repositories: Path) -> None:
    import hashlib

    listing = client.resolve("lab/timm")
    assert isinstance(listing, Listing)
    data = (repositories / "lab" / "timm" / WEIGHTS).read_bytes()
    assert listing.files[WEIGHTS].size == len(data)
    assert listing.files[WEIGHTS].sha256 == hashlib.sha256(data).hexdigest()
    assert listing.files[WEIGHTS].git_sha1 is None
    config = (repositories / "lab" / "timm" / "config.json").read_bytes()
    assert listing.files["config.json"].git_sha1 == hashlib.sha1(b"blob %d\0" % len(config) + config).hexdigest()
    assert listing.files["config.json"].sha256 is None
    assert not listing.from_cache


def test_a_base_is_fetched_as_it_stands(tmp_path: Path) -> None:
    write_base(tmp_path / "root" / "imagenet" / "base")
    with LocalHub(tmp_path / "root") as hub:
        checkpoint = load("imagenet/base", hub=Hub(hub.url, tmp_path / "cache", token=False))
    assert checkpoint.architecture == "ResNet (basic, 1-1-1-1)"
    assert checkpoint.label_names == ()
    assert checkpoint.license == "mit"


@pytest.mark.parametrize(("said", "read"), [(["mit", "isc"], "mit, isc"), (3, None), ({"a": "mit"}, None), ("", None)])
def test_a_licence_of_a_card_that_is_no_text(
    client: Hub, monkeypatch: pytest.MonkeyPatch, said: Any, read: str | None
) -> None:
    def info(*arguments: Any, **named: Any) -> Any:
        found = asked(*arguments, **named)
        found.card_data = ModelCardData(license=said)
        return found

    asked = HfApi.model_info
    monkeypatch.setattr(HfApi, "model_info", info)
    listing = client.resolve("lab/timm")
    # From the Hub, and from what is noted of it.
    assert listing.license == client.resolve("lab/timm", listing.commit).license == read

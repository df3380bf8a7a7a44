"""Checkpoints made from a seed by the libraries whose layouts we read, and a Hub on loopback that serves them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.models._hub import save_for_hf
from torch import Tensor, nn

from resnet.errors import Refusal
from tests.disks import mounted
from tests.hub.local_hub import LocalHub
from tests.local_models import as_trained
from weights.hub import Hub
from weights.load import load

#: The smallest network of ours: one basic block a stage, 20 MB.
TINY = {"layers": [1, 1, 1, 1]}
LABELS = ["daisy", "tulip", "none"]


@pytest.fixture(scope="session")
def train() -> Callable[..., Any]:
    """A function: (what builds a network, *arguments, seed, **named) -> that network, as if it had been trained."""
    return as_trained


def _timm_folder(folder: Path, name: str = "resnet18", config: Any = None, **arguments: Any) -> nn.Module:
    network = as_trained(timm.create_model, name, pretrained=False, **arguments)
    save_for_hf(network, folder, model_config=config, safe_serialization=True)
    return network


@pytest.fixture(scope="session")
def timm_folder() -> Callable[..., Any]:
    """A function: (folder, name, config, **arguments) -> timm's network, saved as timm pushes it to the Hub."""
    return _timm_folder


@pytest.fixture(scope="session")
def pixels() -> Tensor:
    """``(2, 3, 64, 64)`` normalised images."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def same_logits(pixels: Tensor) -> Callable[..., None]:
    """A function: (checkpoint, logits of the same pixels by another library) -> asserts that ours are the same."""

    def check(checkpoint: Any, expected: Tensor, atol: float = 1e-5) -> None:
        with torch.inference_mode():
            logits = checkpoint.network()(pixels)
        assert logits.shape == expected.shape
        assert expected.std() > 1e-3, "logits that are all the same would prove nothing"
        assert torch.allclose(logits, expected, atol=atol, rtol=1e-5), (logits - expected).abs().max()

    return check


@pytest.fixture(scope="session")
def a_photo() -> Image.Image:
    """A photo of 500 x 375 with smooth parts, edges and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:375, 0:500]
    values = 128 + 80 * np.stack([np.sin(x / 31), np.cos(y / 23), np.sin((x + y) / 47)], -1)
    values[100:200, 150:300] = (250, 30, 60)
    return Image.fromarray(np.clip(values + rng.normal(0, 10, values.shape), 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def refused() -> Callable[..., Refusal]:
    """A function: (code, function, *arguments) -> the refusal of that code that calling it ends in."""

    def call(code: str, function: Callable[..., object], *arguments: Any, **named: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            function(*arguments, **named)
        sentence = str(caught.value)
        assert caught.value.code == code, sentence
        assert sentence.endswith(".")
        assert sentence.isprintable(), repr(sentence)
        assert len(sentence) < 1200, "a sentence, not what the file says"
        return caught.value

    return call


# -- the Hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Hub serves; not to be changed. `lab/timm` is the network of which most others are variations."""
    root = tmp_path_factory.mktemp("hub")
    base = root / "lab" / "timm"
    _timm_folder(base, num_classes=3, config={"label_names": LABELS}, **TINY)
    config = json.loads((base / "config.json").read_text())
    (base / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")

    def variation(name: str, drop: tuple[str, ...] = (), **files: Any) -> Path:
        folder = root / "lab" / name
        shutil.copytree(base, folder, copy_function=os.link)
        for file in drop:
            (folder / file).unlink()
        for file, content in files.items():
            target = folder / {"config": "config.json", "index": "model.safetensors.index.json"}[file]
            target.unlink(missing_ok=True)
            target.write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    variation("no-config", ("config.json",))
    variation("no-weights", ("model.safetensors",))
    variation("vit", config={"architecture": "vit_base_patch16_224", "num_classes": 3, "pretrained_cfg": {}})
    variation("bert", config={"model_type": "bert", "architectures": ["BertModel"]})
    variation("broken-config", config="{ this is no JSON")
    variation("misfit", config={**config, "num_classes": 4, "model_args": TINY, "label_names": [*LABELS, "rose"]})
    state = timm.create_model("resnet18", num_classes=3, **TINY).state_dict()
    torch.save(state, variation("bin", ("model.safetensors",)) / "pytorch_model.bin")
    torch.save(
        timm.create_model("resnet18", num_classes=3, **TINY),
        variation("pickle", ("model.safetensors",)) / "pytorch_model.bin",
    )
    for name, shard in (
        ("index-up", "../../../../etc/passwd"),
        ("index-absent", "model-00001-of-00002.safetensors"),
        ("index-root", "/etc/passwd"),
        ("index-below", "sub/model.safetensors"),
        ("index-pickle", "pytorch_model.bin"),
    ):
        folder = variation(name, index={"weight_map": {"conv1.weight": shard}})
        (folder / "sub").mkdir()
        (folder / "model.safetensors").rename(folder / "sub" / "model.safetensors")
        torch.save(state, folder / "pytorch_model.bin")
    variation("index-empty", ("model.safetensors",), index={"weight_map": {}})
    variation("index-list", ("model.safetensors",), index={"weight_map": ["a", 3]})
    return root


@pytest.fixture(scope="session")
def running_hub(repositories: Path) -> Iterator[Any]:
    """One for all tests."""
    with LocalHub(repositories) as server:
        yield server


@pytest.fixture
def hub(running_hub: Any) -> Iterator[Any]:
    """A Hub that serves `repositories` to anyone, and does what it is told; its log is empty at first."""
    running_hub.clear()
    yield running_hub
    running_hub.clear()


@pytest.fixture
def client(hub: Any, tmp_path: Path) -> Hub:
    """Our client of that Hub, with a cache of its own and no token."""
    return Hub(endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)


@pytest.fixture(scope="session")
def expected(repositories: Path, pixels: Tensor) -> Tensor:
    """What timm itself computes with `lab/timm`, for `same_logits`."""
    network = timm.create_model(f"local-dir:{repositories / 'lab' / 'timm'}", pretrained=True).eval()
    with torch.inference_mode():
        return network(pixels)


@pytest.fixture
def fetched(client: Hub, hub: Any) -> Any:
    """`lab/timm`, fetched once; the Hub's log is empty again."""
    checkpoint = load("lab/timm", hub=client)
    hub.clear()
    return checkpoint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 2 MB."""
    with mounted(tmp_path / "small", "size=2m") as folder:
        yield folder


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody, not even root, may write to."""
    if os.geteuid():
        folder = tmp_path / "read-only"
        folder.mkdir(mode=0o555)
        yield folder
    else:
        with mounted(tmp_path / "read-only", "ro,size=1m") as folder:
            yield folder


@pytest.fixture(scope="module")
def network(train: Any) -> Any:
    """torchvision's block in the smallest ResNet that has its keys, with the tutorial's five classes."""
    basic = torchvision.models.resnet.BasicBlock
    return train(torchvision.models.ResNet, basic, [1, 1, 1, 1], num_classes=5)


@pytest.fixture(scope="module")
def state(network: Any) -> dict[str, Tensor]:
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def logits(network: Any, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(pixels)

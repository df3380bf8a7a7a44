"""`predict.py` in a saved folder: a process that knows nothing of the project gives the page's probabilities."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnet.classifier import NoneOfThese
from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from tests.waiting import PATIENCE_S
from weights.checkpoint import PREDICT, Checkpoint, read_folder, write_folder

LABELS = ("daisy", "蒲公英", "<rose>")
#: Answers for all classes of photos, by the very functions that the file of each folder runs when it is called.
ASK = """
import importlib.util, json, sys
from pathlib import Path
folders, photos = json.loads(sys.argv[1])
sys.path[:] = [path for path in sys.path if "site-packages" in path or "lib/python" in path]
answers = {}
for folder in folders:
    spec = importlib.util.spec_from_file_location("predict", Path(folder) / "predict.py")
    predict = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(predict)
    model = predict.network()
    answers[folder] = {photo: predict.probabilities(model, photo) for photo in photos}
ours = [name for name in sys.modules if name.split(".")[0] in ("resnet", "weights", "train", "timm", "huggingface_hub")]
print(json.dumps({"answers": answers, "ours": ours}))
"""
CONFIGS = {
    "basic": (ResNetConfig("basic", (1, 2, 1, 1), num_classes=3), Preprocess(64)),
    "strides-as-in-the-paper": (
        ResNetConfig("bottleneck", (1, 1, 2, 1), num_classes=3, stride_in_1x1=True),
        Preprocess(65, "bicubic", 0.95),
    ),
    "groups": (
        ResNetConfig("bottleneck", (1, 1, 1, 1), groups=32, width_per_group=4, num_classes=3),
        Preprocess(64, "lanczos", 1.0, "squash", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
    ),
    "wide": (
        ResNetConfig("bottleneck", (1, 1, 1, 1), width_per_group=128, num_classes=3),
        Preprocess(63, "nearest", 0.9, "center_floor"),
    ),
}


def _checkpoint(train: Any, config: ResNetConfig, preprocess: Preprocess) -> Checkpoint:
    state = train(ResNet, config, seed=5).state_dict()
    state["fc.weight"] *= 30  # answers that are far apart, so that what is mistaken shows
    rounded = {key: value.half().float() if value.ndim > 1 else value for key, value in state.items()}
    return Checkpoint(config, rounded, preprocess, LABELS, 0.7, NoneOfThese("energy", 1.5))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, a_photo: Image.Image) -> list[str]:
    """What people have: turned, transparent, grey, 16 bits, palettes, a long strip."""
    folder = tmp_path_factory.mktemp("photos")
    small = a_photo.resize((250, 188))
    turned = Image.Exif()
    turned[0x0112] = 6
    small.save(folder / "turned.jpg", exif=turned)
    for number, odd in enumerate(
        (b"\xff" * 40, b"II*\x00\xff\xff\xff\x7f", b"MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12")
    ):
        small.save(folder / f"broken-exif-{number}.jpg", exif=b"Exif\x00\x00" + odd)
    small.save(folder / "plain.png")
    small.rotate(90, expand=True).save(folder / "tall.webp", lossless=True)
    small.convert("L").save(folder / "grey.png")
    small.convert("CMYK").save(folder / "print.jpg")
    see_through = small.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(small.size))
    see_through.save(folder / "see-through.png")
    see_through.getchannel("A").convert("LA").save(folder / "grey-alpha.png")
    small.quantize(64).save(folder / "palette.gif", transparency=3)
    deep = np.asarray(small.convert("L")).astype(np.uint16)
    Image.fromarray(deep * 200).save(folder / "deep.png")
    Image.fromarray(deep * 0).save(folder / "black.png")
    Image.fromarray(deep.astype(np.int32) * 300).save(folder / "integers.tif")
    Image.fromarray(deep.astype(np.float32) / 255).save(folder / "floats.tif")
    Image.fromarray(deep.astype(np.float32) * 7).save(folder / "large-floats.tif")
    small.resize((20_000, 12)).save(folder / "strip.png")
    small.resize((12, 20_000)).save(folder / "column.png")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, train: Any) -> dict[str, Path]:
    """Each of `CONFIGS` as it is saved, in one file and in shards."""
    root = tmp_path_factory.mktemp("models")
    found = {}
    for name, (config, preprocess) in CONFIGS.items():
        for kind, shard_bytes in (("one-file", None), ("shards", 4_000_000)):
            found[f"{kind}-{name}"] = folder = root / f"{kind}-{name}"
            write_folder(_checkpoint(train, config, preprocess), folder, shard_bytes=shard_bytes)
            assert (len(list(folder.glob("*.safetensors"))) > 1) == bool(shard_bytes)
    return found


@pytest.fixture(scope="module")
def answers(folders: dict[str, Path], photos: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Folder -> photo -> class -> probability, all of them by one process."""
    asked = json.dumps([list(map(str, folders.values())), photos])
    done = subprocess.run(
        [sys.executable, "-c", ASK, asked],
        cwd=Path(photos[0]).parent, env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ours"] == []
    return dict(said["answers"])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["one-file", "shards"])
def test_a_folder_alone_gives_the_pages_probabilities(
    name: str, kind: str, photos: list[str], folders: dict[str, Path], answers: dict[str, dict[str, dict[str, float]]]
) -> None:
    folder = folders[f"{kind}-{name}"]
    told = answers[str(folder)]
    rows = read_folder(folder).classifier("cpu").predict(photos, top_k=3)
    assert len({row.predictions[0].label for row in rows}) > 1 or len({row.predictions[0] for row in rows}) > 5
    for row in rows:
        assert row.refusal is None, row.refusal
        assert list(told[row.name]) == [one.label for one in row.predictions], row.name
        for one in row.predictions:
            assert told[row.name][one.label] == pytest.approx(one.probability, abs=2e-5), row.name


def test_called_it_names_photos_one_a_line(folders: dict[str, Path], photos: list[str]) -> None:
    folder = folders["one-file-basic"]
    done = subprocess.run(
        [sys.executable, "predict.py", *photos[:3]],
        cwd=folder, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    lines = done.stdout.decode().splitlines()
    rows = read_folder(folder).classifier("cpu").predict(photos[:3], top_k=3)
    assert lines == [
        f"{row.name}: " + ", ".join(f"{one.label} {100 * one.probability:.1f} %" for one in row.predictions)
        for row in rows
    ]


def test_it_is_short_and_needs_four_packages() -> None:
    source = PREDICT.read_text(encoding="utf-8")
    assert source.count("\n") < 80
    packages = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    assert packages - sys.stdlib_module_names == {"torch", "torchvision", "PIL", "safetensors"}


def test_a_base_has_nothing_to_predict(tmp_path: Path) -> None:
    config = ResNetConfig("basic", (1, 1, 1, 1), include_top=False)
    state = {key: torch.zeros(value.shape) for key, value in ResNet(config).state_dict().items()}
    write_folder(Checkpoint(config, state, Preprocess(64), ()), tmp_path / "base")
    assert not (tmp_path / "base" / PREDICT.name).exists()

"""What reads strangers' bytes: each gives an answer or a `Refusal`, and nothing else."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.photos import find_photos
from resnet.preprocess import open_image
from tests.pictures import PHOTOS
from train.edits import read_edits
from train.ingest import ingest
from train.state import read_state, write_state
from weights import layouts
from weights.checkpoint import read_file, read_json

#: Of what a state must be of to be gone on from.
ABOUT = {"recipe": "tiny", "photos": 20}


@dataclass(frozen=True)
class Target:
    """A reader of strangers' bytes.

    Args:
        seeds: good inputs, which the changed ones are made of.
        read: reads what is in a file.
        suffix: of the file.
        share: of the mutations that a run of the suite gives to it.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    suffix: str
    share: float = 1.0


def _images() -> list[bytes]:
    photo = Image.open(next(PHOTOS.rglob("*.jpg"))).convert("RGB").resize((48, 32))
    kinds: list[tuple[str, dict[str, object], str]] = [
        ("JPEG", {}, "RGB"), ("JPEG", {"progressive": True}, "RGB"), ("JPEG", {}, "CMYK"), ("PNG", {}, "RGBA"),
        ("PNG", {}, "P"), ("GIF", {}, "P"), ("WEBP", {}, "RGB"), ("TIFF", {"compression": "tiff_lzw"}, "RGB"),
        ("TIFF", {}, "I;16"), ("BMP", {}, "RGB"), ("JPEG2000", {}, "RGB"),
    ]  # fmt: skip
    made = []
    for format_, more, mode in kinds:
        buffer = io.BytesIO()
        (photo.convert("L").convert(mode) if mode == "I;16" else photo.convert(mode)).save(buffer, format_, **more)
        made.append(buffer.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", exif=exif)
    return [*made, buffer.getvalue()]


def _zips() -> list[bytes]:
    small = _images()[0]
    layouts_ = [
        {f"{label}/{number}.jpg": small for label in ("ant", "bee") for number in range(3)},
        {f"{part}/花/{number}.jpg": small for part in ("train", "val") for number in range(3)},
        {"labels.csv": b"file,label\n1.jpg,ant\n2.jpg,bee\n", "1.jpg": small, "2.jpg": small},
    ]
    made = []
    for entries in layouts_:
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", method) as archive:
                for name, data in entries.items():
                    archive.writestr(name, data)
            made.append(buffer.getvalue())
    return made


def _state() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = ResNet(ResNetConfig("basic", (1, 1, 1, 1), num_classes=3)).state_dict()
    return {key: torch.zeros(value.shape[:1] if value.ndim else (), dtype=value.dtype) for key, value in shapes.items()}


def _pickles() -> list[bytes]:
    made = []
    args = argparse.Namespace(lr=np.float64(0.1), model="resnet18", names=["ant", "bee"])
    for content in (
        _state(), {"state_dict": _state(), "epoch": 3}, {"model": {"conv1.weight": torch.zeros(2, 2)}},
        {"model": _state(), "model_ema": _state(), "args": args, "classes": ["ant", "bee", "cat"], "arch": "resnet"},
    ):  # fmt: skip
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
            made.append(buffer.getvalue())
    return made


def _configs() -> list[bytes]:
    timm = {
        "architecture": "resnet18", "num_classes": 3, "label_names": ["ant", "bee", "花"],
        "model_args": {"layers": [1, 1, 1, 1], "cardinality": 1},
        "pretrained_cfg": {
            "input_size": [3, 64, 64], "interpolation": "bilinear", "crop_pct": 0.9, "mean": [0.5, 0.5, 0.5],
            "std": [0.2, 0.2, 0.2], "license": "mit", "crop_mode": "center",
        },
        "resnet_demo": {"temperature": 1.5, "none_of_these": {"score": "probability", "threshold": 0.4}},
    }  # fmt: skip
    transformers = {
        "model_type": "resnet", "layer_type": "basic", "depths": [1, 1, 1, 1], "hidden_sizes": [64, 128, 256, 512],
        "id2label": {"0": "ant", "1": "bee"}, "architectures": ["ResNetForImageClassification"],
    }  # fmt: skip
    return [json.dumps(one, ensure_ascii=False).encode() for one in (timm, transformers)]


def _edits() -> list[bytes]:
    return [json.dumps([{"name": "ant/1.jpg", "label": None}, {"name": "bee/花.jpg", "label": "ant"}]).encode()]


def _states() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder), {"about": ABOUT, "epoch": 2, "network": {"fc.weight": torch.ones(3, 2)}}, "one")
        return [(Path(folder) / "one").read_bytes()]


def _read_zip(path: Path) -> None:
    for photo in find_photos([path]):
        _refusable(lambda photo=photo: open_image(photo.read(), photo.name))
    with tempfile.TemporaryDirectory() as folder:
        ingest(path, Path(folder) / "data")


def _refusable(work: Callable[[], object]) -> None:
    from resnet.errors import Refusal

    try:
        work()
    except Refusal:
        return


TARGETS = {
    "image": Target(_images, open_image, ".jpg", 4),
    "zip": Target(_zips, _read_zip, ".zip"),
    "pickle": Target(_pickles, read_file, ".pth", 2),
    "safetensors": Target(lambda: [save(_state())], read_file, ".safetensors", 2),
    "config": Target(_configs, lambda path: layouts.describe("x", read_json(path, "x")), ".json", 4),
    "edits": Target(_edits, read_edits, ".json", 4),
    "state": Target(_states, lambda path: read_state(path.parent, ABOUT, path.name), ".pt", 2),
}

"""Photos; pictures made from a seed, that look as unlike each other as photos do; and the zips and folders of them."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from train.dataset import Image as Entry
from train.layout import Part

#: Small photos of five flowers, of ants and bees, and of ten other things; `CREDITS.md` there says whose they are.
PHOTOS = Path(__file__).parent / "photos"
FLOWERS = sorted((PHOTOS / "flowers").rglob("*.jpg"))
THINGS = sorted((PHOTOS / "imagenette").rglob("*.JPEG"))

#: What tells the formats that a test asks for apart.
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
}


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Clouds of colour: smooth as photos are, so that a copy of another size looks the same."""
    clouds = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(clouds).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def jpeg(seed: int, size: tuple[int, int] = (64, 48)) -> bytes:
    return encoded(picture(seed, size), quality=92)


def pictures(*names: str, first: int = 0) -> dict[str, bytes]:
    """A different picture for each name, in the format that its ending says."""
    return {
        name: encoded(picture(seed), FORMATS.get(Path(name).suffix.lower(), "JPEG"))
        for seed, name in enumerate(names, first)
    }


def zipped(path: Path, entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def tree(folder: Path, entries: Mapping[str, bytes]) -> Path:
    for name, data in entries.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def entry(label: str, number: int, content: int, split: Part | None = None, hash_: int | None = None) -> Entry:
    """An image of a dataset without a file: `content` says which are the same to the byte, `hash_` which look the same.

    Hashes of different contents are far from each other, as those of photos are.
    """
    looks = random.Random(content if hash_ is None else hash_)
    folder = f"{split}/{label}" if split else label
    return Entry(
        width=64, height=48, format="JPEG", mode="RGB", bytes=1000, sha256=f"{content:064x}",
        dhash=looks.getrandbits(128), thumb=looks.randbytes(192), colours=100.0, path=Path(f"{number}.jpg"),
        name=f"{folder}/{number}.jpg", label=label, split=split,
    )  # fmt: skip

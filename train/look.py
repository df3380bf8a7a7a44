"""One look at an image: whether it can be read, and what can be said of it without knowing what it shows."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ExifTags
from PIL import Image as Pillow

from resnet.errors import Refusal
from resnet.photos import MAX_FILE_BYTES
from resnet.preprocess import JPEG_FORMATS, MAX_PIXELS, image_formats, open_image

#: A JPEG is decoded at the smallest of its scales that has this many pixels on each side: all that is said here of an
#: image is said of something smaller still.
DRAFT_SIDE = 96
#: In a class that has a field called `bytes`, the type needs another name.
Octets = bytes
#: Side of the thumbnail that two images are compared by.
THUMB_SIDE = 8


@dataclass(frozen=True)
class Look:
    """What was seen of one image.

    Args:
        width: in pixels, as a person sees it (EXIF orientation applied).
        height: likewise.
        format: pillow's name of the file's format, e.g. ``"JPEG"``.
        mode: pillow's name of how pixels are stored, e.g. ``"RGB"``, ``"L"`` (grey), ``"P"`` (palette).
        bytes: size of the file.
        sha256: of the file, so that anyone can check it. Of the pixels it would also find a copy in another format,
            but would need the whole image at full size, four times the work; `dhash` finds those.
        dhash: 128 bits, whether each pixel of a tiny grey image is brighter than the one before it, across and down
            (https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html).
        thumb: ``8 x 8`` pixels RGB, 192 bytes.
        colours: how many colours there seem to be, ``2 ** entropy`` over 16 levels a channel: a drawing has a few,
            whatever its file says, a photo a hundred.
    """

    width: int
    height: int
    format: str
    mode: str
    bytes: int
    sha256: str
    dhash: int = field(repr=False)
    thumb: Octets = field(repr=False)
    colours: float


def look(path: Path, name: str) -> Look:
    """Read and decode one image, by the rules of `open_image` for what is acceptable.

    Args:
        path: of the file.
        name: what to call it in a refusal.

    Raises:
        Refusal: as `open_image` does, and if the file is too large to be a photo.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        raise Refusal("image.unreadable", "{name} may not be read; check its permissions.", name=name) from None
    if len(data) > MAX_FILE_BYTES:
        raise Refusal(
            "image.heavy", "{name} has more than {limit} MB, which no photo has; leave it out.",
            name=name, limit=MAX_FILE_BYTES // 1024**2,
        )  # fmt: skip
    try:
        with Pillow.open(io.BytesIO(data), formats=image_formats()) as image:
            width, height = _size(image)
            format_, mode = image.format or "", image.mode
            if format_ in JPEG_FORMATS and width * height <= MAX_PIXELS:
                image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
            rgb = open_image(image, name)
    except Refusal:
        raise
    except Exception:  # what it says of a file that is no image, it says of its bytes
        rgb = open_image(data, name)
        (width, height), format_, mode = rgb.size, "", rgb.mode
    return Look(
        width, height, format_, mode, len(data), hashlib.sha256(data).hexdigest(), dhash(rgb), thumb(rgb), colours(rgb)
    )


def _size(image: Pillow.Image) -> tuple[int, int]:
    width, height = image.size
    with contextlib.suppress(Exception):  # of a broken EXIF block
        if image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8):
            return height, width
    return width, height


def dhash(image: Pillow.Image) -> int:
    """128 bits that stay nearly the same when an image is resized, recompressed, brightened or cropped a little."""
    grey = image.convert("L")
    across = np.asarray(grey.resize((9, 8), Pillow.Resampling.BOX))
    down = np.asarray(grey.resize((8, 9), Pillow.Resampling.BOX))
    bits = np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumb(image: Pillow.Image) -> bytes:
    """``8 x 8`` pixels, RGB, as 192 bytes."""
    return image.resize((THUMB_SIDE, THUMB_SIDE), Pillow.Resampling.BOX).tobytes()


def colours(image: Pillow.Image) -> float:
    """How many colours there seem to be, from 1 to 4,096: two to the entropy of their histogram."""
    pixels = np.asarray(image.resize((64, 64), Pillow.Resampling.NEAREST)).astype(np.int64) >> 4
    counts = np.bincount((pixels @ np.array([256, 16, 1])).ravel(), minlength=4096)
    shares = counts[counts > 0] / counts.sum()
    return float(2.0 ** -(shares * np.log2(shares)).sum())

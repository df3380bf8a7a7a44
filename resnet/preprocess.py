"""Any image -> RGB -> the tensor that the network was trained for.

`open_image` is the one door for photos: it takes what people really have (rotated by EXIF, palettes, alpha, CMYK,
16 bits, animations) and refuses, in a sentence, what would harm the process.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import stat
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pi_heif
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from resnet.errors import Refusal

ImageLike = str | Path | bytes | Image.Image
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
CropMode = Literal["center", "center_floor", "squash"]
Pixels = npt.NDArray[np.uint8]

#: A photo is decoded whole, so its size bounds our memory: 50 million pixels are 200 MB as RGBA.
MAX_PIXELS = 50_000_000
#: Below this there is nothing to see, and a broken file is more likely than a photo.
MIN_SIDE = 8
#: pillow's names of what is read: what cameras, phones and the web write, by decoders whose time the size of the image
#: bounds. Of its others some start programs (EPS), some are written in Python (PPM, DDS, QOI, BLP: minutes for one),
#: and many nobody has seen in years.
READ_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "HEIF", "JPEG2000")
#: White of 8, 10, 12, 14 and 16 bits.
DEPTHS = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
#: So much of a file tells its format.
HEAD_BYTES = 16
#: Phones write the second as well: a JPEG with smaller ones behind it.
JPEG_FORMATS = {"JPEG", "MPO"}
START_OF_SCAN = b"\xff\xda"
#: A progressive JPEG has about ten scans, each a walk over the whole image; thousands fit into a small file.
MAX_SCANS = 100
#: Decoders of pillow's that are written in Python (BMP's run lengths) take a second for so many pixels.
MAX_SLOW_PIXELS = 2_000_000

#: Up to so many pixels a photo is resized whole and then cropped: 256 x 8,192, or 1,170 x 14,000 pixels of a panorama.
MAX_RESIZED = 16_000_000

# Large photos are decoded one at a time, whatever the number of visitors.
LARGE_PIXELS = 12_000_000
_large_photos = threading.Semaphore(1)

# pillow warns between its limit and twice that; ours is lower and is an error, so the warning says nothing more.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


# iPhones' own format, decoded by libheif; `pi_heif` is `pillow_heif` without its encoder, which is of another licence.
pi_heif.register_heif_opener()


@functools.cache
def image_formats() -> list[str]:
    """pillow's names of the formats that `open_image` reads."""
    Image.init()
    return [name for name in READ_FORMATS if name in Image.OPEN]


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Lower-case endings (``".jpg"``) of the files that are taken for images in folders and archives."""
    readable = set(image_formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable)


def open_image(source: ImageLike, name: str | None = None) -> Image.Image:
    """One RGB image, as a person would see it.

    EXIF orientation is applied, transparency is laid over white, 16 bits are scaled to 8, and of an animation the
    first frame is taken.

    Args:
        source: a path, the bytes of a file, or an image (which is left as it is).
        name: what to call it in a refusal; the file's name by default.

    Returns:
        An image in mode RGB that shares nothing with `source`.

    Raises:
        Refusal: if it is no image, is broken, is under 8 pixels or over 50 million pixels.
    """
    shown = name or (Path(source).name if isinstance(source, str | Path) else "the image")
    try:
        if isinstance(source, str | Path):
            _check_regular(source, shown)
        if isinstance(source, Image.Image):  # it may be a file that pillow has not read to its end yet
            return _decode(source, shown)
        stream: str | Path | io.BytesIO = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(stream, formats=image_formats()) as image:
            return _decode(image, shown)
    except Refusal:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise Refusal("image.missing", "There is no file {name}; check the path.", name=shown) from None
    except PermissionError:
        raise Refusal("image.unreadable", "{name} may not be read; check its permissions.", name=shown) from None
    except UnidentifiedImageError:
        raise Refusal(
            "image.unknown",
            "{name} is not an image that can be read here; save it as JPEG or PNG and try again.",
            name=shown,
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(shown) from None
    except Exception:  # a decoder given a broken file raises whatever it likes
        raise Refusal(
            "image.broken", "{name} is damaged or cut off; export or download it again and try that copy.", name=shown
        ) from None


def looks_like_an_image(beginning: bytes) -> bool:
    """Whether a file that begins so is of a format that `open_image` reads; for those whose name doesn't tell."""
    if len(beginning) < HEAD_BYTES:
        return False
    Image.init()
    accepts = [Image.OPEN[name][1] for name in image_formats()]
    return any(accept is not None and accept(beginning[:HEAD_BYTES]) is True for accept in accepts)


def is_large(path: str | Path) -> bool:
    """Whether a file is a photo that is decoded while no other large one is; only its first bytes are read."""
    try:
        with Image.open(path, formats=image_formats()) as image:
            return image.width * image.height > LARGE_PIXELS
    except Exception:  # whoever opens it says what is wrong with it
        return False


def _check_regular(path: str | Path, name: str) -> None:
    """That a path is a file's, or a pipe's that some program writes a photo into; reading a device may not end.

    Raises:
        Refusal: if it is something else.
        OSError: if there is none.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 (a name that is none raises the same here and where it is opened)
    if stat.S_ISDIR(mode):
        raise Refusal("image.folder", "{name} is a folder, not a photo; choose a file in it.", name=name)
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise Refusal("image.device", "{name} is a device, not a photo; name a file.", name=name)


def _too_large(name: str) -> Refusal:
    return Refusal(
        "image.large", "{name} has more than {limit} million pixels; make it smaller and try again.",
        name=name, limit=MAX_PIXELS // 1_000_000,
    )  # fmt: skip


def _decode(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise Refusal(
            "image.small", "{name} is {width} x {height} pixels; a photo needs at least {limit} on each side.",
            name=name, width=width, height=height, limit=MIN_SIDE,
        )  # fmt: skip
    if width * height > MAX_PIXELS and image.format in JPEG_FORMATS and not image.info.get("progressive"):
        # A JPEG decodes at half size for a quarter of the memory, but not a progressive one: that is kept whole, at 6
        # bytes a pixel, until its last scan.
        image.draft("RGB", (width // 2, height // 2))
        width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    _check_cost(image, name)
    if width * height > LARGE_PIXELS:
        with _large_photos:
            return _to_rgb(image)
    return _to_rgb(image)


def _check_cost(image: Image.Image, name: str) -> None:
    """That decoding takes as long as the image's size tells.

    Raises:
        Refusal: if a JPEG has more scans than any camera writes, or a large image needs one of the slow decoders.
    """
    slow = any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ()))
    file = getattr(image, "fp", None)
    if image.format in JPEG_FORMATS and file is not None:
        place = file.tell()
        file.seek(0)
        slow = file.read().count(START_OF_SCAN) > MAX_SCANS
        file.seek(place)
    elif image.width * image.height <= MAX_SLOW_PIXELS:
        slow = False
    if slow:
        raise Refusal(
            "image.slow", "{name} is packed in a way that takes very long to read; save it as a plain JPEG or PNG and "
            "try again.", name=name,
        )  # fmt: skip


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    with contextlib.suppress(SyntaxError, ValueError, TypeError, ZeroDivisionError):  # of a broken EXIF block
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else it would only be copied
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _scale_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":  # pillow goes from it to LA only
            image = image.convert("LA")
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer)
        return white
    return image.convert("RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey to 8 bits, by the range that such files use (pillow would clip).

    Cameras and scanners put 10, 12 and 14 bits into 16: what stays below such a depth's white is taken to be of it.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32), copy=False)
    top = float(values.max()) if values.size else 0.0
    if image.mode.startswith("I;16"):
        white = next(depth for depth in DEPTHS if top <= depth)
    elif image.mode == "F":
        white = 1.0 if top <= 1.0 else max(top, 255.0)
    else:
        white = 255.0 if top <= 255 else max(top, 65535.0)
    values *= 255 / white
    values += 0.5
    return Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8))


@dataclass(frozen=True)
class Preprocess:
    """How a checkpoint wants to see photos when it is evaluated; timm's `pretrained_cfg` in six fields.

    Args:
        size: side of the square that the network sees, in pixels.
        interpolation: the filter of the resize.
        crop_pct: side of the crop as a share of the resized short side.
        crop_mode: ``"center"`` keeps the aspect and cuts off the rest, ``"squash"`` changes the aspect first.
            ``"center_floor"`` is the first with transformers' rounding of the corner (down, not to the even pixel).
        mean: of each channel, 0..1.
        std: of each channel, 0..1.

    Raises:
        ValueError: if a number is outside its range.
    """

    size: int = 224
    interpolation: Interpolation = "bilinear"
    crop_pct: float = 0.875
    crop_mode: CropMode = "center"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise ValueError(f"the image size is {self.size}; it must be from 32 to 1024 pixels")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct is {self.crop_pct}; it must be above 0 and at most 1")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std need three numbers each, and no std may be 0")

    @property
    def resize(self) -> int:
        """Length in pixels that the short side is resized to before the crop, as timm counts it."""
        return math.floor(self.size / self.crop_pct)

    def crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The region (left, top, right, bottom) of a photo, in its own pixels, that the network sees."""
        resized_width, resized_height = self._resized(width, height)
        left, top = self._corner(resized_width, resized_height)
        across, down = width / resized_width, height / resized_height
        return left * across, top * down, (left + self.size) * across, (top + self.size) * down

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.crop_mode == "squash":
            return self.resize, self.resize
        if width <= height:  # the short side becomes `resize`, the long one follows, rounded down
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def _corner(self, resized_width: int, resized_height: int) -> tuple[int, int]:
        across, down = resized_width - self.size, resized_height - self.size
        if self.crop_mode == "center_floor":
            return across // 2, down // 2
        return round(across / 2.0), round(down / 2.0)

    def crop(self, image: Image.Image) -> Image.Image:
        """RGB image of any size -> the ``size x size`` RGB image that the network sees."""
        filter_ = Image.Resampling[self.interpolation.upper()]
        resized = self._resized(*image.size)
        if resized[0] * resized[1] <= MAX_RESIZED:  # to the last bit what torchvision and timm do
            left, top = self._corner(*resized)
            return image.resize(resized, filter_).crop((left, top, left + self.size, top + self.size))
        # The whole of a strip of 8 x 1,000,000 pixels, or of what a config wants resized to 65,536 pixels and cropped
        # to 1,024, would take gigabytes; so only the region is computed.
        # pillow holds its corners in fp32: a hair's breadth beside theirs, and maybe outside of the photo.
        left_, top_, right, bottom = self.crop_box(*image.size)
        box = (max(left_, 0.0), max(top_, 0.0), min(right, float(image.width)), min(bottom, float(image.height)))
        return image.resize((self.size, self.size), filter_, box=box)

    def pixels(self, image: Image.Image) -> Pixels:
        """RGB image -> ``(size, size, 3)`` uint8."""
        return np.asarray(self.crop(image))

    def normalize(self, pixels: Sequence[Pixels], device: torch.device | str = "cpu") -> Tensor:
        """Crops, each ``(size, size, 3)`` uint8 -> ``(N, 3, size, size)`` float32 in channels-last memory."""
        batch = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2).float()
        mean = torch.tensor(self.mean, device=device).view(3, 1, 1)
        std = torch.tensor(self.std, device=device).view(3, 1, 1)
        return batch.div_(255).sub_(mean).div_(std)

    def __call__(self, image: ImageLike) -> Tensor:
        """One image -> ``(3, size, size)`` float32.

        Raises:
            Refusal: as `open_image` does.
        """
        return self.normalize([self.pixels(open_image(image))])[0].contiguous()

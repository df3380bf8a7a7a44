"""Pictures for the page: photos as data URIs, and Grad-CAM laid over a photo."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from resnet.preprocess import Pixels

# From dark violet over orange to pale yellow: brightness rises all the way, so that it reads without colour.
_RAMP = np.array([(30, 10, 60), (130, 25, 110), (225, 75, 60), (252, 165, 30), (252, 250, 160)], dtype=np.float32)


def colors(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Heat in 0..1, any shape -> RGB in 0..255 with one more axis."""
    stops = np.linspace(0, 1, len(_RAMP))
    return np.stack([np.interp(heat, stops, _RAMP[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def overlay(crop: Pixels, heat: npt.NDArray[np.float32]) -> Image.Image:
    """A crop with a class's heat laid over it; where there is no heat, the photo shows through in grey.

    Args:
        crop: ``(size, size, 3)`` uint8, what the network saw.
        heat: ``(h, w)`` in 0..1, of any resolution.
    """
    side = crop.shape[0]
    scaled = Image.fromarray(heat).resize((side, side), Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(scaled), 0, 1)[..., None]
    grey = crop.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    base = np.repeat(grey[..., None], 3, axis=2)
    mixed = base * (1 - 0.72 * strength) + colors(strength[..., 0]) * 0.72 * strength
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def data_uri(image: Image.Image, quality: int = 88) -> str:
    """An RGB image as a JPEG inside of a URI, so that no file of a visitor lies about."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def thumbnail(crop: Pixels, side: int = 56) -> str:
    """A crop as a small data URI for a table."""
    return data_uri(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR), 75)

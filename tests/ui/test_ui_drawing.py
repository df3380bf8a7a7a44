"""Pictures for the page: Grad-CAM over a photo, and photos inside of URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ui.drawing import colors, data_uri, overlay, thumbnail


def crop(side: int = 224) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side]
    return np.stack([x, y, (x + y) // 2], -1).astype(np.uint8)


def decode(uri: str) -> Image.Image:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_more_heat_is_brighter() -> None:
    shades = colors(np.linspace(0, 1, 50, dtype=np.float32))
    brightness = shades @ np.array([0.299, 0.587, 0.114])
    assert shades.shape == (50, 3) and shades.min() >= 0 and shades.max() <= 255
    assert (np.diff(brightness) > 0).all()


def test_without_heat_the_photo_is_grey() -> None:
    picture = np.asarray(overlay(crop(), np.zeros((7, 7), np.float32)))
    assert picture.shape == (224, 224, 3)
    assert np.abs(picture.astype(int) - picture[..., :1]).max() == 0


def test_heat_is_laid_where_it_was() -> None:
    heat = np.zeros((7, 7), np.float32)
    heat[5, 1] = 1  # below, on the left
    grey = np.asarray(overlay(crop(), np.zeros_like(heat))).astype(int)
    changed = np.abs(np.asarray(overlay(crop(), heat)).astype(int) - grey).sum(2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert (row // 32, column // 32) == (5, 1)
    assert changed[:64, 160:].max() == 0  # above, on the right


def test_heat_of_any_resolution() -> None:
    for shape in ((1, 1), (9, 9), (224, 224)):
        assert overlay(crop(), np.ones(shape, np.float32)).size == (224, 224)


def test_pictures_travel_inside_of_the_page() -> None:
    picture = Image.fromarray(crop())
    assert np.abs(np.asarray(decode(data_uri(picture))).astype(int) - crop()).mean() < 3
    assert decode(thumbnail(crop())).size == (56, 56)

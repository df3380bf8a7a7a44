"""A small drawn dataset, so that the whole way can be seen without photos: shapes in colours, made by this code."""

from __future__ import annotations

import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

#: Sides of each shape as a regular polygon; 0 is a circle.
SHAPES = {"circle": 0, "square": 4, "star": 5, "triangle": 3}
SIDE = 96
#: How far the inner corners of a star are from its middle, where the outer ones are 1 away.
INNER = 0.45


def draw(folder: Path, per_class: int = 40, seed: int = 0) -> None:
    """Write ``folder/class/000.png`` for circles, squares, stars and triangles.

    Colours, places, sizes and turns say nothing of the class, so a network has to look at the shape.

    Args:
        folder: is made if need be.
        per_class: images of each class.
        seed: the same one draws the same.
    """
    dice = random.Random(seed)
    for name, corners in SHAPES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            _shape(corners, name == "star", dice).save(folder / name / f"{number:03}.png")


def _shape(corners: int, star: bool, dice: random.Random) -> Image.Image:
    scale = 4  # drawn large and made small, so that edges are smooth
    side = SIDE * scale
    image = Image.new("RGB", (side, side), _colour(dice, 170, 255))
    pen = ImageDraw.Draw(image)
    # Each shape covers as much as a circle of this radius would, lest the ink tell which it is.
    radius = side * dice.uniform(0.16, 0.24) * math.sqrt(math.pi / _area(corners, star))
    x, y = (dice.uniform(radius, side - radius) for _ in range(2))
    ink = _colour(dice, 0, 140)
    if not corners:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    else:
        turn, count = dice.uniform(0, 2 * math.pi), corners * (2 if star else 1)
        reach = [radius * (INNER if star and index % 2 else 1) for index in range(count)]
        angles = [turn + 2 * math.pi * index / count for index in range(count)]
        points = [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]
        pen.polygon(points, fill=ink)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _area(corners: int, star: bool) -> float:
    """Of a shape whose corners are 1 from its middle."""
    if star:
        return corners * INNER * math.sin(math.pi / corners)
    return corners / 2 * math.sin(2 * math.pi / corners) if corners else math.pi


def _colour(dice: random.Random, least: int, most: int) -> tuple[int, int, int]:
    return dice.randint(least, most), dice.randint(least, most), dice.randint(least, most)

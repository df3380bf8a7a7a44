"""How many copies of photos are found when they were changed, and how long the search for them takes.

    python -m bench.copies DATA.zip [--every 26]

Every so many photos one is resized, brightened, squashed or cropped, recompressed as a JPEG of quality 30, and compared
with the photo that it is of. Below stand the groups of look-alikes among the photos themselves, to be looked at, and
the seconds that 10,000 images of no content take.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageEnhance

from train.dataset import Image as Entry
from train.duplicates import near
from train.ingest import ingest
from train.look import Look, look

CHANGES = ("same", "half", "double", "brighter", "squashed", "cropped")


def main() -> None:
    """Print the shares, the groups and the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a zip or a folder with a folder for each class")
    parser.add_argument("--every", type=int, default=26, metavar="N", help="take every Nth photo (default: 26)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = ingest(Path(args.data), folder / "data")
        chosen = dataset.images[:: args.every]
        for what in CHANGES:
            rng = random.Random(0)
            found = sum(alike(image, copy_of(image.path, what, rng, folder / "copy.jpg")) for image in chosen)
            print(f"{what:10}{found:5} of {len(chosen)} copies found ({100 * found / len(chosen):.1f} %)")
        for kind, groups in (("the same", dataset.report.exact), ("look-alikes", dataset.report.near)):
            print(f"{kind}: {len(groups)} groups among {len(dataset.images):,} photos")
            for group in groups:
                print(f"  {', '.join(group.names)}")
    rng = random.Random(0)
    hashes, thumbs = [rng.getrandbits(128) for _ in range(10_000)], [rng.randbytes(192) for _ in range(10_000)]
    began = time.perf_counter()
    near(hashes, thumbs, [100.0] * len(hashes))
    print(f"10,000 images compared in {time.perf_counter() - began:.2f} s")


def copy_of(path: Path, what: str, rng: random.Random, target: Path) -> Look:
    """A photo, changed and recompressed."""
    with Image.open(path) as original:
        changed(original.convert("RGB"), what, rng).save(target, "JPEG", quality=30)
    return look(target, target.name)


def changed(image: Image.Image, what: str, rng: random.Random) -> Image.Image:
    """The image after one of `CHANGES`; a crop is by 1 % on each side, on average."""
    width, height = image.size
    if what in ("half", "double"):
        factor = 0.5 if what == "half" else 2.0
        return image.resize((int(width * factor), int(height * factor)), Image.Resampling.LANCZOS)
    if what == "brighter":
        return ImageEnhance.Brightness(image).enhance(1.15)
    if what == "squashed":
        return image.resize((200, 200))
    if what == "cropped":
        left, top, right, bottom = (rng.random() * 0.02 for _ in range(4))
        return image.crop((int(width * left), int(height * top), int(width * (1 - right)), int(height * (1 - bottom))))
    return image


def alike(*images: Look | Entry) -> bool:
    """Whether they are taken for copies of each other."""
    return bool(near([one.dhash for one in images], [one.thumb for one in images], [one.colours for one in images]))


if __name__ == "__main__":
    main()

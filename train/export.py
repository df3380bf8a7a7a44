"""``python -m train export DIR --onnx``: the model for other runtimes, compared on images before it is believed."""

from __future__ import annotations

import argparse
import io
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from resnet.errors import Refusal
from resnet.photos import find_photos
from resnet.preprocess import open_image
from resnet.terminal import say
from train.drawn import draw
from train.unpack import disk_refusal
from weights.checkpoint import read_folder

FILE = "model.onnx"
#: Photos that are compared, and the largest difference of a logit that rounding explains.
PHOTOS, TOLERANCE = 32, 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("folder", metavar="DIR", help="a folder that python -m train has written")
    parser.add_argument("--onnx", action="store_true", required=True, help="as DIR/model.onnx")
    parser.add_argument(
        "--photos", nargs="+", default=[], metavar="PATH",
        help="photos, folders or zips to compare on; drawn shapes by default",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Export and say the largest difference."""
    difference, count = export_onnx(Path(args.folder), args.photos)
    say(
        f'{Path(args.folder) / FILE}: input "image" (N, 3, H, W) normalised, output "logits"; on {count} images the '
        f"largest difference of a logit from PyTorch is {difference:.2g}."
    )
    return 0


def export_onnx(folder: Path, photos: list[str]) -> tuple[float, int]:
    """Write ``model.onnx`` beside the checkpoint.

    Args:
        folder: of a checkpoint.
        photos: to compare on; drawn shapes where there are none.

    Returns:
        The largest difference of a logit, and of how many images.

    Raises:
        Refusal: if a package is missing, the folder holds no model or can't be written, or the outputs differ.
    """
    runtime = _runtime()
    checkpoint = read_folder(folder)
    network, preprocess = checkpoint.network(), checkpoint.preprocess
    batch = preprocess.normalize([preprocess.pixels(image) for image in _images(photos)])
    sides = torch.export.Dim("batch", min=1)
    with redirect_stdout(io.StringIO()):  # the exporter talks
        program = torch.onnx.export(
            network, (batch[:2],), dynamo=True, input_names=["image"], output_names=["logits"],
            dynamic_shapes={"x": {0: sides}}, verbose=False,
        )  # fmt: skip
    assert program is not None
    unfinished = folder / f"{FILE}.part"
    try:
        program.save(str(unfinished), external_data=False)
        session = runtime.InferenceSession(str(unfinished), providers=["CPUExecutionProvider"])
        theirs = session.run(["logits"], {"image": np.ascontiguousarray(batch.numpy())})[0]
        with torch.inference_mode():
            difference = float(np.abs(network(batch).numpy() - theirs).max())
        if not difference <= TOLERANCE:
            raise Refusal(
                "export.differs", "The exported model of {name} differs from PyTorch by {difference}; it was not kept.",
                name=folder.name, difference=f"{difference:.2g}",
            )  # fmt: skip
        unfinished.replace(folder / FILE)
    except OSError as error:
        raise disk_refusal(error, FILE) from None
    finally:
        unfinished.unlink(missing_ok=True)
    return difference, len(batch)


def _images(photos: list[str]) -> Any:
    if photos:
        found = [open_image(photo.read(), photo.name) for photo in find_photos(photos)[:PHOTOS]]
        if found:
            return found
    with TemporaryDirectory() as folder:
        draw(Path(folder), per_class=4)
        return [open_image(path) for path in sorted(Path(folder).rglob("*.png"))]


def _runtime() -> Any:
    """What runs ONNX files; the packages are no part of what the project needs otherwise.

    Raises:
        Refusal: if one of them is missing.
    """
    try:
        import onnx  # noqa: F401 (torch's exporter needs these two)
        import onnxruntime  # type: ignore[import-untyped]
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Refusal(
            "export.package", "The export needs the package {name}; run pip install onnx onnxruntime onnxscript.",
            name=error.name or "onnx",
        ) from None  # fmt: skip
    return onnxruntime

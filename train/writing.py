"""A dataset written out again: as a zip, or as folders that any trainer reads."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from resnet.errors import Refusal
from train.dataset import Dataset, Image
from train.names import apart, file_part
from train.unpack import disk_refusal


def destinations(images: Sequence[Image], parts: Sequence[str | None]) -> list[str]:
    """Where each image goes: ``class/name``, or ``part/class/name``; each a different place, inside of the target.

    Classes and names are strangers' texts: whatever a file system would not take, or would follow, is replaced.

    Args:
        images: in classes.
        parts: of a split, one for each image; None where there is none.
    """
    labels = list(dict.fromkeys(image.label for image in images))
    folders = dict(zip(labels, apart(map(file_part, labels)), strict=True))
    wanted = []
    for image, part in zip(images, parts, strict=True):
        # A name begins with the folder of its class as it was given, and with that of its part where there was one.
        own = image.name.split("/")[1 if image.split is None else 2 :] or [image.name]
        wanted.append("/".join([*([part] if part else []), folders[image.label], *map(file_part, own)]))
    return apart(wanted, reserved={str(above) for name in wanted for above in PurePosixPath(name).parents})


def write_zip(dataset: Dataset, file: Path) -> None:
    """The dataset as a zip: ``class/name``, or ``train/class/name`` and so on where a split was given.

    The same dataset gives the same bytes. Photos don't shrink, so they are stored as they are.

    Raises:
        Refusal: if the disk is full, the file can't be written, or an image is gone; no file is left then.
    """
    unfinished = file.with_name(f"{file.name}.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            names = destinations(dataset.images, [image.split for image in dataset.images])
            for image, name in zip(dataset.images, names, strict=True):
                entry = zipfile.ZipInfo(name)  # of 1980, so that the bytes don't tell the time
                entry.external_attr, entry.file_size = 0o644 << 16, image.bytes
                with _opened(image) as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target)
        unfinished.replace(file)
    except OSError as error:
        raise disk_refusal(error, file.name) from None
    finally:
        unfinished.unlink(missing_ok=True)


def write_folders(dataset: Dataset, parts: Sequence[str | None], folder: Path, link: bool = False) -> None:
    """The dataset as folders, ``part/class/name``; images whose part is None are left out.

    Args:
        dataset: to write.
        parts: one for each of its images, e.g. ``"train"``.
        folder: an empty one, or one that is not there yet.
        link: write hard links, which take no space, in place of copies.

    Raises:
        Refusal: if the folder is not empty, the disk is full, or an image is gone; nothing is left behind then.
    """
    refuse_used(folder)
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_refusal(error, str(folder)) from None
    chosen = [(image, part) for image, part in zip(dataset.images, parts, strict=True) if part]
    try:
        names = destinations([image for image, _ in chosen], [part for _, part in chosen])
        for (image, _), name in zip(chosen, names, strict=True):
            _place(image, folder / name, link)
    except BaseException as error:
        for child in folder.iterdir():
            shutil.rmtree(child, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise disk_refusal(error, str(folder)) from None
        raise


def refuse_used(folder: Path) -> None:
    """See that nothing would be written over.

    Raises:
        Refusal: if there is anything in the folder, or it is none.
    """
    try:
        used = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise disk_refusal(error, str(folder)) from None
    if used:
        raise Refusal("out.not_empty", "{name} is not empty; name a new folder, or empty it first.", name=str(folder))


def _place(image: Image, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _opened(image) as source:
        if not link:
            with target.open("xb") as file:
                shutil.copyfileobj(source, file)
            return
    try:
        os.link(image.path.resolve(), target)  # of what a link points at: the link itself might be of no use elsewhere
    except OSError:
        raise Refusal(
            "split.link", "{name} can't be linked from there, as the two folders are on different disks; copy instead.",
            name=image.name,
        ) from None  # fmt: skip


def _opened(image: Image) -> BinaryIO:
    try:
        return image.path.open("rb")
    except OSError:
        raise Refusal(
            "data.gone", "{name} is no longer where it was read from; bring the dataset again.", name=image.name
        ) from None

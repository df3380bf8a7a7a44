"""What DATA means on the command line: a zip, a folder, or a dataset of the Hub."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from resnet.preprocess import image_suffixes
from train.dataset import Dataset
from train.ingest import ingest, ingest_files
from train.names import leftover, refuse_depth, tidy
from train.unpack import Found, Limits, contents, open_zip, unpack
from weights.datasets import PREFIX, fetch_dataset
from weights.hub import Hub

#: What `--help` says of DATA.
HELP = "a zip or a folder with a folder of images for each class, or hf://datasets/OWNER/NAME[@REVISION]"


def on_hub(data: str) -> bool:
    """Whether that is a dataset of the Hub."""
    return data.startswith(PREFIX)


def open_dataset(
    data: str, folder: Path | None, *, quiet: bool = False, hub: Hub | None = None, limits: Limits = Limits()  # noqa: B008 (frozen)
) -> Dataset:  # fmt: skip
    """The dataset that was named, with a bar on the terminal while it is fetched and looked at.

    Args:
        data: a path, or ``hf://datasets/OWNER/NAME[@REVISION]``.
        folder: an empty one to unpack zips into; None for a folder of images, which is read in place.
        quiet: no bar.
        hub: where datasets come from.
        limits: of a zip, and of all that is fetched.

    Raises:
        Refusal: as `ingest` and `fetch_dataset` do.
    """
    if not on_hub(data):
        with _bar("Looking at the images", " images", quiet) as progress:
            return ingest(Path(data), folder, progress=progress, limits=limits)
    with _bar("Fetching", " files", quiet) as progress:
        suffixes = image_suffixes() | {".zip"}
        fetched = fetch_dataset(data, suffixes, limits.entries, limits.bytes, hub, progress)
    if folder is None:
        raise ValueError("a dataset of the Hub needs an empty folder for its zips")
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Found] = []
    ignored: Counter[str] = Counter()
    for number, (name, path) in enumerate(fetched.files):
        refuse_depth(fetched.repo, name)
        if kind := leftover(tidy(name)):
            ignored[kind] += 1
        elif PurePosixPath(name).suffix.lower() != ".zip":
            files.append(Found(name, path))
        else:
            inside, others = _unpacked(name, path, folder / str(number), limits)
            files += inside
            ignored.update(others)
            left = limits.bytes - sum(one.path.stat().st_size for one in inside if not one.refusal)
            limits = replace(limits, entries=limits.entries - len(inside), bytes=left)
    with _bar("Looking at the images", " images", quiet) as progress:
        return ingest_files(files, fetched.repo.rpartition("/")[2], ignored, progress)


def _unpacked(name: str, path: Path, folder: Path, limits: Limits) -> tuple[list[Found], dict[str, int]]:
    """A zip of a dataset: it stands for a folder of its own name."""
    folder.mkdir()
    with open_zip(path, limits) as archive:
        found = contents(archive, name, limits)
        files = list(unpack(archive, found, folder, name, limits))
    place = PurePosixPath(name).with_suffix("")
    if all(one.name.split("/")[0] == place.name for one in files):  # train.zip often holds the folder train
        place = place.parent
    return [replace(one, name=str(place / one.name)) for one in files], dict(found.ignored)


@contextmanager
def _bar(words: str, unit: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    with tqdm(desc=words, unit=unit, disable=quiet or not sys.stderr.isatty(), leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress

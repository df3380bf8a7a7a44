"""From what a person brings, a zip or a folder, to a `Dataset` and what there is to say of it."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from resnet.errors import Refusal
from resnet.naming import class_name
from resnet.parallel import map_ahead
from resnet.preprocess import image_suffixes
from resnet.zip_names import is_zip
from train.dataset import Dataset, Group, Image, IngestReport, LeftOut, Unreadable, check, make_dataset, moved, without
from train.layout import only_parts, places
from train.look import Look, look
from train.names import apart, leftover, refuse_depth, short, tidy
from train.unpack import Found, Limits, clear, contents, open_zip, unpack

__all__ = ["Dataset", "Group", "Image", "IngestReport", "Limits", "check", "ingest", "ingest_files", "moved", "without"]

#: Called with how many files were looked at, and of how many.
Progress = Callable[[int, int], None]


def ingest(
    source: str | Path, folder: Path | None = None, *, progress: Progress | None = None, limits: Limits = Limits()  # noqa: B008 (frozen)
) -> Dataset:  # fmt: skip
    """The dataset in a zip, which is unpacked into `folder`, or in a folder, which is read in place.

    Every file is told by its content; how folders become classes says `layout.places`.

    Args:
        source: a zip archive or a folder.
        folder: for a zip: an empty folder that the caller owns, and removes when the dataset is no longer used.
        progress: called after each file, from this thread; an exception in it ends everything.
        limits: of a zip.

    Returns:
        A dataset of two or more classes with two or more images each, in natural order of class and name.

    Raises:
        Refusal: if the zip is damaged, harmful or too large, if there is nothing to learn in it, or if the disk is
            full; `folder` is empty then.
        ValueError: if `folder` is not given for a zip, or not empty.
    """
    path = Path(source)
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long, or not ours to look at)
        return _ingest_folder(path, progress)
    if path.suffix.lower() != ".zip" and _exists(path) and not is_zip(path):
        raise Refusal(
            "data.kind", "{name} is neither a folder nor a zip archive; pack the class folders into a .zip.",
            name=path.name,
        )  # fmt: skip
    if not _exists(path):
        raise Refusal(
            "data.missing", "There is no {name}; name a zip archive or a folder.", name=path.name or str(path)
        )
    if folder is None:
        raise ValueError("a zip needs an empty folder to be unpacked into")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    try:
        return _ingest_zip(path, folder, progress, limits)
    except BaseException:  # whatever stops it, nothing is left behind
        clear(folder)
        raise


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # of a name that is too long, or holds a NUL
        return False


def _ingest_zip(path: Path, folder: Path, progress: Progress | None, limits: Limits) -> Dataset:
    with open_zip(path, limits) as archive:
        found = contents(archive, path.name, limits)
        files = unpack(archive, found, folder, path.name, limits)
        looked = list(_look_at(files, len(found.files) + len(found.left_out), progress))
    for one, seen in looked:
        if isinstance(seen, Refusal) and not one.refusal:
            one.path.unlink()
    return _dataset(looked, found.ignored, path.stem)


def ingest_files(
    files: Sequence[Found], name: str, ignored: Mapping[str, int], progress: Progress | None = None
) -> Dataset:
    """The dataset in files that lie anywhere; how their names become classes says `layout.places`.

    Args:
        files: by their names in the dataset; read in place.
        name: of the dataset.
        ignored: what else there was, by kind.
        progress: as for `ingest`.

    Raises:
        Refusal: if there is nothing to learn in it.
    """
    return _dataset(list(_look_at(iter(files), len(files), progress)), ignored, name)


def _ingest_folder(path: Path, progress: Progress | None) -> Dataset:
    files, ignored = _walk(path)
    return ingest_files(files, path.resolve().name or str(path), ignored, progress)


def _walk(root: Path) -> tuple[list[Found], dict[str, int]]:
    """Every file below a folder, and how many other things by kind. No link is followed that leads outside.

    Raises:
        Refusal: if it is deeper than anybody sorts photos.
    """
    files: list[Found] = []
    ignored: Counter[str] = Counter()
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        refuse_depth(inside.name or str(root), f"{relative.as_posix()}/")
        if not folders and not names and folder != str(root):
            ignored["empty_folder"] += 1
        for name in list(folders):
            if kind := leftover((name,)):
                ignored[kind] += 1
                folders.remove(name)
            elif Path(folder, name).is_symlink():  # os.walk does not enter it
                ignored["link"] += 1
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if kind := leftover((name,)):
                ignored[kind] += 1
            elif path.is_symlink() and not _leads_into(path, inside):
                ignored["link"] += 1
            elif not _is_file(path):  # opening a pipe would wait for ever
                ignored["special"] += 1
            else:
                files.append(Found((relative / name).as_posix(), path))
    return files, dict(ignored)


def _leads_into(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # it leads in a circle
        return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _look_at(files: Iterator[Found], total: int, progress: Progress | None) -> Iterator[tuple[Found, Look | Refusal]]:
    """Look at files on all cores, in their order, while more are still being unpacked; never far ahead."""
    seen = map_ahead(_seen, files, ahead=16 * (os.cpu_count() or 1))
    for done, one in enumerate(seen, start=1):
        if progress:
            progress(done, total)
        yield one


def _seen(found: Found) -> tuple[Found, Look | Refusal]:
    if found.refusal:
        return found, found.refusal
    try:
        return found, look(found.path, PurePosixPath(found.name).name)
    except Refusal as refusal:
        return found, refusal.kept()


def _dataset(looked: list[tuple[Found, Look | Refusal]], ignored: Mapping[str, int], name: str) -> Dataset:
    """Images in their classes; what is none is named in the report."""
    unreadable, others, loose = [], [], []
    images: list[tuple[Found, Look]] = []
    for found, seen in looked:
        shown = "/".join(tidy(found.name))
        if isinstance(seen, Look):
            images.append((found, seen))
        elif seen.code == "image.unknown" and PurePosixPath(shown).suffix.lower() not in image_suffixes():
            others.append(shown)
        else:
            unreadable.append(Unreadable(shown, seen.code, str(seen)))
    placed = []
    paths = [tidy(found.name) for found, _ in images]
    if parts := only_parts(paths):
        raise Refusal(
            "data.only_parts", "{name} holds {folders}, which are parts of a split, and no class folders inside; put "
            "the photos of each class into a folder of its own in each part.",
            name=name, folders=short(", ".join(parts)),
        )  # fmt: skip
    for (found, seen), place in zip(images, places(paths), strict=True):
        if place is None:
            loose.append("/".join(tidy(found.name)))
        else:
            placed.append((found.path, place, seen))
    labels = _class_names([place.label for _, place, _ in placed], name)
    names = apart([place.name for _, place, _ in placed])
    left_out = LeftOut(dict(ignored), tuple(unreadable), tuple(others), tuple(loose))
    dataset = make_dataset(
        (
            Image(**vars(seen), path=path, name=unique, label=labels[place.label], split=place.split)
            for (path, place, seen), unique in zip(placed, names, strict=True)
        ),
        left_out,
        name,
    )
    check(dataset)
    return dataset


def _class_names(folders: Iterable[str], name: str) -> dict[str, str]:
    """Folder -> what its class is called.

    Raises:
        Refusal: if two folders, which look the same, are one class.
    """
    first: dict[str, str] = {}
    for folder in dict.fromkeys(folders):
        label = class_name(folder) or "_"
        if (other := first.setdefault(label, folder)) != folder:
            raise Refusal(
                "data.same_class", "The folders {first} and {second} of {name} have the same name but for what "
                "can't be seen; rename one, or put their images together.",
                first=short(repr(other)), second=short(repr(folder)), name=name,
            )  # fmt: skip
    return {folder: label for label, folder in first.items()}

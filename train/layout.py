"""Where in a heap of paths the classes are, and which part of the data each image was given to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Part = Literal["train", "val", "test"]
Parts = tuple[str, ...]

#: What people call the folders of a split.
PART_NAMES: dict[str, Part] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where one image belongs: its class, its part where one was given, and its name from there on down."""

    label: str
    split: Part | None
    name: str


def places(paths: Sequence[Parts]) -> list[Place | None]:
    """The class of each image by its path; None where it lies in no class folder.

    Folders that wrap everything are taken off. Where ``train`` stands beside ``val`` or ``test``, they are parts of the
    data and the classes are the folders inside; else the folders that stand side by side are the classes. What is
    nested in a class belongs to it. A lone ``train`` is a folder like any other: nothing was kept apart.

    Args:
        paths: of images only, each split at its slashes: other files say nothing of classes.
    """
    found: list[Place | None] = [None] * len(paths)
    inside = _unwrapped(dict(enumerate(paths)))
    roles = _roles(inside)
    if not roles:
        for index, path in inside.items():
            if len(path) > 1:
                found[index] = Place(path[0], None, "/".join(path))
        return found
    given = {index: path for index, path in inside.items() if path[0] in roles}
    below = _unwrapped({index: path[1:] for index, path in given.items()})
    parts = {index: roles[given[index][0]] for index, path in below.items() if len(path) > 1}
    apart = "train" in parts.values() and len(set(parts.values())) > 1
    for index, part in parts.items():
        name = "/".join((given[index][0], *below[index]) if apart else below[index])
        found[index] = Place(below[index][0], part if apart else None, name)
    return found


def _unwrapped(paths: dict[int, Parts]) -> dict[int, Parts]:
    """The paths without the folders that hold all of the others."""
    while True:
        folders = {path[0] for path in paths.values() if len(path) > 1}
        if len(folders) != 1:
            return paths
        inner = {path[1] for path in paths.values() if len(path) > 2}
        # Images beside a single folder are a class with something nested in it; beside more, they are left lying about.
        if not inner or (len(inner) < 2 and any(len(path) == 2 for path in paths.values())):
            return paths
        paths = {index: path[1:] for index, path in paths.items() if len(path) > 1}


def _roles(paths: dict[int, Parts]) -> dict[str, Part]:
    """Folders -> the parts that they are, where they are parts: more than one, one of them with folders inside.

    A part without folders inside is kept out: `test` often holds images that nobody has sorted. And a *class* called
    `train`, beside `bus` and `plane`, has no folders inside.
    """
    parts = {path[0]: PART_NAMES[path[0].lower()] for path in paths.values() if path[0].lower() in PART_NAMES}
    sorted_ = {path[0] for path in paths.values() if len(path) > 2}
    roles = {folder: part for folder, part in parts.items() if folder in sorted_}
    everything = {path[0] for path in paths.values() if len(path) > 1} == set(roles)
    beside = len(set(parts.values())) > 1
    return roles if beside and ("train" in roles.values() or everything) else {}

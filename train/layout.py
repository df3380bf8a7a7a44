"""Where in a heap of paths the classes are, and which part of the data each image was given to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Part = Literal["train", "val", "test"]
Parts = tuple[str, ...]

#: What people call the folders of a split: words, and beginnings of words where words are not apart.
PART_WORDS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainingset", "trn", "learn"),
    "val": (
        "val",
        "valid",
        "validation",
        "valset",
        "validationset",
        "dev",
        "devset",
        "development",
        "eval",
        "evaluation",
    ),
    "test": ("test", "testing", "testset", "testingset", "tst", "holdout"),
}
PART_BEGINNINGS: dict[Part, tuple[str, ...]] = {
    "train": ("训练", "訓練", "学習", "학습", "훈련", "обуч", "трениров"),
    "val": ("验证", "驗證", "検証", "검증", "валид", "проверочн"),
    "test": ("测试", "測試", "テスト", "评估", "테스트", "시험", "тест"),
}
#: Two folders that share at least so many of the smaller one's folders hold the same classes.
SHARED = 0.5


@dataclass(frozen=True)
class Place:
    """Where one image belongs: its class, its part where one was given, and its name from there on down."""

    label: str
    split: Part | None
    name: str


def part_of(folder: str) -> Part | None:
    """The part of a split that a folder is named after: ``Training_Set``, ``seg_test``, ``验证集``; None for others."""
    name = folder.casefold()
    words = re.split(r"[\W\d_]+", name)
    for part, known in PART_WORDS.items():
        if any(word in known for word in words):
            return part
    return next((part for part, known in PART_BEGINNINGS.items() if any(one in name for one in known)), None)


def places(paths: Sequence[Parts]) -> list[Place | None]:
    """The class of each image by its path; None where it lies in no class folder.

    Folders that wrap everything are taken off. Where ``train`` stands beside ``val`` or ``test``, they are parts of the
    data and the classes are the folders inside; so they are where folders that stand side by side hold the same
    folders and one of them is called like a part. Else the folders that stand side by side are the classes. What is
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
    below = _unwrapped(_without_echo({index: path[1:] for index, path in given.items()}, given))
    parts = {index: roles[given[index][0]] for index, path in below.items() if len(path) > 1}
    known = {part for part in parts.values() if part}
    apart = "train" in known and len(known) > 1
    whole = apart or None in parts.values()  # folders that are no parts, of which several may hold the same names
    for index, part in parts.items():
        name = "/".join((given[index][0], *below[index]) if whole else below[index])
        found[index] = Place(below[index][0], part if apart else None, name)
    return found


def only_parts(paths: Sequence[Parts]) -> tuple[str, ...]:
    """The folders, where all of them are parts of a split and none has class folders inside; else none."""
    inside = _unwrapped(dict(enumerate(paths)))
    folders = {path[0] for path in inside.values() if len(path) > 1}
    parts = {part_of(folder) for folder in folders}
    flat = all(len(path) < 3 for path in inside.values())
    return tuple(sorted(folders)) if flat and None not in parts and len(parts) > 1 else ()


def _without_echo(below: dict[int, Parts], given: dict[int, Parts]) -> dict[int, Parts]:
    """Without a folder that says again which part it is of: ``seg_train/seg_train/ants``."""
    echo = {
        folder
        for folder in {path[0] for path in given.values()}
        if len(inner := {below[index][0] for index, path in given.items() if path[0] == folder}) == 1
        and (part_of(next(iter(inner))) or object()) == part_of(folder)
        and all(len(below[index]) > 2 for index, path in given.items() if path[0] == folder)
    }
    return {index: path[1:] if given[index][0] in echo else path for index, path in below.items()}


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


def _roles(paths: dict[int, Parts]) -> dict[str, Part | None]:
    """Folders -> the parts that they are, where they are parts: more than one, one of them with folders inside.

    A part without folders inside is kept out: `test` often holds images that nobody has sorted. And a *class* called
    `train`, beside `bus` and `plane`, has no folders inside. A folder that holds the same classes as `train` and is
    called something else is no part, and no class either.
    """
    named = {path[0]: part for path in paths.values() if (part := part_of(path[0]))}
    inside: dict[str, set[str]] = {}
    for path in paths.values():
        if len(path) > 2:
            inside.setdefault(path[0], set()).add(path[1])
    roles: dict[str, Part | None] = {folder: part for folder, part in named.items() if folder in inside}
    beside_each_other = {path[0] for path in paths.values() if len(path) > 1}
    everything = beside_each_other == set(roles)
    beside = len(set(named.values())) > 1
    if beside and ("train" in roles.values() or everything):
        return roles
    alike = (
        bool(roles) and len(inside) > 1 and beside_each_other == set(inside) and _share_classes(list(inside.values()))
    )
    return {folder: named.get(folder) for folder in inside} if alike else {}


def _share_classes(inside: list[set[str]]) -> bool:
    """Whether folders hold the same folders, two of them at least: colours inside of classes may be the same, too.

    Of each, most must be those of the largest.
    """
    largest = max(inside, key=len)
    return all(len(one & largest) >= max(2, SHARED * len(one)) for one in inside)

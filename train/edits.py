"""What a person changed in a dataset: images left out or moved to another class. The files stay as they are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnet.errors import Refusal
from resnet.naming import MAX_LABEL, class_name
from train.dataset import Dataset, check, moved, without

#: Beside a model: what was changed in the data that it learnt from.
EDITS = "edits.json"


@dataclass(frozen=True)
class Edit:
    """One image left out (`label` is None) or moved to the class `label`."""

    name: str
    label: str | None = None


def edited(dataset: Dataset, edits: Iterable[Edit]) -> Dataset:
    """The dataset after all edits, in order; of an image that was edited twice the last one counts.

    Raises:
        KeyError: if there is no image of such a name.
    """
    last = {edit.name: edit.label for edit in edits}
    labels = {name: label for name, label in last.items() if label is not None}
    gone = [name for name, label in last.items() if label is None]
    if labels:
        dataset = moved(dataset, labels)
    return without(dataset, gone) if gone else dataset


def to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Edits as they are kept beside a model."""
    return [asdict(edit) for edit in edits]


def from_json(data: Any) -> tuple[Edit, ...]:
    """What `to_json` gave.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(data, list):
        raise ValueError("it is no list")
    found = []
    for one in data:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise ValueError("an edit has no name of an image")
        label = one.get("label")
        if label is not None and (not isinstance(label, str) or not class_name(label[:MAX_LABEL])):
            raise ValueError(f"the class of {one['name'][:80]!r} is no text")
        if label is not None and len(label) > MAX_LABEL:
            raise ValueError(f"the class of {one['name'][:80]!r} has more than {MAX_LABEL:,} characters")
        found.append(Edit(one["name"], None if label is None else class_name(label)))
    return tuple(found)


def read_edits(file: Path) -> tuple[Edit, ...]:
    """The edits that a run has left beside its model.

    Raises:
        Refusal: if there is no such file, or it holds no edits.
    """
    try:
        return from_json(json.loads(file.read_text("utf-8")))
    except OSError:
        raise Refusal("edits.missing", "There is no file {name} to read; check the path.", name=file.name) from None
    except (ValueError, RecursionError) as error:
        raise Refusal(
            "edits.file", "{name} holds no edits of a dataset ({reason}); name the edits.json of a saved folder.",
            name=file.name, reason=str(error)[:200],
        ) from None  # fmt: skip


def apply(dataset: Dataset, edits: Iterable[Edit]) -> Dataset:
    """`edited`, for edits that may be of another dataset.

    Raises:
        Refusal: if there is no image of such a name, or too little would be left to learn from.
    """
    try:
        found = edited(dataset, edits)
    except KeyError as error:
        raise Refusal(
            "edits.unknown", "There is no image {image} in {name}, which an edit is about; name the edits of this "
            "dataset.",
            image=str(error.args[0])[:200], name=dataset.name,
        ) from None  # fmt: skip
    check(found)
    return found

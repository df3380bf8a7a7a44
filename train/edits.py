"""What a person changed in a dataset: images left out or moved to another class. The files stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from train.dataset import Dataset, moved, without


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
    """Edits as they are kept beside a run."""
    return [asdict(edit) for edit in edits]

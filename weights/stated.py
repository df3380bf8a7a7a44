"""What a training's checkpoint says beside its weights: the architecture, how it was built, its classes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weights.layouts import by_index, shorten

# Where scripts keep what they were told.
TOLD = ("args", "opt", "config", "cfg", "hparams", "hyper_parameters", "params", "meta", "dataset_meta")
# Keys whose texts name an architecture and nothing else; and those that may also be a name of somebody's own.
SURE = ("arch", "architecture", "model_arch")
UNSURE = ("model", "model_name", "model_type", "network", "net", "backbone", "backbone_name", "encoder", "encoder_name")
# Under which the names of classes stand, in order or with their numbers.
NAMES = (
    "classes", "class_names", "label_names", "class_to_idx", "idx_to_class", "class_indices", "id2label", "label2id",
    "names", "labels", "CLASSES",
)  # fmt: skip
# timm's scripts: arguments of the network that are options by themselves.
OPTIONS = {"in_chans": "in_chans", "gp": "global_pool"}


def architectures(loaded: object) -> tuple[tuple[str, bool], ...]:
    """Each architecture that is named, and whether the text is surely meant as one."""
    found = {}
    for told in _told(loaded):
        for key in (*UNSURE, *SURE):
            if isinstance(value := told.get(key), str) and value.strip():
                found[shorten(value.strip(), 80)] = key in SURE
    return tuple(found.items())


def model_args(loaded: object) -> dict[str, Any]:
    """What a script of timm's built its network with, beside the name."""
    found: dict[str, Any] = {}
    for told in _told(loaded):
        found |= {theirs: told[key] for key, theirs in OPTIONS.items() if told.get(key) and _is_plain(told[key])}
        if given := mapping(told.get("model_kwargs")):
            found |= {str(key): value for key, value in given.items() if _is_plain(value)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def problem(loaded: object) -> str | None:
    """What transformers' key says that it was trained for."""
    said = (told.get("problem_type") for told in _told(loaded))
    return next((one for one in said if isinstance(one, str)), None)


def labels(loaded: object) -> tuple[str, ...] | None:
    """The names of its classes."""
    for told in _told(loaded):
        for key in NAMES:
            if found := _labels(told.get(key)):
                return found
    return None


def _labels(value: object) -> tuple[str, ...] | None:
    """Names in order or by number; None of what may be anything else."""
    if isinstance(value, list | tuple):
        return tuple(value) if value and all(isinstance(one, str) for one in value) else None
    named = mapping(value)
    if not named or not (_texts(named) or _texts(named.values())):
        return None
    try:
        return tuple(by_index(named) or ())
    except ValueError:
        return None


def _texts(values: Iterable[object]) -> bool:
    return all(isinstance(one, str) for one in values)


def mapping(value: object) -> Mapping[Any, Any] | None:
    """What has names for its values: a dict, or the options of a script."""
    if isinstance(value, argparse.Namespace):
        return vars(value)
    return value if isinstance(value, Mapping) else None


def _told(loaded: object) -> Iterator[Mapping[Any, Any]]:
    """The mappings in which scripts say what they did: the file's own, and those of its options."""
    if (whole := mapping(loaded)) is None:
        return
    yield whole
    yield from (told for key in TOLD if (told := mapping(whole.get(key))) is not None)


def _is_plain(value: object) -> bool:
    several = value if isinstance(value, list | tuple) else (value,)
    return len(several) < 100 and all(isinstance(one, str | int | float | None) for one in several)

"""Images that look unlike the rest of their dataset: placeholders, icons, drawings among photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.dataset import Dataset

Reason = Literal["few_colours", "palette", "small", "odd_shape", "far_in_features"]
Numbers = npt.NDArray[np.float64]

#: Of each measure, what counts as odd. All are calibrated so that of 2,600 flower photos fewer than 1 in 100 are named.
LIMITS: Mapping[Reason, float] = {
    "few_colours": 3.75,  # standard deviations (robust, of log2) below the median
    "palette": 1.0,  # stored with a palette while 95 in 100 are not
    "small": 1.6,  # the short side is a third of the median's: log2
    "odd_shape": 1.25,  # long side / short side is 2.4 times the median's, or a 2.4th of it: log2
    "far_in_features": 3.0,  # standard deviations (robust, of log2) above the median
}
#: Fewer images have no "rest" to be unlike.
ENOUGH = 10
#: An image is as far out as its mean distance to this many nearest ones.
NEIGHBOURS = 5
BLOCK = 1000


@dataclass(frozen=True)
class Unlike:
    """An image that looks unlike the rest: its name, why, most telling reason first, and how odd that makes it.

    `oddness` is the sum over the reasons of how often each limit is reached, from 1.
    """

    name: str
    reasons: tuple[Reason, ...]
    oddness: float


def unlike(dataset: Dataset, features: Tensor | None = None) -> tuple[Unlike, ...]:
    """Images that look unlike the rest, the oddest first. They are for a person to look at: some are fine.

    Args:
        dataset: to look through; of fewer than 10 images none is named.
        features: ``(N, num_features)`` of its images in their order, of a network that has seen photos before
            (`Classifier.features`). What is far from its nearest others in them is odd in what it shows.

    Raises:
        ValueError: if there are not as many features as images.
    """
    images = dataset.images
    if features is not None and len(features) != len(images):
        raise ValueError(f"there are features of {len(features)} images for {len(images)}")
    if len(images) < ENOUGH:
        return ()
    short, long = np.array([image.sides for image in images], np.float64).T
    shape = np.log2(long / short)
    measures: dict[Reason, Numbers] = {
        # A histogram of 64 x 64 pixels knows half a bit at best.
        "few_colours": -_deviations(np.log2([image.colours for image in images]), floor=0.5),
        "palette": _palette([image.mode for image in images]),
        "small": np.median(np.log2(short)) - np.log2(short),
        "odd_shape": np.abs(shape - np.median(shape)),
    }
    if features is not None:
        measures["far_in_features"] = _deviations(np.log2(_distances(features)), floor=0.1)
    found = []
    for index, image in enumerate(images):
        odd = {name: float(values[index] / LIMITS[name]) for name, values in measures.items()}
        reasons = sorted((name for name in odd if odd[name] >= 1), key=lambda name: -odd[name])
        if reasons:
            found.append(Unlike(image.name, tuple(reasons), sum(odd[name] for name in reasons)))
    return tuple(sorted(found, key=lambda one: -one.oddness))


def in_order(dataset: Dataset, names: Sequence[str], features: Tensor) -> Tensor:
    """Features for `unlike`: those of `names` in the order of a dataset's images.

    Of an image that none are known of (it could not be decoded, or came later) nothing odd should be said: it gets the
    mean of the others.
    """
    rows = dict(zip(names, features, strict=True))
    mean = features.mean(0)
    return torch.stack([rows.get(image.name, mean) for image in dataset.images])


def _deviations(values: Numbers, floor: float) -> Numbers:
    """How many standard deviations above the median; of the middle half, lest the odd ones say what is odd."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))  # of a normal distribution that is the standard deviation
    deviations: Numbers = (values - middle) / max(float(spread), floor)
    return deviations


def _palette(modes: Sequence[str]) -> Numbers:
    """1 for images with a palette (or of two colours), where these are under 5 in 100."""
    counts = Counter(mode in ("P", "PA", "1") for mode in modes)
    rare = counts[True] < 0.05 * len(modes)
    return np.array([float(rare and mode in ("P", "PA", "1")) for mode in modes])


def _distances(features: Tensor) -> Numbers:
    """``(N, D)`` -> ``(N,)`` mean cosine distance of each to its nearest others.

    A copy beside it does not make a placeholder fit in, as long as there are fewer copies than neighbours.
    """
    directions = torch.nn.functional.normalize(features.float().cpu(), dim=1)
    count = min(NEIGHBOURS, len(directions) - 1)
    found = []
    for start in range(0, len(directions), BLOCK):
        block = directions[start : start + BLOCK]
        alike = block @ directions.T
        rows = torch.arange(len(block))
        alike[rows, rows + start] = -2  # not with itself
        found.append(1 - alike.topk(count, dim=1).values.mean(1))
    return torch.cat(found).clamp_min(1e-6).double().numpy()

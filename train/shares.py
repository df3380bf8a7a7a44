"""Shares that were counted, and how far to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from train import markdown


def wilson(right: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share that was counted (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953).

    It stays within 0..1 and keeps its promise for few photos and for shares near 0 or 1, where the usual
    ``p ± 1.96 sqrt(p (1 - p) / n)`` does neither. Of no photos nothing is known: 0..1.

    Args:
        right: how many were right.
        total: of how many.
        confidence: how often such an interval holds the true share.

    Raises:
        ValueError: if there are more right than there are, or fewer than none.
    """
    if not 0 <= right <= total:
        raise ValueError(f"{right} of {total} is no share")
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    scale = 1 + z * z / total
    # At the ends the formula gives 0 and 1 but for the last bit.
    low = 0.0 if right == 0 else (centre - half) / scale
    return low, 1.0 if right == total else (centre + half) / scale


def mcnemar(only_first: int, only_second: int) -> float:
    """How likely two classifiers of equal accuracy differ by chance as much as these or more, 0..1.

    The exact, two-sided test (McNemar 1947, https://doi.org/10.1007/BF02295996): photos that both name rightly or both
    wrongly say nothing; of the others, each is as likely to be only the first's as only the second's.

    Args:
        only_first: photos that only the first has right.
        only_second: photos that only the second has right.
    """
    total = only_first + only_second
    tail = ways = 1
    for one in range(min(only_first, only_second)):
        ways = ways * (total - one) // (one + 1)
        tail += ways
    return min(1.0, tail / (1 << total - 1)) if total else 1.0


@dataclass(frozen=True)
class Share:
    """`right` of `total`, with its 95 % Wilson interval from `low` to `high`; `value` is None of no photos."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        return self.right / self.total if self.total else None

    @property
    def low(self) -> float:
        return wilson(self.right, self.total)[0]

    @property
    def high(self) -> float:
        return wilson(self.right, self.total)[1]

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "right": self.right, "total": self.total}

    def __str__(self) -> str:
        return f"{markdown.percent(self.value)} (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True)
class Comparison:
    """A baseline on the same photos: its accuracy, and the photos that only one of the two has right."""

    accuracy: Share
    only_model: int
    only_baseline: int

    @property
    def p_value(self) -> float:
        """Of the exact McNemar test."""
        return mcnemar(self.only_model, self.only_baseline)


@dataclass(frozen=True)
class ClassFigures:
    """One class: of the photos that show it, the share named so (`recall`); of those named so, the share that show it.

    `f1` is the harmonic mean of the two. Each is None where there is nothing to count.
    """

    name: str
    recall: Share
    precision: Share

    @property
    def support(self) -> int:
        """How many photos show it."""
        return self.recall.total

    @property
    def f1(self) -> float | None:
        counted = self.recall.total + self.precision.total
        return 2 * self.recall.right / counted if counted else None

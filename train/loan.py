"""A device that is lent for seconds at a time: how many to ask for, and what to say where none is lent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from resnet.errors import Refusal
from train.events import Paused

#: Refusals after which a shorter loan may still be granted.
TOO_LONG = ("loan.quota", "loan.quota_wait", "loan.long")


@dataclass(frozen=True)
class Terms:
    """For how long to borrow.

    Args:
        first_s: the first time, while nothing has been measured.
        least_s: what is worth asking for.
        most_s: what is asked for at most, as whoever borrows for longer waits longer; a step always fits.
        start_s: of each loan that pass before the first step: the process and the device are made ready.
        margin: how many times as long a thing may take as measured.
    """

    first_s: float = 20.0
    least_s: float = 10.0
    most_s: float = 60.0
    start_s: float = 4.0
    margin: float = 1.25

    def ask(self, paused: Paused | None) -> int:
        """Seconds to ask for: what the rest takes, as far as that is known."""
        if paused is None:
            return math.ceil(self.first_s)
        wanted = min(self.most_s, self.start_s + self.margin * paused.left_s)
        least = self.start_s + self.margin * paused.least_s
        return math.ceil(max(wanted, least, self.least_s))

    def shorter(self, seconds: int, refusal: Refusal) -> int | None:
        """What to ask for instead; None where it is of no use."""
        half = seconds // 2
        return half if refusal.code in TOO_LONG and half >= self.least_s else None

    def over(self, loan_s: float, spent_s: float, next_s: float) -> bool:
        """Whether what comes next no longer fits into a loan, of which so many seconds were spent on the device."""
        return self.start_s + spent_s + self.margin * next_s > loan_s


@dataclass(frozen=True)
class Lender:
    """Who lends.

    Args:
        lend: told a piece of a training (`train.pieces.Piece`) and for how many seconds, it lets a process with a
            device compute it and yields what that yields. It raises a `Refusal` where no device is lent, or one was
            taken back.
        terms: for how long to borrow.
    """

    lend: Callable[[Any, int], Iterator[Any]]
    terms: Terms = Terms()


def lost() -> Refusal:
    """Of a process that ended before its piece did."""
    return Refusal(
        "loan.lost", "The GPU was taken back before its work was done; what was saved before that is kept, and you can "
        "go on from it.",
    )  # fmt: skip

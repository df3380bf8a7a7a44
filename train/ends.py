"""When a run is to end, whatever it does then: its owner says so, or its time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from resnet.errors import Refusal
from train.distributed import anyone, place


class Ends:
    """Looked at in every phase of a run; true once there is only time for what comes after all learning.

    Args:
        asked: whether the owner wants it to end.
        minutes: that the whole run may take, of those that are given the fewest; None for no limit.
        clock: what time it is, in seconds.
    """

    def __init__(
        self, asked: Callable[[], bool], *minutes: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.asked, self._clock = asked, clock
        self.minutes = min((one for one in minutes if one is not None), default=math.inf)
        self.reserve_s = 0.0  # for measuring and writing
        self._until = clock() + 60 * self.minutes

    def late(self) -> bool:
        """Whether the time is up."""
        return self._clock() > self._until - self.reserve_s

    def left(self) -> float:
        """Minutes until then."""
        return max(0.0, self._until - self._clock()) / 60

    def __call__(self) -> bool:
        return self.asked() or self.late()

    def alone(self) -> bool:
        """The same where this process need not agree with others: of several none ends by itself."""
        return place()[1] == 1 and self()

    def refuse(self) -> None:
        """End a run that has no model yet; of several processes all do.

        Raises:
            Refusal: if it is to end.
        """
        if not anyone(self()):
            return
        if self.asked():
            raise stopped()
        raise Refusal(
            "train.time", "The {minutes} minutes were over before all photos were read; give it more time, or bring "
            "fewer photos.",
            minutes=f"{self.minutes:.3g}",
        )  # fmt: skip


def stopped() -> Refusal:
    """Of a run that its owner ended too soon."""
    return Refusal("train.stopped", "The training was stopped before there was a model; let it run a little longer.")

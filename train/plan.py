"""How many steps a training has and how far it is: given by the epochs, or fitted to a time budget as it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from train.distributed import anyone, fewest

#: Steps that are measured before the epochs of a time budget are planned; the first is slower than the others.
MEASURED = 4
#: Points of the way ahead at which the cost of a step is asked.
ASKED = 40
#: What a state keeps of a plan.
KEPT = ("step", "total_steps", "progress", "unit_s", "planned", "eval_s")


class Plan:
    """Counts steps, measures them, and says where in its schedule the training is.

    Args:
        steps_an_epoch: at the end of which the training is judged.
        epochs: None where the seconds decide.
        seconds: of all steps and judgements; None where the epochs decide.
        eval_s: that a judgement takes, as far as is known.
        cost: of a step at some progress beside the others: pieces may grow, and layers stop learning.
    """

    def __init__(
        self,
        steps_an_epoch: int,
        epochs: int | None,
        seconds: float | None,
        eval_s: float,
        cost: Callable[[float], float] = lambda _: 1.0,
    ) -> None:
        self.steps_an_epoch, self.seconds, self.eval_s, self.cost = steps_an_epoch, seconds, eval_s, cost
        self.began, self.spent = time.monotonic(), 0.0  # seconds of earlier processes
        self.step, self.progress = 0, 0.0
        self.unit_s = 0.0  # seconds of a step whose cost is 1
        self.planned = seconds is None
        # Of a budget: until some steps are measured, no step is known to be the last one.
        self.total_steps = (epochs or 1) * steps_an_epoch if self.planned else 10**9

    @property
    def over(self) -> bool:
        return self.step >= self.total_steps

    @property
    def step_s(self) -> float:
        """Seconds of a step, here and now."""
        return self.unit_s * self.cost(self.progress)

    def _ahead_s(self) -> float:
        """Seconds of a step, on average over what is left of the training."""
        rest = (1 - self.progress) / ASKED
        return self.unit_s * sum(self.cost(self.progress + rest * (part + 0.5)) for part in range(ASKED)) / ASKED

    def elapsed(self) -> float:
        """Seconds of training, those of processes before this one included."""
        return self.spent + time.monotonic() - self.began

    def left(self) -> float:
        """Seconds of the budget; without one, as many as one likes."""
        return math.inf if self.seconds is None else self.seconds - self.elapsed()

    def count(self, seconds: float) -> None:
        """One step more, which took so many seconds, with all that was waited for."""
        self.step += 1
        # The mean of the first ones without the very first, then a moving average.
        weight = 1.0 if self.step <= 2 else max(0.1, 1 / (self.step - 1))
        self.unit_s += weight * (seconds / self.cost(self.progress) - self.unit_s)
        if not self.planned and self.step == MEASURED:
            self.replan()
        if self.planned:
            self.progress += (1 - self.progress) / (max(1, self.total_steps - self.step) + 1)
        else:
            # Learning rates follow from it, so the processes agree on it as well, in thousandths.
            share = fewest(int(1000 * self.elapsed() / max(self.seconds or 0.0, 1e-3))) / 1000
            self.progress = max(self.progress, min(1.0, share))

    def replan(self) -> None:
        """Find how many steps still fit into the budget; processes agree on the fewest."""
        if self.seconds is None:
            return
        step_s = max(self._ahead_s(), 1e-6)
        self.total_steps = self.step + fewest(
            fitting(self.left(), step_s, self.eval_s, self.steps_an_epoch, self.step % self.steps_an_epoch)
        )
        self.planned = True

    def late(self) -> bool:
        """Whether the budget leaves only the time that judging takes; one process's word counts for all."""
        return self.seconds is not None and anyone(self.left() < self.eval_s)

    def eta_s(self) -> float:
        """Seconds until the training ends."""
        if not self.planned:
            return max(0.0, self.left())
        steps = max(0, self.total_steps - self.step)
        return steps * self._ahead_s() + max(1, math.ceil(steps / self.steps_an_epoch)) * self.eval_s

    def ends_epoch(self) -> bool:
        """Whether a judgement follows the next step."""
        return (self.step + 1) % self.steps_an_epoch == 0 or self.step + 1 >= self.total_steps

    def state(self) -> dict[str, float]:
        return {**{name: getattr(self, name) for name in KEPT}, "spent": self.elapsed()}

    def load(self, state: dict[str, float]) -> None:
        """Go on with an earlier process's plan."""
        for name in KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))
        self.spent, self.began = state["spent"], time.monotonic()


def fitting(left: float, step_s: float, eval_s: float, steps_an_epoch: int, done: int) -> int:
    """The most steps that fit into `left` seconds together with a judgement after each epoch and after the last step.

    Args:
        left: seconds.
        step_s: seconds of a step.
        eval_s: seconds of a judgement.
        steps_an_epoch: how often is judged.
        done: steps of the present epoch that are done.
    """
    most = 0
    epochs = int((left + done * step_s) / (steps_an_epoch * step_s + eval_s))
    for judged in (max(1, epochs), epochs + 1):
        most = max(most, min(judged * steps_an_epoch - done, int((left - judged * eval_s) / step_s)))
    return most

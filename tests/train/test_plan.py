"""How many steps fit into a time budget, and where in its schedule a training is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from train import plan
from train.plan import Plan, fitting


class Clock:
    """Stands in for the time, so that a budget of an hour takes no time."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(plan, "time", clock)
    return clock


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("eval_s", [0.0, 2.0, 50.0])
@pytest.mark.parametrize("left", [-1.0, 0.5, 10.0, 61.0, 1000.0])
def test_the_most_steps_that_fit(left: float, eval_s: float, done: int) -> None:
    def takes(steps: int) -> float:
        return steps * 0.5 + max(1, math.ceil((done + steps) / 10)) * eval_s

    tried = [steps for steps in range(3000) if takes(steps) <= left]
    assert fitting(left, 0.5, eval_s, 10, done) == max(tried, default=0)


@pytest.mark.parametrize("an_epoch", [2, 7, 100])
@pytest.mark.parametrize("seconds", [30.0, 300.0, 3600.0])
def test_a_budget_is_used_and_kept_whatever_an_epochs_length(an_epoch: int, seconds: float, clock: Clock) -> None:
    """The first step is slow, the others vary, each epoch ends with a judgement."""
    steps = Plan(an_epoch, None, seconds, eval_s=3.0)
    progress = []
    while not steps.over:
        for _ in range(an_epoch):
            took = 4.0 if steps.step == 0 else (0.9, 1.0, 1.1)[steps.step % 3]
            clock.now += took
            steps.count(took)
            progress.append(steps.progress)
            if steps.over or steps.late():
                break
        clock.now += 2.0
        steps.eval_s = 2.0
        steps.replan()
    assert 0.9 * seconds < clock.now - 100.0 <= 1.02 * seconds
    assert progress == sorted(progress)
    # The schedule ends with the budget, not before: in the middle of the steps it is in the middle.
    assert progress[-1] > 0.9 and 0.35 < progress[len(progress) // 2] < 0.65


COSTS: dict[str, Callable[[float], float]] = {
    "pieces grow": lambda progress: min(1.0, 0.3 + progress),
    "layers stop learning": lambda progress: 1.0 - 0.15 * int(4 * progress),
    "both": lambda progress: min(1.0, 0.3 + progress) * (1.0 - 0.15 * int(4 * progress)),
}


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("an_epoch", [10, 10_000])
def test_steps_that_grow_longer_or_shorter_are_planned_for(name: str, an_epoch: int, clock: Clock) -> None:
    """Also where a single plan must do, because the first epoch does not come to its end."""
    cost = COSTS[name]
    steps = Plan(an_epoch, None, 1000.0, 0.0, cost)
    etas = []
    while not steps.over:
        for _ in range(an_epoch):
            took = cost(steps.progress)
            clock.now += took
            steps.count(took)
            if steps.step > plan.MEASURED:
                etas.append(clock.now + steps.eta_s())
                assert steps.step_s == pytest.approx(cost(steps.progress))
            if steps.over or steps.late():
                break
        steps.replan()
    assert clock.now - 100.0 == pytest.approx(1000, abs=30)
    assert etas == [pytest.approx(1100, abs=60)] * len(etas), "the same end is told all the way"


def test_epochs_need_no_clock(clock: Clock) -> None:
    steps = Plan(4, 3, None, eval_s=1.0)
    for _ in range(12):
        assert not steps.over and not steps.late()
        clock.now += 1e6
        steps.count(1.0)
        steps.replan()
    assert steps.over and steps.left() == math.inf


def test_a_resumed_plan_goes_on(clock: Clock) -> None:
    first = Plan(10, None, 100.0, eval_s=1.0)
    for _ in range(10):
        clock.now += 1.0
        first.count(1.0)
    state = first.state()
    clock.now += 5000  # nobody counts the night in between
    again = Plan(10, None, 100.0, eval_s=1.0)
    again.load(state)
    assert again.left() == pytest.approx(90) and again.state() == state
    assert (again.total_steps, again.progress, again.eta_s()) == (first.total_steps, first.progress, first.eta_s())

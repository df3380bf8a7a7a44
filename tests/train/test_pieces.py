"""A training in pieces: the weights of the undivided one, whatever happens between them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet.errors import Refusal
from tests.train.test_fit import of_kind, same, weights
from train.cache import Shelf
from train.dataset import Dataset
from train.events import Baseline, Epoch, Event, Finished, Fitted, Interrupted, Lent, Paused, Step
from train.job import Job
from train.loan import Lender, Terms
from train.pieces import END, Piece, run_piece
from train.recipe import choose
from train.run import run
from train.split import split
from train.state import STATE
from weights.checkpoint import Checkpoint

#: What differs from run to run.
CLOCKED = {"seconds", "images_per_second", "eta_s"}


class Brief(Terms):
    """Loans in which there is time for one step alone."""

    def over(self, loan_s: float, spent_s: float, next_s: float) -> bool:
        return True


BRIEF = Brief()


class Lends:
    """Lends this very process, where what is told has travelled; after some loans it refuses."""

    def __init__(self, loans: int = 10**6, refusal: Refusal | None = None) -> None:
        self.loans, self.refusal = loans, refusal or Refusal("loan.busy", "No GPU was free.")
        self.asked: list[int] = []

    def __call__(self, piece: Piece, seconds: int) -> Iterator[Any]:
        self.asked.append(seconds)
        if self.loans == 0:
            raise self.refusal
        self.loans -= 1
        travelled = pickle.dumps(piece)
        assert len(travelled) < 10_000, "tensors lie in the folder"
        for event in run_piece(pickle.loads(travelled), seconds):
            yield pickle.loads(pickle.dumps(event))


@pytest.fixture
def lent(make_job: Callable[..., Job], tmp_path: Path) -> Callable[..., Job]:
    def make(lender: Lends, method: str = "all", terms: Terms = BRIEF, **settings: Any) -> Job:
        return replace(make_job(method, state=tmp_path / "state", **settings), lender=Lender(lender, terms))

    return make


@pytest.fixture(scope="module")
def whole(shapes: Dataset, tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """What the undivided run tells; `make_job("all", batch_size=14)` on the CPU, two epochs of two steps."""
    parts = split(shapes, 0.3)
    recipe = choose("all", len(parts.train), epochs=2, batch_size=14)
    out = tmp_path_factory.mktemp("whole") / "out"
    return list(run(Job(shapes, parts, tiny, recipe, out, None, torch.device("cpu"), "shapes")))


def alike(one: list[Event], other: list[Event]) -> None:
    assert same(weights(one), weights(other))
    for kind in (Step, Epoch, Baseline):
        first, second = (
            [replace(event, **dict.fromkeys(CLOCKED & set(vars(event)), 0)) for event in of_kind(events, kind)]
            for events in (one, other)
        )
        assert first == second, kind
    assert of_kind(one, Finished)[0].why == of_kind(other, Finished)[0].why


def test_step_by_step_it_ends_with_the_same_weights(whole: list[Event], lent: Callable[..., Job]) -> None:
    lender = Lends()
    divided = list(run(lent(lender, batch_size=14)))
    alike(whole, divided)
    pieces = of_kind(divided, Lent)
    assert len(pieces) == len(lender.asked) == len(of_kind(whole, Step)) == 4
    assert len(of_kind(divided, Paused)) == len(pieces) - 1


def test_sizes_that_grow_and_a_teacher(
    make_job: Callable[..., Job], lent: Callable[..., Job], tiny: Checkpoint
) -> None:
    settings: dict[str, Any] = {"start_size": 0.5, "image_size": 64, "epochs": 2, "batch_size": 10}
    undivided, divided = (
        list(run(replace(job, teacher=tiny)))
        for job in (make_job("scratch", **settings), lent(Lends(), "scratch", **settings))
    )
    alike(undivided, divided)


@pytest.mark.parametrize("loans", [1, 3])
def test_refused_in_the_middle_it_keeps_the_best_and_goes_on(
    loans: int, whole: list[Event], lent: Callable[..., Job]
) -> None:
    job = lent(Lends(loans), batch_size=14)
    events = list(run(job))
    (interrupted,), (finished,) = of_kind(events, Interrupted), of_kind(events, Finished)
    assert interrupted.refusal.code == "loan.busy" and (finished.folder / "model.safetensors").is_file()
    # Of 28 photos in batches of 14 an epoch has 2 steps.
    assert [one.why for one in of_kind(events, Fitted)] == (["interrupted"] if loans > 2 else [])
    assert finished.why == ("interrupted" if loans > 2 else None) and (finished.kept == "baseline" or loans > 2)
    events = list(run(replace(job, lender=Lender(Lends(), BRIEF))))
    assert same(weights(whole), weights(events)) and not of_kind(events, Interrupted)
    assert [one["epoch"] for one in of_kind(events, Fitted)[0].history] == [1, 2]


def test_a_worker_that_dies_is_gone_on_from_the_last_state(make_job: Callable[..., Job], lent: Any) -> None:
    class Dying(Lends):
        def __call__(self, piece: Piece, seconds: int) -> Iterator[Any]:
            for number, event in enumerate(super().__call__(piece, seconds)):
                if len(self.asked) == 3 and number == 2:
                    raise Refusal("loan.lost", "The GPU was taken back.")
                yield event

    undivided = weights(list(run(make_job("scratch"))))
    job = lent(Dying(), "scratch")
    events: list[Event] = []
    with pytest.raises(Refusal, match="before there was a model"):  # in the first epoch, and from scratch
        events.extend(run(job))
    events = []
    for event in run(replace(job, lender=Lender(Lends(), BRIEF))):
        events.append(event)
    assert of_kind(events, Step)[0].epoch == 1 and len(of_kind(events, Step)) < 8, "what was saved is not done again"
    assert same(undivided, weights(events))


def test_a_stop_ends_it_as_it_ends_the_undivided_one(make_job: Callable[..., Job], lent: Callable[..., Job]) -> None:
    def stopped_in_the_second_epoch(job: Job) -> list[Event]:
        events: list[Event] = []
        for event in run(job, lambda: any(isinstance(one, Step) and one.epoch == 2 for one in events)):
            events.append(event)
        return events

    undivided, divided = (
        stopped_in_the_second_epoch(job)
        for job in (make_job("scratch", batch_size=14), lent(Lends(), "scratch", batch_size=14))
    )  # fmt: skip
    assert of_kind(divided, Finished)[0].why == "stopped"
    alike(undivided, divided)


def test_stopped_before_the_first_loan_none_is_asked_for(lent: Callable[..., Job]) -> None:
    lender = Lends()
    with pytest.raises(Refusal, match="before there was a model"):
        list(run(lent(lender, "scratch"), lambda: True))
    assert not lender.asked


def test_what_was_learnt_is_not_learnt_again(lent: Callable[..., Job]) -> None:
    lender = Lends()
    job = lent(lender, "scratch", epochs=1, batch_size=16)
    first = weights(list(run(job)))
    assert job.state is not None and (job.state / END).is_file() and (job.state / STATE).is_file()
    asked = len(lender.asked)
    assert same(first, weights(list(run(job)))) and len(lender.asked) == asked == 2


@pytest.mark.parametrize(
    ("code", "asked"), [("loan.quota", [20, 10]), ("loan.long", [20, 10]), ("loan.busy", [20]), ("loan.lost", [20])]
)
def test_a_shorter_loan_is_asked_for_where_a_long_one_is_refused(
    code: str, asked: list[int], lent: Callable[..., Job]
) -> None:
    lender, events = Lends(0, Refusal(code, "No.")), []
    with pytest.raises(Refusal, match="before there was a model"):
        for event in run(lent(lender, "scratch", terms=Terms())):
            events.append(event)
    assert lender.asked == asked and of_kind(events, Interrupted)[0].refusal.code == code


def test_how_long_a_loan_is_follows_from_what_was_measured() -> None:
    terms = Terms(first_s=20, least_s=10, most_s=60, start_s=4, margin=1.25)
    assert terms.ask(None) == 20
    for left, least, asked in ((1000, 1, 60), (24, 1, 34), (2, 1, 10), (1000, 80, 104)):
        assert terms.ask(Paused(1, 0.5, left, least)) == asked
    assert not terms.over(60, 30, 20) and terms.over(60, 30, 21) and terms.over(60, 57, 0)


def test_a_shelf_without_a_name_does_not_travel(tmp_path: Path) -> None:
    for shelf in (Shelf(0, 10), Shelf(10, 0, tmp_path)):
        with pytest.raises(TypeError, match="name"):
            pickle.dumps(shelf)

"""Training and naming on lent GPUs, through the real `spaces`: what is asked, in whose name, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet.classifier import Classification
from tests.zero.conftest import Space
from tests.zero.device_api import visitor_token
from tests.zero.small import small_job, sums
from train.drawn import draw
from train.events import Fitted
from train.run import run
from weights.load import load


@pytest.fixture(scope="module")
def undivided(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int]:
    """A function: (method, **settings) -> the weights that a run of this process ends with."""
    known: dict[str, int] = {}

    def weights(**settings: Any) -> int:
        key = str(settings)
        if key not in known:
            job = small_job(tmp_path_factory.mktemp("undivided"), **settings)
            known[key] = next(sums(event.state_dict) for event in run(job) if isinstance(event, Fitted))
        return known[key]

    return weights


def test_a_training_in_four_loans_ends_with_the_weights_of_an_undivided_one(
    space: Space, undivided: Callable[..., int], tmp_path: Path
) -> None:
    said = space.do("train", folder=str(tmp_path))
    assert said == [{"fitted": "planned", "sums": undivided(method="all"), "steps": 4}]
    loans = space.api.loans
    assert len(loans) == 4 and all(loan.granted and loan.ended == "released" for loan in loans)
    assert {loan.token for loan in loans} == {visitor_token("anna")}, "in the visitor's name"
    # The first measures; the others are as long as the rest takes, but not longer than what is worth asking for.
    assert loans[0].seconds == 20 and all(10 <= loan.seconds <= 60 for loan in loans)
    assert [bool(loan.pid) for loan in loans] == [True, False, False, False], "one worker, kept between loans"


@pytest.mark.parametrize("grants", [1, 3])
def test_a_quota_that_runs_out_in_the_middle(
    grants: int, space: Space, undivided: Callable[..., int], tmp_path: Path
) -> None:
    space.api.grants, space.api.queued = grants, True
    said = space.do("train", folder=str(tmp_path), method="scratch")
    assert said[0]["interrupted"] == "loan.quota_wait" and "go on in 1:00:00" in said[0]["why"]
    # After the first of two epochs there is something to keep.
    assert [one["fitted"] for one in said[1:]] == (["interrupted"] if grants >= 2 else [])
    refused = [loan.seconds for loan in space.api.loans if not loan.granted]
    assert refused and refused == sorted(refused, reverse=True), "a shorter loan is tried"
    space.api.grants = 10**6
    (said,) = space.do("train", folder=str(tmp_path), method="scratch")
    assert (said["fitted"], said["sums"], said["steps"]) == ("planned", undivided(method="scratch"), 4 - grants)


def test_a_worker_that_is_killed(space: Space, undivided: Callable[..., int], tmp_path: Path) -> None:
    """kill -9 after the second step, which is lost: only the first was saved."""
    settings = {"method": "scratch", "batch_size": 4}
    space.api.grants, space.api.idle = 1, False
    assert space.do("train", folder=str(tmp_path), **settings)[0]["interrupted"] == "loan.quota_wait"
    (tmp_path / "dies").touch()
    space.api.grants = 10**6
    assert space.do("train", folder=str(tmp_path), **settings)[0]["interrupted"] == "loan.lost"
    (said,) = space.do("train", folder=str(tmp_path), **settings)
    assert (said["fitted"], said["sums"], said["steps"]) == ("planned", undivided(**settings), 7)
    assert len({loan.pid for loan in space.api.granted}) == len(space.api.granted), "a worker for each loan"


@pytest.mark.parametrize(
    ("refuses", "most_s", "code", "asked"),
    [
        ("busy", 120, "loan.busy", [20]),  # a shorter one would be of no use
        ("expired", 120, "loan.expired", [20]),
        ("quota", 5, "loan.long", [20, 10]),
    ],
)
def test_no_gpu_a_page_that_was_closed_and_a_loan_that_is_too_long(
    refuses: str, most_s: int, code: str, asked: list[int], space: Space, tmp_path: Path
) -> None:
    space.api.grants, space.api.refuses, space.api.most_s = 0, refuses, most_s
    assert space.do("train", folder=str(tmp_path), method="scratch")[0]["interrupted"] == code
    assert [loan.seconds for loan in space.api.loans] == asked


def test_photos_are_named_as_everywhere(space: Space, tmp_path: Path) -> None:
    draw(tmp_path, per_class=1)
    photos = sorted(tmp_path.rglob("*.png"))[:3]
    rows = load("flowers").classifier("cpu").predict(photos, top_k=3)

    def told(rows: list[Classification]) -> list[dict[str, Any]]:
        return [{"row": [[one.label, one.probability] for one in row.predictions]} for row in rows]

    names = [str(photo) for photo in photos]
    for asked, expected in ((names, rows), (names[:1], rows[:1])):
        *said, _ = space.do("name", photos=asked, model="flowers")
        assert said == told(expected)
    loans = space.api.loans
    assert [(loan.token, loan.ended) for loan in loans] == [(visitor_token("bert"), "released")] * 2
    assert all(loan.seconds <= 10 for loan in loans)
    space.api.grants = 0
    *said, _ = space.do("name", photos=names, model="flowers")
    assert said == told(rows), "where no GPU is lent, the CPU names them"

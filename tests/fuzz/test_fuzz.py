"""Bytes that nobody made on purpose are read or refused; `python -m tests.fuzz` tries as many as one likes."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.fuzzing import CORPUS, failure
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS

#: So many for each, times its share.
TRIES = 100


@pytest.mark.parametrize("name", TARGETS)
def test_changed_bytes_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    seeds, rng = target.seeds(), random.Random(22)
    assert [failure(target, seed) for seed in seeds] == [None] * len(seeds)
    for _ in range(int(TRIES * target.share)):
        data = mutated(rng, seeds)
        assert failure(target, data) is None, data


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_is_read_or_refused(name: str) -> None:
    for path in sorted((CORPUS / name).glob("*")):
        assert failure(TARGETS[name], path.read_bytes()) is None, path.name

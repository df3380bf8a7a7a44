"""A refusal that comes from another process."""

from __future__ import annotations

import pickle

from resnet.errors import Refusal


def test_a_refusal_travels_with_its_facts() -> None:
    one = Refusal("image.large", "{name} has more than {limit}.", name="{x}.png", limit=7)
    other = pickle.loads(pickle.dumps(one))
    assert (type(other), str(other), other.code, other.facts) == (Refusal, str(one), one.code, one.facts)

"""A refusal that comes from another process."""

from __future__ import annotations

import pickle

from resnet.errors import Refusal


def test_a_refusal_travels_with_its_facts() -> None:
    one = Refusal("image.large", "{name} has more than {limit}.", name="{x}.png", limit=7)
    other = pickle.loads(pickle.dumps(one))
    assert (type(other), str(other), other.code, other.facts) == (Refusal, str(one), one.code, one.facts)


def test_for_others_it_names_no_folders_of_this_machine() -> None:
    facts = {"name": "a/b.jpg", "folder": "/tmp/x/run", "reason": "/", "count": 3}
    one = Refusal("disk.write", "{name} in {folder}: {reason}, {count}.", **facts)
    other = one.without_folders()
    assert str(other) == "a/b.jpg in run: /, 3." and other.code == one.code
    assert str(one) == "a/b.jpg in /tmp/x/run: /, 3." and other.without_folders() is other

"""How long the tests wait for anything, said once, and how: for a condition, never for a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

#: Nothing takes as long as this, on a machine that has other work to do either: what does, hangs. Whoever looks for why
#: a test fails sets a shorter one in the environment.
PATIENCE_S = float(os.environ.get("PATIENCE_S", "120"))
PATIENCE_MS = 1000 * PATIENCE_S

T = TypeVar("T")


def until(condition: Callable[[], T], what: object = "", every_s: float = 0.005) -> T:
    """What the condition gives once that is true.

    Args:
        condition: asked again and again, as often as `every_s` says.
        what: is waited for, or a function that says it; told where it never comes.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(every_s)
    return found

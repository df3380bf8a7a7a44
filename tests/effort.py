"""How much work something is, counted: a clock would ask what else the machine does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: What is done at once calls fewer functions than this: a class's name is read in five calls, and 100,000 may come.
AT_ONCE = 1_000_000


class TooMuch(BaseException):
    """Not an error that anybody would catch."""


def at_once(function: Callable[[], T], most: int = AT_ONCE) -> T:
    """What the function gives, if it calls no more functions of Python and C than that; in the same thread."""
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1
        if count > most:
            sys.setprofile(None)
            raise TooMuch(f"more than {most:,} calls")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        return function()
    finally:
        sys.setprofile(before)

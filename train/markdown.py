"""Markdown in which strangers' text stays text: names of classes and files can neither break a table nor add to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from resnet.naming import printable
from weights.layouts import shorten

# What has a meaning in GitHub's Markdown, in formulas between dollars, and in what turns addresses into links.
SPECIAL = re.compile(r"([\\`*_{}\[\]()#!|~$:@^])")
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def text(name: object, limit: int = 80) -> str:
    """What somebody else wrote -> the same to the eye, inside of a line or a cell; a dash where there is nothing.

    It comes out on one line, of at most `limit` characters before escaping; what can't be printed becomes a space.
    """
    line = shorten(str(name), limit).strip()
    line = "".join(HTML.get(character, character) for character in SPECIAL.sub(r"\\\1", line))
    return re.sub(r"(?i)\bwww\.", lambda match: f"{match[0][:-1]}\\.", line) or "–"


def code(lines: str, language: str = "") -> str:
    """A block of code, fenced by more backticks than stand in a row in it; what can't be printed becomes a space."""
    shown = "\n".join(map(printable, lines.splitlines()))
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right. Cells are Markdown already: see `text`."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(value: float | None, digits: int = 3) -> str:
    """A number to read, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"

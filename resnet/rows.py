"""A classification as a line of JSON or a row of a table: the same for the terminal, the page and the API."""

from __future__ import annotations

from typing import Any

from resnet.classifier import Classification
from resnet.naming import escaped


def to_json(row: Classification) -> dict[str, Any]:
    """One row as the terminal's `--json` and the API give it."""
    if row.refusal:
        return {"path": row.name, "error": str(row.refusal)}
    names = [{"label": one.label, "probability": one.probability} for one in row.predictions]
    return {"path": row.name, "predictions": names, "verdict": row.verdict}


def header(top_k: int) -> list[str]:
    """Columns of the table: the path, then label and probability of each of the `top_k`, then the error."""
    names = [f"{what}_{rank}" for rank in range(1, top_k + 1) for what in ("label", "probability")]
    return ["path", *names, "verdict", "error"]


def to_table(row: Classification, name: str, top_k: int) -> list[object]:
    """One row of the table, with as many cells as `header`; `name` is what the photo is called in it."""
    cells: list[object] = [cell for one in row.predictions[:top_k] for cell in (one.label, one.probability)]
    cells += [""] * (2 * top_k - len(cells))
    return [
        harmless(name),
        *map(harmless, cells),
        "" if row.refusal else row.verdict,
        harmless(str(row.refusal or "")),
    ]


def harmless(cell: object) -> object:
    """A spreadsheet runs a text that begins like a formula, a terminal what begins with an escape: both stay text."""
    if not isinstance(cell, str):
        return cell
    return escaped(f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell)

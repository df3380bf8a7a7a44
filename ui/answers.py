"""What goes out through the API: plain data, with the same numbers as the page and the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, TypedDict

from resnet.classifier import Classification, Verdict
from resnet.errors import Refusal
from resnet.rows import to_json
from train.events import Advanced, Event, Started, Step
from train.shares import Share
from ui.jobs import State, View
from ui.texts import TEXTS
from ui.training import Result, result_of


class Name(TypedDict):
    """A class that the network names."""

    label: str
    probability: float


class Named(TypedDict):
    """What is in a photo.

    `verdict` is ``clear``, ``close`` where the second name has more than half the probability of the first, or ``none``
    where the photo may show none of the classes.
    """

    label: str
    probability: float
    verdict: Verdict
    predictions: list[Name]


class Table(TypedDict):
    """Columns by name, and rows with a cell for each.

    Not a list of objects: Gradio's client takes every object with a `path` for a file that it has to download.
    """

    columns: list[str]
    rows: list[list[Any]]


class Progress(TypedDict):
    """A fine-tuning as it is now.

    `ahead` counts jobs before it; `progress`, 0..1, is of the `phase`; `eta_s` are seconds until that ends, where they
    are known; `events` are all that happened but single steps, of which the last one counts; `error` is why it failed
    or was interrupted; `metrics` are those of the model's ``metrics.json``; `model` is its name for /classify, as
    secret as the job's id.
    """

    state: State
    ahead: int
    stopping: bool
    seconds: float
    phase: str
    progress: float
    eta_s: float | None
    events: list[dict[str, Any]]
    error: str | None
    kept: Literal["trained", "baseline"] | None
    metrics: dict[str, Any] | None
    model: str | None


def named(row: Classification) -> Named:
    """One photo's names.

    Raises:
        Refusal: if it could not be read.
    """
    if row.refusal:
        raise row.refusal
    predictions: list[Name] = to_json(row)["predictions"]
    return {**predictions[0], "verdict": row.verdict, "predictions": predictions}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows with the same keys."""
    return {"columns": list(rows[0]) if rows else [], "rows": [list(row.values()) for row in rows]}


def progress(view: View, model: str) -> Progress:
    """A job's view; `model` is the name of what comes of it."""
    events = [event for event in view.events if not isinstance(event, Result)]
    found = result_of(view)
    phase, share, eta = _now(events)
    steps = [event for event in events if isinstance(event, Step | Advanced)]
    told = [event for event in events if not isinstance(event, Step | Advanced) or event is steps[-1]]
    error = None
    if view.state in ("failed", "interrupted"):
        error = str(view.refusal.without_folders()) if view.refusal else unexpected()
    kept: Literal["trained", "baseline"] = "baseline" if found and found.kept == "baseline" else "trained"
    return {
        "state": view.state, "ahead": view.ahead, "stopping": view.stopping, "seconds": view.seconds, "phase": phase,
        "progress": 1.0 if view.state == "done" else share, "eta_s": None if view.ended else eta,
        "events": [_event(one) for one in told], "error": error, "kept": kept if found else None,
        "metrics": found.report.to_json() if found else None, "model": model if found else None,
    }  # fmt: skip


def unexpected() -> str:
    """Of a mistake of ours, in English as all refusals."""
    return TEXTS["en"]["error.unexpected"]


def _now(events: Sequence[Event]) -> tuple[str, float, float | None]:
    """The phase, how far it is, and seconds until it ends."""
    last = next((event for event in reversed(events) if isinstance(event, Step | Advanced | Started)), None)
    if isinstance(last, Step):
        return "train", last.progress, last.eta_s
    if isinstance(last, Advanced):
        left = (last.total - last.done) / max(last.images_per_second, 1e-6)
        return last.phase, last.done / max(last.total, 1), left
    return (last.phase if last else "read"), 0.0, None


def _event(event: Event) -> dict[str, Any]:
    """``{"event": "epoch", "number": 1, …}``."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    values = {one.name: getattr(event, one.name) for one in fields(event)}
    return {
        "event": kind,
        **{name: _plain(value) for name, value in values.items()},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Refusal):
        return str(value.without_folders())
    return value.to_json() if isinstance(value, Share) else value

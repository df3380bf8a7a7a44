"""What comes in through the API, checked: a file is one that Gradio took as an upload, a number is in its range."""

from __future__ import annotations

import logging
import math
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.context import LocalContext
from gradio.processing_utils import save_base64_to_cache

from resnet.errors import Refusal
from ui.fetching import MAX_MB, fetch, too_large
from ui.networks import whole

log = logging.getLogger(__name__)
T = TypeVar("T", bound=str)
K = TypeVar("K", str, int)


def uploaded(path: str) -> Path | None:
    """Where an upload lies, with all links resolved; None if that isn't among the uploads, or no regular file.

    An upload that has been removed in the meantime keeps its place, and whoever opens it says that it is gone.
    """
    try:
        found = Path(path).resolve()
        if not found.is_relative_to(Path(gr.utils.get_upload_folder()).resolve()):
            return None
        opened = os.open(found, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return found
    except (OSError, ValueError):  # a folder's content, a name that is none
        return None
    try:
        return found if stat.S_ISREG(os.fstat(opened).st_mode) else None
    finally:
        os.close(opened)


def upload(name: str, value: Any) -> Path:
    """Where an uploaded file lies.

    Args:
        name: of the parameter.
        value: as it came. Gradio has refused paths that nobody uploaded in all that is marked as a file, and nothing
            else is taken for one here but addresses: Gradio has fetched those of lone files, not those in lists.

    Raises:
        Refusal: if this is no uploaded file, or an address of one that is too large or takes too long.
    """
    if isinstance(value, str) and value.startswith(("data:", "http://", "https://")):
        value = _fetched(value)
    meta = value.get("meta") if isinstance(value, dict) else None
    if isinstance(meta, dict) and meta.get("_type") == "gradio.FileData":
        path = uploaded(str(value["path"]))
        if path and path.exists():
            return path
    raise Refusal(
        "api.file", "{name} must be an uploaded file: in Python handle_file(PATH), else what /gradio_api/upload "
        "answered, or an address that can be reached.",
        name=name,
    )  # fmt: skip


def _fetched(address: str) -> dict[str, Any] | None:
    """What lies at an address, as an upload; never fetched from this machine or from a private network."""
    inline = address.startswith("data:")
    if inline and len(address) > MAX_MB * 1024**2 * 4 / 3:
        raise too_large("this data: address")
    try:
        path = (save_base64_to_cache if inline else fetch)(address, gr.utils.get_upload_folder())
        if (page := LocalContext.blocks.get(None)) is not None:
            page.upload_file_set.add(path)  # removed in time, as what Gradio itself has taken
        return {"path": path, "meta": {"_type": "gradio.FileData"}}
    except Refusal:
        raise
    except Exception:  # each of the many libraries on the way has its own
        log.info("an address that nothing could be had from", exc_info=True)
        return None


def told(event: gr.EventData, name: str, kind: type[K], default: K | None = None) -> K:
    """What the page's own script says of an event; anybody can send anything in its place.

    Args:
        event: as Gradio passes it on.
        name: of the fact.
        kind: ``str`` or ``int``.
        default: where the fact is absent; None if it has to be there.

    Raises:
        Refusal: if it is of another kind.
    """
    facts = event._data
    value = facts.get(name, default) if isinstance(facts, dict) else None
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    raise odd_event()


def odd_event() -> Refusal:
    """Of an event that the page's own script does not send."""
    return Refusal("event.odd", "What was chosen can't be made out; reload the page and choose again.")


def uploads(name: str, values: Any) -> list[Path]:
    """Where uploaded files lie; a lone one counts as a list.

    Raises:
        Refusal: if one of them is no uploaded file.
    """
    return [upload(name, one) for one in (values if isinstance(values, list) else [values])]


def text(name: str, value: Any) -> str:
    """A name that somebody typed.

    Raises:
        Refusal: if it is no text, or there is nothing in it.
    """
    if not isinstance(value, str) or not value.strip():
        raise Refusal("api.text", "{name} must be a text that is not empty.", name=name)
    return value.strip()


def number(name: str, value: Any, least: int, most: int) -> int:
    """A whole number.

    Raises:
        Refusal: if it is none, or outside of its range.
    """
    return whole(
        value, "api.number", "{name} is {value}; it must be a whole number from {least} to {most}.", least, most,
        name=name,
    )  # fmt: skip


def optional(name: str, value: Any, default: float | None = None) -> float | None:
    """A number that need not be given; its range is the recipe's matter.

    Raises:
        Refusal: if it is no number.
    """
    if value is None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise Refusal("api.value", "{name} must be a number, or left out.", name=name)


def choice(name: str, value: Any, choices: tuple[T, ...]) -> T:
    """One of a list.

    Raises:
        Refusal: if it is none of them.
    """
    for one in choices:
        if one == value:
            return one
    raise Refusal("api.choice", "{name} must be one of {choices}.", name=name, choices=", ".join(choices))

"""Words that several parts of the page say."""

from __future__ import annotations

import errno
import html
import logging
import os

import torch

from resnet.errors import Refusal
from ui.texts import alert, both, sentence

log = logging.getLogger(__name__)


def refused(error: Exception, doing: str) -> str:
    """What went wrong, as a card: a refusal's sentence; of anything else, which is our mistake, only that it did.

    Args:
        error: that was raised.
        doing: what was done, for the log.
    """
    if isinstance(refusal := full_disk(error) or error, Refusal):
        return alert(sentence(refusal))
    log.error("%s", doing, exc_info=error)
    return alert(both("error.unexpected"))


def full_disk(error: Exception) -> Refusal | None:
    """What to say where the disk turned out to be full; None of any other error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(
            "disk.page", "The disk of the machine that runs this page is full; try again later, or remove what you "
            "have here.",
        )  # fmt: skip
    return None


def not_ready() -> Refusal:
    """Of a photo that comes before a model is there."""
    return Refusal("model.missing", "The model is not ready; wait for it or choose another one above.")


def percent(probability: float) -> str:
    """A share of 1 as ``"97.3 %"``."""
    return f"{100 * probability:.1f} %"


def device_words(device: torch.device) -> str:
    """What computes, as HTML."""
    if device.type == "cuda":
        return html.escape(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        return both("device.cpu", cores=os.cpu_count() or 1)
    return html.escape(device.type)

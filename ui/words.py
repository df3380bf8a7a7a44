"""Words that several parts of the page say."""

from __future__ import annotations

import html
import os

import torch

from resnet.errors import Refusal
from ui.texts import both


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

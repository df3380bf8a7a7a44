"""What a network costs: four large figures, where they come from, and what training takes of this machine."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import torch

from resnet.memory import total_bytes
from resnet.summary import LayerFacts, Part, parts
from ui.networks import Chosen
from ui.texts import Markup, both

#: Bytes of a number in fp32, and those that Adam adds for one that learns: its gradient and two moments.
FP32, LEARNING = 4, 12


def training_bytes(chosen: Chosen, batch: int) -> int:
    """What training takes: weights, for those that learn a gradient and Adam's two moments, and activations.

    Activations are kept for the way back from the first layer that learns on: a frozen trunk keeps none.
    """
    weights = sum(FP32 * one.parameters for one in chosen.facts)
    learning = sum(LEARNING * one.parameters for one in chosen.facts if one.path in chosen.learns)
    return weights + learning + batch * sum(one.activation_bytes for one in kept(chosen))


def kept(chosen: Chosen) -> Sequence[LayerFacts]:
    """The layers whose outputs the way back needs."""
    first = next((index for index, one in enumerate(chosen.facts) if one.path in chosen.learns), len(chosen.facts))
    return _held(chosen.facts[first:])


def _held(facts: Sequence[LayerFacts]) -> Sequence[LayerFacts]:
    """Layers with an output of their own: a ReLU overwrites its input."""
    return [one for one in facts if one.kind != "relu"]


def totals(networks: Sequence[Chosen], batch: int) -> str:
    """Four large figures, beside those of a second network, and where they come from by stage.

    Args:
        networks: one, or two to compare; their facts are those of one image.
        batch: images at a time, for what memory holds.
    """
    memory = machine_memory()
    cells = "".join(
        (
            _figure(networks, lambda one: one.parameters, lambda v: f"{v / 1e6:.1f} M", _parameter_words),
            _figure(
                networks, lambda one: one.macs, lambda v: f"{v / 1e9:.2f} G",
                lambda one: both("arch.macs", exact=f"{one.macs:,}"),
            ),
            _figure(
                networks, lambda one: batch * sum(layer.activation_bytes for layer in _held(one.facts)), size_text,
                lambda one: both("arch.activations", batch=batch),
            ),
            _figure(
                networks, lambda one: training_bytes(one, batch), size_text,
                lambda one: both("arch.training", batch=batch) + _fits(training_bytes(one, batch), memory),
            ),
        )
    )  # fmt: skip
    fields = ("parameters", "macs", "activation_bytes")
    bars = "".join(
        f'<div class="cost"><p>{both(f"arch.cost_{field}")}</p>'
        + "".join(
            _bar(parts(list(one.facts), "stage"), field, one.name if len(networks) > 1 else "") for one in networks
        )
        + "</div>"
        for field in fields
    )
    return f'<div class="figures">{cells}</div><div class="card costs">{bars}</div>'


def _figure(
    networks: Sequence[Chosen], value: Callable[[Chosen], int], text: Callable[[int], str],
    words: Callable[[Chosen], str],
) -> str:  # fmt: skip
    first, *others = networks
    beside = ""
    for other in others:
        ratio = f"{value(other) / value(first):.2f}" if value(first) else "–"
        beside = f'<span class="beside">{html.escape(other.name)}: <b>{text(value(other))}</b> (×{ratio})</span>'
    return f"<div><b>{text(value(first))}</b><span>{words(first)}</span>{beside}</div>"


def _parameter_words(one: Chosen) -> str:
    exact = both("arch.parameters", exact=f"{one.parameters:,}")
    if not one.method:
        return exact
    trained = sum(layer.parameters for layer in one.facts if layer.path in one.learns)
    share = f"{100 * trained / one.parameters:.1f}"
    return (
        exact + " " + both("arch.of_which", trained=f"{trained:,}", share=share, frozen=f"{one.parameters - trained:,}")
    )


def _fits(training: int, memory: int) -> Markup | str:
    if not memory:
        return ""
    key = "arch.fits" if training < memory else "arch.too_large"
    return " " + both(key, gigabytes=f"{memory / 1e9:.0f}")


def _bar(stages: Sequence[Part], field: str, name: str) -> str:
    """One bar, divided by stage."""
    values = [getattr(part, field) for part in stages]
    total = sum(values) or 1
    pieces = "".join(
        f'<span class="{html.escape(part.stage)}" style="width:{100 * value / total:.2f}%" '
        f'title="{html.escape(part.stage)}: {100 * value / total:.1f} %"></span>'
        for part, value in zip(stages, values, strict=True)
    )
    words = ", ".join(f"{part.stage} {100 * value / total:.0f} %" for part, value in zip(stages, values, strict=True))
    caption = f"{html.escape(name)}: {words}" if name else words
    return f'<div class="split">{pieces}</div><small>{caption}</small>'


def size_text(count: int) -> str:
    """Bytes as GB or MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def machine_memory() -> int:
    """Bytes that training could use here: the GPU's where there is one, else this process's; 0 where nobody says."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return total_bytes() or 0

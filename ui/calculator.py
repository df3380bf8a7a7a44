"""Why a bottleneck: two 3x3 convolutions against 1x1, 3x3, 1x1, for any number of channels."""

from __future__ import annotations

import torch

from resnet.config import ResNetConfig
from resnet.network import BasicBlock, Bottleneck
from resnet.summary import LayerFacts, block_layers
from ui.blueprint import inside_svg
from ui.networks import CHANNELS, whole
from ui.texts import both

#: Positions for which multiply-accumulates are counted: conv2_x at 224 pixels.
SIDE = 56


def blocks(channels: int) -> dict[str, list[LayerFacts]]:
    """Layers of a basic block and of a bottleneck that take and give `channels`, a multiple of 4."""
    basic, bottleneck = (ResNetConfig(kind, (1, 1, 1, 1)) for kind in ("basic", "bottleneck"))
    with torch.device("meta"):
        built: dict[str, BasicBlock | Bottleneck] = {
            "basic": BasicBlock(basic, channels, channels, 1),
            "bottleneck": Bottleneck(bottleneck, channels, channels // 4, 1),
        }
    return {name: block_layers(block, (1, channels, SIDE, SIDE)) for name, block in built.items()}


def calculator(channels: object) -> str:
    """Both blocks, drawn, with their weights and how they come about.

    Raises:
        Refusal: if `channels` is outside its range or no multiple of 4.
    """
    count = whole(
        channels, "arch.channels",
        "The channels are {value}; they must be a whole number from {least} to {most} that 4 divides.",
        *CHANNELS, step=4,
    )  # fmt: skip
    found = blocks(count)
    weights = {name: sum(one.parameters for one in layers if one.kind == "conv") for name, layers in found.items()}
    macs = {name: f"{sum(one.macs for one in layers) / 1e6:,.1f}" for name, layers in found.items()}
    narrow = count // 4
    ways = {
        "basic": f"2 × (3 × 3 × {count} × {count})",
        "bottleneck": f"{count} × {narrow} + 3 × 3 × {narrow} × {narrow} + {narrow} × {count}",
    }
    columns = "".join(
        f"<figure><figcaption><h4>{both(f'arch.block_{name}')}</h4>"
        f'<p class="formula">{ways[name]} = <b>{weights[name]:,}</b></p>'
        f"<p>{both('arch.block_cost', macs=macs[name], side=SIDE)}</p></figcaption>"
        f"{inside_svg(layers, f'{name} ({count})')}</figure>"
        for name, layers in found.items()
    )
    ratio = f"{weights['basic'] / weights['bottleneck']:.1f}"
    verdict = both("arch.bottleneck_ratio", channels=count, ratio=ratio)
    return f'<div class="card calculator"><p class="verdict">{verdict}</p><div class="pair">{columns}</div></div>'

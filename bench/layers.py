"""Milliseconds to the facts of a network: `resnet.summary.layers` beside what counts on a forward pass.

    python -m bench.layers [--rounds 5]

- `first`: a config that was not seen before: the network is built on the meta device.
- `again`: the same config at another image size, as the page's slider asks for.
- `page`: all that the Architecture tab draws for it (totals, drawing, inside, table of every layer).
- `hooks`: torchvision's network, built and run once on the meta device with a hook on each layer: shapes alone.
- `fvcore`: its `FlopCountAnalysis` of torchvision's network at 224 px: MACs alone, on real tensors.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torchvision import models

from resnet.config import VARIANTS
from resnet.summary import layers
from ui.architecture import _drawing, _inside
from ui.costs import totals
from ui.layer_table import table
from ui.models import Models
from ui.networks import choose


def main() -> None:
    """Time each way in turn and print medians in ms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    loader = Models()
    print("median ms              first   again    page   hooks  fvcore")
    for name in ("resnet18", "resnet50", "resnet152"):
        found = []
        for round_ in range(args.rounds):
            ways = (
                partial(first, name, round_), partial(layers, VARIANTS[name], 225 + round_),
                partial(page, loader, name, 225 + round_), partial(hooks, name), partial(fvcore, name),
            )  # fmt: skip
            found.append([timed(way) for way in ways])
        medians = [1000 * statistics.median(times) for times in zip(*found, strict=True)]
        print(f"{name:20}" + "".join(f"{one:8.1f}" for one in medians))


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def first(name: str, round_: int) -> None:
    """A classifier of another size makes a config of its own, which no cache knows."""
    layers(replace(VARIANTS[name], num_classes=900 + round_), 224)


def page(loader: Models, name: str, size: int) -> None:
    found = [choose(loader, name, None, False, size)]
    totals(found, 16), _drawing(found, "", 0), _inside(found, "", 0), table(found, "layer")


def hooks(name: str) -> None:
    with torch.device("meta"):
        network = models.get_model(name).eval()
        shapes: list[torch.Size] = []
        for module in network.modules():
            if not list(module.children()):
                module.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
        network(torch.empty(1, 3, 224, 224))


def fvcore(name: str) -> None:
    from fvcore.nn import FlopCountAnalysis

    network: nn.Module = models.get_model(name).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(network, torch.zeros(1, 3, 224, 224))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.total()


if __name__ == "__main__":
    main()

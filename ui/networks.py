"""What is chosen in the Architecture tab, checked: a network, its size, and which of its layers would learn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.summary import LayerFacts, layers
from train.methods import METHODS, Method, freeze
from ui.models import Loaded, Models

LOADED = "loaded"
#: What the page offers; the terminal takes more.
SIZES, BATCHES, CHANNELS = (32, 512), (1, 256), (8, 2048)


@dataclass(frozen=True)
class Chosen:
    """A network whose facts are shown.

    Args:
        name: as the page calls it.
        facts: of its layers, for one image.
        method: how it would be trained; empty where nobody asked, and all layers learn.
        learns: paths of the layers with parameters that learn.
    """

    name: str
    facts: tuple[LayerFacts, ...]
    method: str
    learns: frozenset[str]

    @property
    def parameters(self) -> int:
        return sum(one.parameters for one in self.facts)

    @property
    def macs(self) -> int:
        return sum(one.macs for one in self.facts)


def choose(models: Models, name: str, loaded: str | None, v1: bool, side: object, method: str = "") -> Chosen:
    """A variant's name, or that of the model loaded in Classify, as a network with its facts.

    Raises:
        Refusal: if a field is outside its range; names both.
    """
    size = whole(
        side, "arch.size", "The image side is {value}; it must be a whole number of pixels, {least} to {most}.", *SIZES
    )
    if method and method not in METHODS:
        raise Refusal(
            "arch.method", "There is no way to train called {name}; choose one of the list.", name=repr(method)[:40]
        )
    config = config_of(models, name, loaded, v1)
    shown = models.title(loaded).rsplit("/", 1)[-1] if name == LOADED and loaded else name
    return Chosen(shown, tuple(layers(config, size)), method, _learning(config, method or "all"))


def batch_of(count: object) -> int:
    """The batch size that was chosen.

    Raises:
        Refusal: if it is outside its range; names it.
    """
    return whole(
        count, "arch.batch", "The batch is {value}; it must be a whole number of images, {least} to {most}.", *BATCHES
    )


def config_of(models: Models, name: str, loaded: str | None, v1: bool) -> ResNetConfig:
    """The network that was chosen. A loaded model keeps its own strides; a basic block has no 1x1 to stride in.

    Raises:
        Refusal: if there is no such network.
    """
    if name == LOADED:
        return loaded_model(models, loaded).checkpoint.config
    if not isinstance(name, str) or name not in VARIANTS:
        raise Refusal("arch.unknown", "There is no variant {name}; choose one of the list.", name=repr(name)[:40])
    config = VARIANTS[name]
    return replace(config, stride_in_1x1=True) if v1 and config.block == "bottleneck" else config


def loaded_model(models: Models, name: str | None) -> Loaded:
    """The model that is ready in Classify.

    Raises:
        Refusal: if there is none.
    """
    if not name:
        raise Refusal("arch.none_loaded", "No model is ready in Classify; choose one there, or a variant here.")
    return models.get(name)


def whole(value: object, code: str, sentence: str, least: int, most: int, step: int = 1, **facts: object) -> int:
    """A field's number, which a visitor may have typed.

    Raises:
        Refusal: of that code and sentence, with `value`, `least`, `most` and what else is given as facts.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not least <= number <= most or number % step:  # NaN is in no range
        shown = f"{value:g}" if isinstance(value, float) else "…" if value in (None, "") else repr(value)[:40]
        raise Refusal(code, sentence, value=shown, least=least, most=most, **facts)
    return int(number)


@lru_cache(maxsize=64)
def _learning(config: ResNetConfig, method: Method) -> frozenset[str]:
    """Layers that learn, as the trainer itself freezes them."""
    with torch.device("meta"):
        network = ResNet(config)
    return frozenset(path.rpartition(".")[0] for path in freeze(network, method))

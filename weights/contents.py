"""What a file of weights holds, however a script has wrapped it: the network's own state dict, found by its keys.

A training script saves its network inside of its own classes, beside an average of it, an optimizer and what it was
told. Where the weights stand is known by two keys that each ResNet has; the rest is left where it is, and named.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor

from resnet.errors import Refusal
from weights import stated
from weights.layouts import State, from_transformers, not_a_resnet, shorten

#: Weights as the last step of training left them, or their average over many steps.
Kind = Literal["raw", "ema"]

# The first convolution of the first block, and the one before it: in torchvision's keys and in transformers'.
FIRST, STEM = "layer1.0.conv1.weight", "conv1.weight"
DEEP_STEM = "conv1.0.weight"  # of other kinds of ResNet, which are refused as such
HF_FIRST, HF_STEM = "encoder.stages.0.layers.0.layer.0.convolution.weight", "embedder.embedder.convolution.weight"
# Names that are given to averages: `state_dict_ema` (timm), `model_ema` (torchvision), `ema`, `swa_model` …
AVERAGE = re.compile(r"(^|_)(ema|swa|avg|averaged?)(_|$)", re.IGNORECASE)
# What torch's own `AveragedModel` counts in, beside its `module.`.
COUNTER = "n_averaged"
# What a script may keep beside or inside of its network and no photo ever meets: losses, counters, metrics, the queue
# of MoCo, the counts of a profiler.
UNSEEN = re.compile(
    r"criteri(on|a)|loss(es)?|loss_\w+|\w+_loss|n_averaged|num_updates|decay|(global_)?step|epoch|iteration|queue(_\w+)?|"
    r"(train|val|valid|validation|test)_\w+|metrics?|acc|accuracy|auroc|confmat|class_weights?|pos_weight|"
    r"total_(ops|params)"
)
# The network of MoCo that learns, whose outputs are no classes; and the average of it that only fills the queue.
LEARNING, FILLING = "encoder_q", "encoder_k"
# What may stand between a network and its names, where a script saves it by itself.
HEAD = re.compile(r"(^|_)(head|heads|classifier|fc|linear|cls|neck|decoder|probe)(_|$)")
# Mappings in mappings beyond this depth, and keys beyond this length, are no script's.
MAX_DEPTH, MAX_KEY = 6, 200
#: As many names of what was left are kept.
MAX_NAMES = 20


@dataclass(frozen=True)
class Contents:
    """What was taken of a file.

    Args:
        state: the network's weights under torchvision's keys, as they are in the file.
        kind: which weights these are, where the file tells.
        kinds: which there are.
        ignored: names of what else was there.
        architectures: those that it names, and of each whether it is surely meant as one.
        model_args: what it says that the network was built with, in timm's words.
        problem: what it says that it was trained for, in transformers' words.
        labels: the names of its classes.
    """

    state: State = field(repr=False)
    kind: Kind | None = None
    kinds: tuple[Kind, ...] = ()
    ignored: tuple[str, ...] = ()
    architectures: tuple[tuple[str, bool], ...] = ()
    model_args: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Place:
    """Where the weights of one network stand: in a mapping at `path` of a file, behind a prefix.

    `theirs` says that the keys are transformers', which puts its head beside the network's own `resnet.`; `inner` are
    the prefixes of other networks whose keys begin with this prefix.
    """

    path: tuple[str, ...]
    prefix: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    theirs: bool = False
    inner: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        return self.prefix.removesuffix("resnet.") if self.theirs else self.prefix

    @property
    def name(self) -> str:
        return shorten(".".join((*self.path, self.prefix)).strip("."), 80) or "its top level"

    @property
    def kind(self) -> Kind:
        steps = [self.prefix[: match.start()] for match in re.finditer(r"(?<![^.])module\.", self.prefix)]
        counted = any(step + COUNTER in self.tensors for step in steps)
        return "ema" if counted or any(map(AVERAGE.search, self.parts)) else "raw"

    @property
    def numbers(self) -> object:
        """Equal for two that show the same numbers in memory."""
        one = self.tensors[self.prefix + (HF_FIRST if self.theirs else FIRST)]
        return (one.data_ptr(), one.shape, one.stride()) if _is_plain(one) else id(one)

    @property
    def parts(self) -> list[str]:
        return [*self.path, *self.prefix.strip(".").split(".")]

    def state(self) -> State:
        """What stands behind the prefix, without it, as far as a photo meets it."""
        found = {key[len(self.root) :]: value for key, value in self.tensors.items() if self.holds(key)}
        if self.theirs:
            found = {from_transformers(key): value for key, value in found.items()}
        if LEARNING in self.parts:
            found = {key: value for key, value in found.items() if not key.startswith("fc.")}
        return found

    def holds(self, key: str) -> bool:
        """Whether a key is one of this network's."""
        return key.startswith(self.root) and not key.startswith(self.inner) and not _is_unseen(key[len(self.root) :])


def take(loaded: object, name: str, kind: Kind | None = None) -> Contents:
    """The weights of a network in whatever a file held.

    Args:
        loaded: what was read, mappings in mappings.
        name: of the checkpoint, for refusals.
        kind: which of the weights; by default their average where there is one, else those that there are.

    Raises:
        Refusal: if there are no weights in it, none of that kind, or those of several networks.
    """
    groups = list(_groups(loaded))
    places = [place for path, tensors in groups for place in _places(path, tensors)]
    said: dict[str, Any] = {
        "architectures": stated.architectures(loaded),
        "model_args": stated.model_args(loaded),
        "problem": stated.problem(loaded),
        "labels": stated.labels(loaded),
    }
    if not places:
        return Contents(_checked(_largest(groups), name), **said)
    chosen = _choose(places, name, kind)
    kinds = tuple(sorted({place.kind for place in places}, reverse=True))
    told = () if kinds == ("raw",) else kinds
    state = _with_plain_head(_checked(chosen.state(), name), name)
    if any(key.startswith("fc.") for key in state):
        _refuse_more(groups, places, chosen, name)
    return Contents(state, chosen.kind if told else None, told, _beside(groups, places, chosen), **said)


def to_json(found: Contents) -> dict[str, object]:
    """All but the weights, for a process that hands them on."""
    return {one.name: getattr(found, one.name) for one in fields(found) if one.name != "state"}


def from_json(state: State, said: dict[str, Any]) -> Contents:
    """The same again."""
    return Contents(state, **{key: _as_tuples(value) for key, value in said.items()})


def _as_tuples(value: Any) -> Any:
    """What JSON made lists of."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def part(loaded: object, name: str) -> State:
    """One of the files that a checkpoint is divided into: its tensors under the keys that they have there.

    Raises:
        Refusal: if there are none.
    """
    return _checked(_largest(list(_groups(loaded))), name)


def _groups(loaded: object) -> Iterator[tuple[tuple[str, ...], State]]:
    """Each mapping that holds tensors, with the way to it; each object once, however often it is named."""
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), loaded)])
    seen: set[int] = set()
    while waiting:
        path, value = waiting.popleft()
        if not isinstance(value, Mapping) or id(value) in seen or len(path) > MAX_DEPTH:
            continue
        seen.add(id(value))
        named = {key: one for key, one in value.items() if isinstance(key, str)}
        tensors = {key: one for key, one in named.items() if isinstance(one, Tensor)}
        if tensors:
            yield path, tensors
        waiting += [((*path, key), one) for key, one in named.items() if len(key) <= MAX_KEY]


def _places(path: tuple[str, ...], tensors: State) -> list[_Place]:
    """Where in a mapping the weights of a ResNet stand."""
    found = []
    for first, stem, theirs in ((FIRST, STEM, False), (FIRST, DEEP_STEM, False), (HF_FIRST, HF_STEM, True)):
        prefixes = [key.removesuffix(first) for key in tensors if key.endswith(first)]
        found += [(one, theirs) for one in prefixes if one + stem in tensors and (not one or one.endswith("."))]
    return [
        _Place(
            path,
            prefix,
            tensors,
            theirs,
            tuple(other for other, _ in found if other != prefix and other.startswith(prefix)),
        )
        for prefix, theirs in found
    ]


def _choose(places: Sequence[_Place], name: str, kind: Kind | None) -> _Place:
    learning = {(place.path, place.prefix) for place in places}
    places = [
        one
        for one in places
        if (one.path, one.prefix.replace(FILLING, LEARNING)) not in learning or (FILLING not in one.parts)
    ]
    averages = [place for place in places if place.kind == "ema"]
    raw = [place for place in places if place.kind == "raw"]
    wanted = {"ema": averages, "raw": raw, None: averages or raw}[kind]
    if not wanted and kind == "raw":
        raise Refusal(
            "weights.no_raw", "{name} holds an average of weights and none besides; take that, with ema or without a "
            "choice.", name=name,
        )  # fmt: skip
    if not wanted:
        raise Refusal(
            "weights.no_average", "{name} holds no average of its weights; take those that it holds, with raw or "
            "without a choice.", name=name,
        )  # fmt: skip
    different = list({place.numbers: place for place in reversed(wanted)}.values())
    if len(different) > 1:
        first, second = different[-1], different[-2]
        raise Refusal(
            "weights.several", "{name} holds the weights of {count} networks, {first} and {second} among them, and "
            "nothing says which are meant; save the `state_dict()` of one.",
            name=name, count=len(different), first=first.name, second=second.name,
        )  # fmt: skip
    return different[0]


def _with_plain_head(state: State, name: str) -> State:
    """The same with the one linear layer of a head in a `Sequential` (`fc.1`, behind a dropout) as the head."""
    head = [key for key in state if key.startswith("fc.")]
    if not head or "fc.weight" in head:
        return state
    weights = [key for key in head if key.endswith(".weight")]
    layer = weights[0].removesuffix("weight") if weights else ""
    if len(weights) != 1 or not set(head) <= {f"{layer}weight", f"{layer}bias"}:
        layers = ", ".join(dict.fromkeys(key.rpartition(".")[0] for key in head[:8]))
        raise not_a_resnet(name, f"a ResNet whose head is more than one linear layer ({layers})")
    return {f"fc.{key.removeprefix(layer)}" if key in head else key: value for key, value in state.items()}


def _refuse_more(
    groups: Sequence[tuple[tuple[str, ...], State]], places: Sequence[_Place], chosen: _Place, name: str
) -> None:
    """That nothing else may come behind the head that was found: it would name photos, and not what stands in here.

    Raises:
        Refusal: if there is something.
    """
    for path, tensors in groups:
        others = [place.root for place in places if place.path == path]
        left = [key for key in tensors if not key.startswith(tuple(others)) and not _is_unseen(key)]
        if path != chosen.path:
            left = [key for key in left if HEAD.search(path[-1] if path else _first(key))]
        if left and (path == chosen.path or not others):
            raise Refusal(
                "weights.more", "{name} holds more than a ResNet with its head ({more}), and that may change what "
                "photos are named; save the `state_dict()` of a plain ResNet.",
                name=name, more=shorten(", ".join(dict.fromkeys(".".join((*path, _first(key))) for key in left)), 120),
            )  # fmt: skip


def _beside(
    groups: Sequence[tuple[tuple[str, ...], State]], places: Sequence[_Place], chosen: _Place
) -> tuple[str, ...]:
    """Names of what stands beside the weights that were chosen, the other networks' among them."""
    names: dict[str, None] = {}
    for path, tensors in groups:
        others = [place for place in places if place.path == path and place is not chosen]
        if path == chosen.path:
            left = [key for key in tensors if not chosen.holds(key)]
            names |= dict.fromkeys(
                _called(key[len(chosen.root) * key.startswith(chosen.root) :], others) for key in left
            )
        elif path[:1] != chosen.path[:1] and path:
            names[path[0]] = None
        else:
            names |= dict.fromkeys([".".join(path)] if path else (_called(key, others) for key in tensors))
    if LEARNING in chosen.parts and any(key.startswith(f"{chosen.root}fc.") for key in chosen.tensors):
        names["fc"] = None
    return tuple(shorten(one, 80) for one in list(names)[:MAX_NAMES])


def _called(key: str, others: Sequence[_Place]) -> str:
    """What to call the part that a key is of: another network, a module, or a count that each module has."""
    network = next((place.name for place in others if place.holds(key)), None)
    return network or (_last(key) if UNSEEN.fullmatch(_last(key)) else _first(key))


def _is_unseen(key: str) -> bool:
    return bool(UNSEEN.fullmatch(_first(key)) or UNSEEN.fullmatch(_last(key)))


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _first(key: str) -> str:
    return key.split(".")[0]


def _largest(groups: Sequence[tuple[tuple[str, ...], State]]) -> State:
    """The mapping with the most tensors, for what is no ResNet: a refusal will name its keys."""
    tensors = max((tensors for _, tensors in groups), key=len, default={})
    for prefix in ("module.", "_orig_mod.", "model."):
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _checked(state: State, name: str) -> State:
    """The same, once all of it are tensors with their numbers in memory."""
    if not state or not all(map(_is_plain, state.values())):
        raise Refusal(
            "weights.no_state", "{name} holds no state dict of a network; save `model.state_dict()` and use that file.",
            name=name,
        )  # fmt: skip
    return state


def _is_plain(value: Tensor) -> bool:
    """Whether this is a tensor with its numbers in memory: not sparse, nested, quantized or a mere shape."""
    plain = value.device.type == "cpu" and not value.is_nested and value.layout == torch.strided
    return plain and not value.is_quantized

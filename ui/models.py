"""The checkpoints that this process holds: loaded once, shared by all visitors, the least used dropped first."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from resnet.classifier import Classifier
from resnet.errors import Refusal
from resnet.memory import available_bytes
from resnet.summary import layers
from ui.loans import classifier_for
from ui.zero import on_zero_gpu
from weights.catalog import CATALOG, FLOWERS
from weights.checkpoint import Checkpoint, read_folder
from weights.hub import Hub, Progress
from weights.layouts import Description
from weights.load import load as load_checkpoint

#: Weights kept in memory, in bytes of fp32: the largest of the catalogue fits, and with what Python, torch and Gradio
#: take it stays under 1.5 GB.
MAX_BYTES = 600_000_000
#: Multiplications and additions for one photo, in billions: the largest of the catalogue takes 38.
MAX_GMACS = 100
#: While it is read and folded, a model takes this many times what its weights do.
LOADING_FACTOR = 2.5
#: Models fetched or read at the same time, and how many more may wait for that.
MAX_LOADING, MAX_WAITING = 3, 8


@dataclass(frozen=True)
class Loaded:
    """A model that is ready.

    Args:
        checkpoint: without its weights, which the classifier holds.
        classifier: whose BatchNorms are folded into its convolutions.
        filters: ``(64, 3, 7, 7)``, those of the first convolution as they were learnt.
    """

    checkpoint: Checkpoint
    classifier: Classifier
    filters: Tensor

    @property
    def bytes(self) -> int:
        return self.checkpoint.config.num_parameters * 4


@dataclass
class Load:
    """A load under way: its future, and how far it is (bytes so far, bytes in all; 0 in all while nothing is known)."""

    future: Future[Loaded] = field(default_factory=Future)
    done: int = 0
    total: int = 0

    def report(self, done: int, total: int, file: str) -> None:
        self.done, self.total = done, total


class Models:
    """Loads models for visitors, who name them; thread-safe, and no lock is held while one loads.

    Args:
        hub: where to fetch from. On a page it must have no token, or visitors could read what its owner can.
        trusted: names that whoever started the page gave, the only ones that may be paths.
        device: where to compute; the GPU by default where there is one.
    """

    def __init__(
        self, hub: Hub | None = None, trusted: tuple[str, ...] = (), device: torch.device | str | None = None
    ) -> None:
        self.hub = hub or Hub(token=False)
        self.trusted = trusted
        self.device = device or ("cpu" if on_zero_gpu() else None)  # there the GPU is only ever lent
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(MAX_LOADING, thread_name_prefix="load")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._ready: OrderedDict[str, Loaded] = OrderedDict()
        self._own: dict[str, tuple[Path, str]] = {}
        self._loading: dict[str, Load] = {}
        self._admitted: dict[str, int] = {}

    def start(self, name: str) -> Load:
        """Begin to load the model of that name, or join whoever has begun; returns at once.

        Raises:
            Refusal: if too many models are waiting to be loaded.
        """
        key = self._key(name)
        with self._lock:
            if found := self._ready.get(key):
                self._ready.move_to_end(key)
                load = Load()
                load.future.set_result(found)
                return load
            if key in self._loading:
                return self._loading[key]
            if len(self._loading) >= MAX_LOADING + MAX_WAITING:
                raise _busy(len(self._loading))
            load = self._loading[key] = Load()
            here = key in self._own or key in self.trusted or key == FLOWERS
        # What lies on this disk never waits for what comes from the Hub.
        (self._disk if here else self._pool).submit(self._load, key, load)
        return load

    def get(self, name: str) -> Loaded:
        """The model of that name, loaded if need be.

        Raises:
            Refusal: as `weights.load.load` does, or if too many models are waiting to be loaded.
        """
        return self.start(name).future.result()

    async def ready(self, name: str) -> Loaded:
        """The same, without a thread that waits. Others may wait for the same load when this caller goes away."""
        return await asyncio.shield(asyncio.wrap_future(self.start(name).future))

    async def settled(self, name: str | None) -> None:
        """Until the model of that name, if one is named, is there or is known not to come."""
        if name:
            with contextlib.suppress(Exception):
                await self.ready(name)

    def add(self, name: str, folder: Path, title: str) -> None:
        """A visitor's own model. Its name is a secret, which opens it; its title is what the page shows instead."""
        with self._lock:
            if name in self._own and self._own[name][0] != folder:  # its training went on
                self._ready.pop(name, None)
            self._own[name] = (folder, title)

    def forget(self, name: str) -> None:
        """A visitor's own model is gone."""
        with self._lock:
            self._own.pop(name, None)
            self._ready.pop(name, None)

    def title(self, name: str) -> str:
        """What the page calls a model."""
        with self._lock:
            own = self._own.get(name)
        return own[1] if own else name

    def _key(self, name: str) -> str:
        name = (name or "").strip()
        entry = CATALOG.get(name.removeprefix("timm/"))
        return entry.name if entry else name

    def base(self, name: str, progress: Progress | None = None) -> Checkpoint:
        """What a visitor's training starts from, with its weights.

        Args:
            name: of the model.
            progress: called while it arrives; an exception in it ends that.

        Raises:
            Refusal: as `weights.load.load` does, or if it is larger or slower than a page can bear.
        """
        trusted = name in self.trusted
        return load_checkpoint(
            name,
            hub=self.hub,
            progress=progress,
            local=trusted,
            admit=None if trusted else functools.partial(self.check, name),
        )

    @staticmethod
    def check(key: str, described: Description) -> int:
        """Bytes that a model's weights take.

        Args:
            key: of the model, for refusals.
            described: what its repository says of it.

        Raises:
            Refusal: if it is larger or slower than a page can bear.
        """
        config, size = described.config, described.preprocess.size
        needed = config.num_parameters * 4
        facts = {"name": key, "size": f"{needed / 1e6:.0f}"}
        if needed > MAX_BYTES:
            raise Refusal(
                "model.large", "{name} takes {size} MB and this page holds models of {limit} MB at most; choose a "
                "smaller one.", limit=f"{MAX_BYTES / 1e6:.0f}", **facts,
            )  # fmt: skip
        gmacs = sum(one.macs for one in layers(config, size)) / 1e9
        if gmacs > MAX_GMACS:
            raise Refusal(
                "model.slow", "{name} computes {gmacs:.0f} billion multiplications for one photo of {side} x {side} "
                "pixels, and this page does {limit} at most; choose a smaller one.",
                gmacs=gmacs, side=size, limit=MAX_GMACS, **facts,
            )  # fmt: skip
        return needed

    def admit(self, key: str, described: Description) -> None:
        """Make room for a model that is about to be fetched; the least used of the others go.

        Args:
            key: of the model.
            described: what its repository says of it.

        Raises:
            Refusal: if it is larger or slower than a page can bear, or than what is left of this machine's memory.
        """
        needed, left = self.check(key, described), available_bytes()
        with self._lock:
            self._admitted[key] = needed
            if sum(self._admitted.values()) > MAX_BYTES:
                del self._admitted[key]
                raise _busy(len(self._loading))
            self._make_room(sum(self._admitted.values()), list(self._ready))
        if left is not None and needed * LOADING_FACTOR > left:
            raise Refusal(
                "model.memory", "{name} takes {size} MB and this machine has {left} MB of memory left; try again later "
                "or choose a smaller one.", name=key, size=f"{needed / 1e6:.0f}", left=f"{left / 1e6:.0f}",
            )  # fmt: skip

    def _make_room(self, needed: int, candidates: list[str]) -> None:
        """Drop the least used until so many bytes fit beside the rest, but none of the owner's. The lock is held."""
        for key in candidates:
            if sum(one.bytes for one in self._ready.values()) + needed <= MAX_BYTES:
                return
            if key not in self.trusted:
                del self._ready[key]

    def _load(self, key: str, load: Load) -> None:
        try:
            with self._lock:
                own = self._own.get(key)
            if own:
                checkpoint = read_folder(own[0], own[1])
            else:
                checkpoint = load_checkpoint(
                    key, hub=self.hub, progress=load.report, local=key in self.trusted,
                    admit=None if key in self.trusted else functools.partial(self.admit, key),
                )  # fmt: skip
            classifier = classifier_for(checkpoint, self.device)
            filters = checkpoint.state_dict["conv1.weight"].float().cpu()
            loaded = Loaded(replace(checkpoint, state_dict={}), classifier, filters)
        except BaseException as error:
            self._finish(key, None)
            load.future.set_exception(error)
        else:
            self._finish(key, loaded)
            load.future.set_result(loaded)

    def _finish(self, key: str, loaded: Loaded | None) -> None:
        with self._lock:
            self._loading.pop(key, None)
            self._admitted.pop(key, None)
            if loaded is not None:
                self._ready[key] = loaded
            self._make_room(sum(self._admitted.values()), list(self._ready)[:-1])  # the newest is wanted


def _busy(count: int) -> Refusal:
    return Refusal("model.busy", "{count} models are being loaded already; try again in a moment.", count=count)

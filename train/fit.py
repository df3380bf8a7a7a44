"""The training loop: a generator of events that can be stopped, resumed and run by several processes at once."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resnet.classifier import Classifier
from resnet.network import ResNet
from resnet.preprocess import Pixels, Preprocess
from train.augment import Colours, View, coloured, cut_all, mixed, random_colours, random_view
from train.cache import Shelf
from train.events import BatchHalved, Epoch, Event, Fitted, Started, Step
from train.methods import freeze, train_mode
from train.recipe import Recipe, amp_dtype
from train.state import read_state, write_state

#: Steps that are measured before the epochs of a time budget are planned; the first is slower than the others.
MEASURED = 4
#: Share of a one-cycle schedule in which the learning rate rises, and where it begins and ends.
RISE, LOWEST, LAST = 0.25, 0.04, 1e-3


@dataclass(frozen=True)
class FitData:
    """What is learnt from and judged on.

    Args:
        photos: of the training part; see `train.cache`.
        targets: ``(N,)``, their classes.
        crops: of the photos kept apart, as the classifier sees them.
        val_targets: ``(M,)``, their classes.
        names: of the classes.
        preprocess: of the base.
        eval_s: seconds that judging all crops takes, as far as is known.
    """

    photos: Shelf
    targets: Tensor
    crops: Sequence[Pixels]
    val_targets: Tensor
    names: Sequence[str]
    preprocess: Preprocess
    eval_s: float = 0.0


@dataclass(frozen=True)
class _Batch:
    """A batch before its pieces are cut: all that is random about it is drawn."""

    indices: list[int]
    views: list[View]
    colours: Colours | None
    size: int


def fit(
    network: ResNet,
    data: FitData,
    recipe: Recipe,
    device: torch.device,
    *,
    seconds: float | None = None,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train a network; the last event is `Fitted`, with the weights of the best epoch.

    With `folder`, the state is saved there at the end of each epoch, and a run that finds one goes on from it: on the
    same machine's CPU it ends with the same weights as one that was never interrupted.

    Args:
        network: with a head for these classes; it is changed.
        data: see `FitData`.
        recipe: of a method that trains more than a head.
        device: where to compute.
        seconds: that the training may take, judging included; None where the recipe's epochs decide.
        folder: for the state.
        stop: looked at before each step; the best epoch so far is kept.

    Raises:
        Refusal: if a state in `folder` can't be read.
    """
    trainer = _Trainer(network, data, recipe, device, seconds)
    if folder is not None and (state := read_state(folder, device)) is not None:
        trainer.load(state)
    yield Started("train", len(data.photos))
    yield from trainer.run(folder, stop)


class _Trainer:
    """One training, with everything that its state consists of."""

    def __init__(
        self, network: ResNet, data: FitData, recipe: Recipe, device: torch.device, seconds: float | None
    ) -> None:
        self.data, self.recipe, self.device = data, recipe, device
        self.seconds, self.began = seconds, time.monotonic()
        self.spent = 0.0  # seconds of earlier processes
        network.requires_grad_(True)
        freeze(network, recipe.method)
        # Channels-last is the memory order that convolutions are fastest in, on CPUs and on GPUs.
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False) if recipe.ema else self.network
        self.optimizer = _optimizer(self.network, recipe)
        self.amp = amp_dtype(recipe, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp == torch.float16)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.epoch, self.step, self.progress = 0, 0, 0.0
        self.at_a_time = recipe.batch_size
        self.steps_an_epoch = max(1, math.ceil(len(data.photos) / recipe.batch_size))
        self.total_steps = (recipe.epochs or 1) * self.steps_an_epoch  # of a time budget: until it is planned
        self.step_s = 0.0
        self.best: dict[str, Any] = {"epoch": 0, "accuracy": -1.0, "loss": math.inf, "weights": None}
        self.history: list[dict[str, float]] = []

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self, folder: Path | None, stop: Callable[[], bool]) -> Iterator[Event]:
        why: Literal["planned", "patience", "time", "stopped", "disk"] = "planned"
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="cut") as pool:
            while self.step < self.total_steps:
                started, losses = time.monotonic(), 0.0
                steps = 0
                for batch, pieces in self._batches(pool):
                    if self._any(stop()):
                        why = "stopped"
                        break
                    before = time.monotonic()
                    while True:
                        try:
                            loss = self._step(batch, pieces)
                            break
                        except torch.OutOfMemoryError:
                            if self.at_a_time == 1:
                                raise
                            self.at_a_time = max(1, self.at_a_time // 2)
                        self.optimizer.zero_grad(set_to_none=True)
                        if self.device.type == "cuda":
                            torch.cuda.empty_cache()
                        yield BatchHalved(self.at_a_time)
                    self._count(time.monotonic() - before)
                    losses += loss
                    steps += 1
                    yield self._tell(loss)
                    if self._late():
                        break
                self.epoch += 1
                if steps:
                    yield self._judge(losses / steps, time.monotonic() - started)
                if why == "stopped":
                    break
                if self.epoch - self.best["epoch"] >= self.recipe.patience:
                    why = "patience"
                    break
                self._replan()
                if self.step < self.total_steps and folder is not None and not self._save(folder):
                    why = "disk"
                    break
                if self.seconds is not None and self._left() <= 0:
                    why = "time"
                    break
        if self.best["weights"] is None:  # stopped before the first epoch was over
            self._keep(-1.0, math.inf)
        yield Fitted(self.best["weights"], self.best["epoch"], why)

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[tuple[_Batch, Tensor]]:
        """One epoch's batches; the pieces of the next are cut while this one is computed."""
        order = torch.randperm(len(self.data.photos), generator=self.generator).tolist()
        size = self.recipe.batch_size
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        with ThreadPoolExecutor(1, thread_name_prefix="batch") as ahead:

            def prepare(chunk: list[int]) -> tuple[_Batch, Future[Tensor]]:
                batch = self._draw(chunk)
                return batch, ahead.submit(self._pieces, batch, pool)

            waiting = prepare(chunks[0])
            for following in [*chunks[1:], None]:
                batch, pieces = waiting
                ready = pieces.result()
                if following is not None and self.step + 1 < self.total_steps:
                    waiting = prepare(following)
                yield batch, ready
                if self.step >= self.total_steps:
                    return

    def _draw(self, indices: list[int]) -> _Batch:
        """All that is random; every process draws for the whole batch, so that their generators stay alike."""
        recipe = self.recipe
        views = [
            random_view(height, width, self.generator, (recipe.min_scale, 1.0))
            for height, width, _ in (self.data.photos.shape(index) for index in indices)
        ]
        colours = random_colours(len(indices), recipe.colour, self.generator) if recipe.colour else None
        return _Batch(indices, views, colours, self._size())

    def _pieces(self, batch: _Batch, pool: ThreadPoolExecutor) -> Tensor:
        """``(n, size, size, 3)`` uint8 of this process's share."""
        mine = slice(self.rank, None, self.world)
        photos = [self.data.photos[index] for index in batch.indices[mine]]
        return cut_all(photos, batch.views[mine], batch.size, pool) if photos else torch.empty(0, 0, 0, 3)

    def _size(self) -> int:
        """Side of the pieces: it grows with the progress, in steps of 32 pixels."""
        full = self.recipe.image_size or self.data.preprocess.size
        share = self.recipe.start_size + (1 - self.recipe.start_size) * min(1.0, self.progress / 0.6)
        return full if share >= 1 else min(full, max(64, 32 * round(full * share / 32)))

    # -- one step ------------------------------------------------------------------------------------------------------

    def _step(self, batch: _Batch, pieces: Tensor) -> float:
        """Forward, backward, update; the mean loss of the whole batch."""
        train_mode(self.network, self.recipe.batch_statistics)
        self._set_rate()
        mine = torch.arange(len(batch.indices))[self.rank :: self.world]
        targets = self.data.targets[torch.tensor(batch.indices)[mine]]
        total = torch.zeros((), device=self.device)
        # Drawn once for a batch, and again for each try of it: mixup has a generator of its own.
        dice = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        for start in range(0, len(mine), self.at_a_time):
            some = slice(start, start + self.at_a_time)
            images = self._images(pieces[some], batch.colours, mine[some])
            wanted = self._wanted(targets[some].to(self.device))
            if self.recipe.mixup:
                images, wanted = mixed(images, wanted, self.recipe.mixup, dice)
            with self._precision():
                logits = self.network(images)
            # Each photo weighs the same, whichever process and part of the batch it is in.
            loss = nn.functional.cross_entropy(logits.float(), wanted, reduction="sum") / len(batch.indices)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if self.world > 1:
            self._share(total)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return float(total)

    def _images(self, pieces: Tensor, colours: Colours | None, mine: Tensor) -> Tensor:
        """``(n, size, size, 3)`` uint8 -> ``(n, 3, size, size)`` normalised, in channels-last memory."""
        images = pieces.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        if colours is not None:
            images = coloured(
                images, Colours(colours.brightness[mine], colours.contrast[mine], colours.saturation[mine])
            )
        mean = torch.tensor(self.data.preprocess.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.data.preprocess.std, device=self.device).view(3, 1, 1)
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def _wanted(self, targets: Tensor) -> Tensor:
        """Smoothed targets (Szegedy et al., https://arxiv.org/abs/1512.00567): ``(n,)`` -> ``(n, K)``."""
        classes, smooth = len(self.data.names), self.recipe.label_smoothing
        return nn.functional.one_hot(targets, classes).float() * (1 - smooth) + smooth / classes

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, self.amp) if self.amp else nullcontext()

    def _share(self, total: Tensor) -> None:
        """Sum gradients and loss over all processes; each has divided by the whole batch already."""
        dist.all_reduce(total)
        for parameter in self.network.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:  # a process without a photo of a last, small batch
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; at first faster, since it began with weights of no training."""
        if self.average is self.network:
            return
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        for mean, value in pairs:
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _set_rate(self) -> None:
        factor = rate(self.progress) if self.recipe.one_cycle else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = group["largest"] * factor

    # -- the plan ------------------------------------------------------------------------------------------------------

    def _count(self, seconds: float) -> None:
        """Note how long a step took, and move on; after some steps a time budget's epochs are planned."""
        first = self.step_s == 0.0
        self.step_s = seconds if first or self.step <= 2 else 0.9 * self.step_s + 0.1 * seconds
        if self.seconds is not None and self.step == MEASURED:
            self._replan()
        left = max(1, self.total_steps - self.step)
        self.progress = min(1.0, self.progress + (1 - self.progress) / (left + 1))

    def _replan(self) -> None:
        """How many steps still fit into the budget; processes agree on the fewest."""
        if self.seconds is None:
            return
        an_epoch = self.steps_an_epoch * self.step_s + self.data.eval_s
        epochs = max(0.0, self._left() - self.data.eval_s * (1 if self.epoch == 0 else 0)) / max(an_epoch, 1e-6)
        # Pieces that grow take longer as the training goes on.
        growth = (self._full() / self._size()) ** 2
        fitting = epochs * self.steps_an_epoch / (1 + growth) * 2
        rounded = max(1, math.floor(fitting / self.steps_an_epoch)) * self.steps_an_epoch
        steps = rounded if fitting >= self.steps_an_epoch else max(0, math.floor(fitting))
        if self.world > 1:
            agreed = torch.tensor(float(steps))
            dist.all_reduce(agreed, dist.ReduceOp.MIN)
            steps = int(agreed)
        self.total_steps = self.step + steps

    def _full(self) -> int:
        return self.recipe.image_size or self.data.preprocess.size

    def _left(self) -> float:
        return (self.seconds or 0.0) - self.spent - (time.monotonic() - self.began)

    def _late(self) -> bool:
        """Whether the budget leaves only the time that judging takes."""
        return self._any(self.seconds is not None and self._left() < self.data.eval_s)

    def _any(self, asked: bool) -> bool:
        """Whether any process says so: all of them must go the same way."""
        if self.world == 1:
            return asked
        votes = torch.tensor(float(asked))
        dist.all_reduce(votes)
        return bool(votes)

    def _tell(self, loss: float) -> Step:
        steps = max(0, self.total_steps - self.step)
        epochs = math.ceil(steps / self.steps_an_epoch) if steps else 0
        speed = self.recipe.batch_size / max(self.step_s, 1e-9)
        head = self.optimizer.param_groups[-1]["lr"]
        eta = steps * self.step_s + max(1, epochs) * self.data.eval_s
        return Step(self.epoch + 1, min(1.0, self.progress), loss, head, speed, eta)

    # -- judging and keeping -------------------------------------------------------------------------------------------

    def _judge(self, train_loss: float, seconds: float) -> Epoch:
        """Judge the average on the photos that are kept apart, exactly as the page and the terminal would name them."""
        before = time.monotonic()
        self.average.eval()
        classifier = Classifier(self.average, self.data.preprocess, self.data.names, device=self.device)
        logits = torch.cat([
            classifier.logits(self.data.crops[start : start + 64]) for start in range(0, len(self.data.crops), 64)
        ])  # fmt: skip
        self.data = _with_eval_s(self.data, time.monotonic() - before)
        loss = float(nn.functional.cross_entropy(logits, self.data.val_targets))
        accuracy = float((logits.argmax(1) == self.data.val_targets).float().mean())
        best = (accuracy, -loss) > (self.best["accuracy"], -self.best["loss"])
        if best:
            self._keep(accuracy, loss)
        rate_now = self.optimizer.param_groups[-1]["lr"]
        seconds += time.monotonic() - before
        told = Epoch(self.epoch, train_loss, loss, accuracy, rate_now, seconds, best)
        self.history.append({"epoch": told.number, "train_loss": train_loss, "val_loss": loss, "val_accuracy": accuracy,
                             "learning_rate": rate_now, "seconds": seconds})  # fmt: skip
        return told

    def _keep(self, accuracy: float, loss: float) -> None:
        weights = {key: value.detach().cpu().clone() for key, value in self.average.state_dict().items()}
        self.best = {"epoch": self.epoch, "accuracy": accuracy, "loss": loss, "weights": weights}

    def _save(self, folder: Path) -> bool:
        """Whether the state could be saved; a full disk is no reason to lose what was learnt."""
        saved = True
        if self.rank == 0:
            saved = write_state(folder, self.state())
        return not self._any(not saved)

    def state(self) -> dict[str, Any]:
        """All that is needed to go on: tensors, numbers and lists."""
        return {
            "network": self.network.state_dict(),
            "average": None if self.average is self.network else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": self.generator.get_state(),
            "numbers": {
                name: getattr(self, name)
                for name in ("epoch", "step", "progress", "at_a_time", "total_steps", "step_s")
            },
            "spent": self.spent + time.monotonic() - self.began,
            "best": self.best,
            "history": self.history,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.network.load_state_dict(state["network"])
        if self.average is not self.network:
            self.average.load_state_dict(state["average"])
        largest = [group["largest"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, value in zip(self.optimizer.param_groups, largest, strict=True):
            group["largest"] = value
        self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["random"].cpu())
        for name, value in state["numbers"].items():
            setattr(self, name, value)
        self.spent, self.began = state["spent"], time.monotonic()
        self.best, self.history = state["best"], list(state["history"])


def rate(progress: float) -> float:
    """One cycle of the learning rate, as a share of its largest: up along half a cosine, then down along another."""
    if progress < RISE:
        return LOWEST + (1 - LOWEST) * (1 - math.cos(math.pi * progress / RISE)) / 2
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE))) / 2


def _optimizer(network: ResNet, recipe: Recipe) -> torch.optim.Optimizer:
    """Groups of parameters that learn, from the stem to the head: lower stages slower, no decay for vectors."""
    parts = ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
    groups: list[dict[str, Any]] = []
    for depth, part in enumerate(parts):
        largest = recipe.learning_rate * (
            recipe.head_factor if part == "fc" else recipe.stage_decay ** (len(parts) - 2 - depth)
        )
        named = [
            one for path, one in network.named_parameters()
            if one.requires_grad and (path.split(".")[0] if path.split(".")[0] in parts else "stem") == part
        ]  # fmt: skip
        for matrices in (False, True):
            chosen = [one for one in named if (one.ndim > 1) == matrices]
            if chosen:
                decay = recipe.weight_decay if matrices else 0.0
                groups.append({"params": chosen, "lr": largest, "largest": largest, "weight_decay": decay})
    return torch.optim.AdamW(groups) if recipe.adamw else torch.optim.Adam(groups)


def _with_eval_s(data: FitData, seconds: float) -> FitData:
    return FitData(data.photos, data.targets, data.crops, data.val_targets, data.names, data.preprocess, seconds)

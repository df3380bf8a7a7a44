"""The training loop: a generator of events that can be stopped, resumed and run by several processes at once."""

from __future__ import annotations

import copy
import math
import os
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet.classifier import Classifier
from resnet.network import ResNet
from train.augment import Colours, coloured, mixed
from train.batches import Batch, Batches, Begun, FitData
from train.cache import judge
from train.distributed import add_up, add_up_gradients, anyone, average_statistics, place
from train.events import BatchHalved, Epoch, Event, Fitted, Paused, Resumed, Started, Step, Why
from train.folded import Folded, Maps
from train.methods import freeze, train_mode
from train.optimizer import follow, optimizer_for, saved_by_freezing, set_rates, stop_learning
from train.plan import Plan
from train.recipe import Recipe, amp_dtype
from train.state import damaged, read_state, write_state
from train.teacher import Teacher


def fit(
    network: ResNet,
    data: FitData,
    recipe: Recipe,
    device: torch.device,
    *,
    seconds: float | None = None,
    teacher: Teacher | None = None,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[float], bool] = lambda _: False,
) -> Iterator[Event]:
    """Train a network; the last event is `Fitted`, with the weights of the best epoch, or `Paused`.

    With `folder`, the state is saved there at the end of each epoch, and a run that finds one goes on from it: on the
    same machine's CPU it ends with the same weights as one that was never interrupted.

    Args:
        network: with a head for these classes; it is changed.
        data: see `FitData`.
        recipe: of a method that trains more than a head.
        device: where to compute.
        seconds: that the training may take, judging included; None where the recipe's epochs decide.
        teacher: to learn from beside the labels.
        folder: for the state.
        stop: looked at before each step; the best epoch so far is kept.
        pause: asked before each step but the first, and told how many seconds it will take; where it says so, the state
            is saved in the middle of the epoch. It needs `folder`.

    Raises:
        Refusal: if a state in `folder` can't be read, or is of another run.
    """
    trainer = _Trainer(network, data, recipe, device, seconds, teacher)
    state = None if folder is None else read_state(folder, trainer.about())
    if folder is not None and state is not None:
        try:
            trainer.load(state)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of a state that is whole and has never been one of ours
            raise damaged(folder) from error
    yield Started("train", len(data.photos))
    if state is not None:
        yield Resumed(trainer.epoch, trainer.plan.progress)
    yield from trainer.run(folder, stop, pause)


def _fingerprint(network: ResNet) -> int:
    """Of the weights but the head's, which are fitted and may differ in their last digits on another machine."""
    found = 0
    for key, value in network.state_dict().items():
        if not key.startswith("fc."):
            found = zlib.crc32(value.detach().cpu().contiguous().numpy().tobytes(), found)
    return found


class _Trainer:
    """One training, with everything that its state consists of."""

    def __init__(
        self,
        network: ResNet,
        data: FitData,
        recipe: Recipe,
        device: torch.device,
        seconds: float | None,
        teacher: Teacher | None,
    ) -> None:
        self.data, self.recipe, self.device, self.teacher = data, recipe, device, teacher
        self.begins_with = _fingerprint(network)
        network.requires_grad_(True)
        freeze(network, recipe.method)
        # Channels-last is the memory order that convolutions are fastest in, on CPUs and on GPUs.
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.forward = self._forward()
        self.average = copy.deepcopy(self.network).requires_grad_(False) if recipe.ema else self.network
        self.optimizer = optimizer_for(self.network, recipe, teacher.projection.parameters() if teacher else ())
        self.amp = amp_dtype(recipe, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp == torch.float16)
        self.rank, self.world = place()
        self.epoch = 0
        self.at_a_time = recipe.batch_size
        self.batches = Batches(data, recipe, self.rank, self.world)
        self.plan = Plan(len(self.batches), recipe.epochs, seconds, data.eval_s, self._cost)
        self.best: dict[str, Any] = {"epoch": 0, "accuracy": -1.0, "loss": math.inf, "weights": None}
        self.history: list[dict[str, float | None]] = []
        self.begun: Begun | None = None  # an epoch that an earlier process paused in

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self, folder: Path | None, stop: Callable[[], bool], pause: Callable[[float], bool]) -> Iterator[Event]:
        why: Why | None = None
        first = self.plan.step
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="cut") as pool:
            while why is None and not self.plan.over:
                begun, self.begun = self.begun or Begun(self.batches.generator.get_state()), None
                last = time.monotonic()
                started, losses = last - begun.seconds, list(begun.losses)
                for batch, pieces in self.batches.epoch(pool, begun, self.plan):
                    if anyone(stop()):
                        why = "stopped"
                        break
                    if self.plan.step > first and anyone(pause(self._next_s())):
                        self.begun = Begun(begun.random, losses, batch.size, time.monotonic() - started)
                        if self._save(folder):
                            yield self._paused()
                            return
                        why = "disk"
                        break
                    losses.append((yield from self._until_it_fits(batch, pieces)))
                    before, last = last, time.monotonic()
                    self.plan.count(last - before)
                    yield self._tell(losses[-1])
                    if self.plan.late():
                        break
                self.epoch += 1
                if losses:
                    yield self._judge(math.fsum(losses) / len(losses), started)
                why = why or self._end(folder)
        if self.best["weights"] is None:  # stopped before the first epoch was over
            self._keep(-1.0, math.inf)
        yield Fitted(self.best["weights"], self.best["epoch"], why or "planned", tuple(self.history))

    def _end(self, folder: Path | None) -> Why | None:
        """After an epoch: why it was the last one, or None; then the state is saved."""
        if self.epoch - self.best["epoch"] >= self.recipe.patience:
            return "patience"
        self.plan.replan()
        if anyone(self.plan.left() <= 0):
            return "time"
        if folder is not None and not self.plan.over and not self._save(folder):
            return "disk"
        return None

    def _save(self, folder: Path | None) -> bool:
        """Save the state; a full disk is no reason to lose what was learnt."""
        assert folder is not None
        saved = self.rank != 0 or write_state(folder, self.state())
        return not anyone(not saved)

    def _next_s(self) -> float:
        """Seconds that the next step takes, with the judgement that may follow it."""
        return self.plan.step_s + (self._judge_s() if self.plan.ends_epoch() else 0.0)

    def _judge_s(self) -> float:
        """Seconds that a judgement takes; before the first one on this device, no more than learning from as many."""
        if self.history:
            return self.plan.eval_s
        return min(self.plan.eval_s, self.plan.step_s * len(self.data.crops) / self.recipe.batch_size)

    def _paused(self) -> Paused:
        return Paused(self.epoch, self.plan.progress, self.plan.eta_s(), self.plan.step_s + self._judge_s())

    def _cost(self, progress: float) -> float:
        """Of a step, as a share of one in which all that the method trains learns from pieces of the full size."""
        pixels = (self.batches.size(progress) / self.data.preprocess.size) ** 2
        return pixels * (1 - saved_by_freezing(self.network.config.depths, self.recipe, progress))

    # -- one step ------------------------------------------------------------------------------------------------------

    def _until_it_fits(self, batch: Batch, pieces: Tensor) -> Generator[Event, None, float]:
        """A step, with fewer photos at a time where the device's memory is too small for it; returns its loss."""
        while True:
            try:
                return self._step(batch, pieces)
            except torch.OutOfMemoryError:
                if self.at_a_time == 1:
                    raise
                self.at_a_time = max(1, self.at_a_time // 2)
            # Outside of the handler, whose traceback holds on to the tensors of the step.
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            yield BatchHalved(self.at_a_time)

    def _step(self, batch: Batch, pieces: Tensor) -> float:
        """Forward, backward, update; the mean loss of the whole batch."""
        if stop_learning(self.optimizer, self.plan.progress):
            self.forward = self._forward()
        train_mode(self.network, self.recipe.batch_statistics)
        if self.recipe.one_cycle:
            set_rates(self.optimizer, self.plan.progress)
        mine = torch.arange(len(batch.indices))[self.rank :: self.world]
        targets = self.data.targets[torch.tensor(batch.indices)[mine]]
        total = torch.zeros((), device=self.device)
        # Drawn once for a batch, and again for each try of it: mixup has a generator of its own.
        dice = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.plan.step)
        for some in torch.arange(len(mine)).tensor_split(max(1, math.ceil(len(mine) / self.at_a_time))):
            if not len(some):  # a process without a photo of a last, small batch
                continue
            images = self._images(pieces[some], batch.colours, mine[some])
            wanted = self._wanted(targets[some].to(self.device))
            if self.recipe.mixup:
                images, wanted = mixed(images, wanted, self.recipe.mixup, dice)
            # Each photo weighs the same, whichever process and part of the batch it is in.
            loss = self._loss(images, wanted) / len(batch.indices)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if self.world > 1:
            add_up([total])
            add_up_gradients(one for group in self.optimizer.param_groups for one in group["params"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not self.network:
            follow(self.average, self.network, self.recipe.ema, self.plan.step + 1)
        return float(total)

    def _loss(self, images: Tensor, wanted: Tensor) -> Tensor:
        """Summed over the photos: of the labels, and of the teacher where there is one."""
        with self._precision():
            maps, logits = self.forward(images)
            loss = nn.functional.cross_entropy(logits.float(), wanted, reduction="sum")
            if self.teacher is None:
                return loss
            pooled = self.network.avgpool(maps).flatten(1)
            return (1 - self.recipe.teacher_weight) * loss + self.teacher.loss(images, pooled, logits)

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

    def _forward(self) -> Maps | Folded:
        return Maps(self.network) if self.recipe.batch_statistics else Folded(self.network)

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, self.amp) if self.amp else nullcontext()

    def _tell(self, loss: float) -> Step:
        speed = self.recipe.batch_size / max(self.plan.step_s, 1e-9)
        head = self.optimizer.param_groups[-1]["lr"]
        return Step(self.epoch + 1, min(1.0, self.plan.progress), loss, head, speed, self.plan.eta_s())

    # -- judging and keeping -------------------------------------------------------------------------------------------

    def _judge(self, train_loss: float, started: float) -> Epoch:
        """Judge the average on the photos that are kept apart, exactly as the page and the terminal would name them."""
        before = time.monotonic()
        for one in (self.network, self.average) if self.average is not self.network else (self.network,):
            average_statistics(one)
        classifier = Classifier(self.average, self.data.preprocess, self.data.names, device=self.device)
        crops = self.data.crops
        # Each process names its share; what the others name is zero until it is added up.
        logits = torch.zeros(len(crops), len(self.data.names))
        mine = range(self.rank, len(crops), self.world)
        logits[torch.tensor(mine, dtype=torch.long)] = judge(classifier, crops, mine)
        add_up([logits])
        self.plan.eval_s = time.monotonic() - before
        loss = float(nn.functional.cross_entropy(logits, self.data.val_targets))
        accuracy = float((logits.argmax(1) == self.data.val_targets).float().mean())
        best = (accuracy, -loss) > (self.best["accuracy"], -self.best["loss"])
        if best:
            self._keep(accuracy, loss)
        told = Epoch(
            self.epoch, train_loss, loss, accuracy, self.optimizer.param_groups[-1]["lr"], time.monotonic() - started,
            best,
        )  # fmt: skip
        self.history.append({
            "epoch": self.epoch, "train_loss": train_loss, "val_loss": loss, "val_accuracy": accuracy,
            "learning_rate": told.learning_rate, "seconds": told.seconds,
        })  # fmt: skip
        return told

    def _keep(self, accuracy: float, loss: float) -> None:
        weights = {key: value.detach().cpu().clone() for key, value in self.average.state_dict().items()}
        self.best = {"epoch": self.epoch, "accuracy": accuracy, "loss": loss, "weights": weights}

    def about(self) -> dict[str, Any]:
        """What a state must have in common with a run that goes on from it."""
        return {
            **asdict(self.recipe),
            "classes": list(self.data.names),
            "photos": [len(self.data.photos), zlib.crc32(self.data.targets.numpy().tobytes())],
            "network": repr(self.network.config),
            "base": self.begins_with,
            "teacher": self.teacher.about() if self.teacher else None,
        }

    def state(self) -> dict[str, Any]:
        """All that is needed to go on: tensors, numbers and lists."""
        return {
            "about": self.about(),
            "network": self.network.state_dict(),
            "average": None if self.average is self.network else self.average.state_dict(),
            "projection": self.teacher.projection.state_dict() if self.teacher else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": self.batches.generator.get_state(),
            "begun": None if self.begun is None else vars(self.begun),
            "epoch": self.epoch,
            "at_a_time": self.at_a_time,
            "plan": self.plan.state(),
            "best": self.best,
            "history": self.history,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.network.load_state_dict(state["network"])
        self.forward = self._forward()
        if self.average is not self.network:
            self.average.load_state_dict(state["average"])
        if self.teacher:
            self.teacher.projection.load_state_dict(state["projection"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.batches.generator.set_state(state["random"])
        self.begun = Begun(**state["begun"]) if state.get("begun") else None
        self.epoch, self.at_a_time = state["epoch"], state["at_a_time"]
        self.plan.load(state["plan"])
        self.best, self.history = state["best"], list(state["history"])

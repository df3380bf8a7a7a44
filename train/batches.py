"""A training's batches: all that is random about them drawn in order, by one generator, and their pieces cut ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet.preprocess import Preprocess
from train.augment import Colours, View, cut_all, random_colours, random_view
from train.cache import Shelf
from train.plan import Plan
from train.recipe import Recipe


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
    crops: Shelf
    val_targets: Tensor
    names: Sequence[str]
    preprocess: Preprocess
    eval_s: float = 0.0


@dataclass(frozen=True)
class Batch:
    """A batch before its pieces are cut: all that is random about it is drawn."""

    indices: list[int]
    views: list[View]
    colours: Colours | None
    size: int


@dataclass(frozen=True)
class Begun:
    """An epoch from its beginning, or from where it was paused.

    Args:
        random: the generator's state at its beginning.
        losses: of the steps that are done.
        size: side of the next batch's pieces, which was chosen a step before; None where nothing was chosen yet.
        seconds: that it has taken so far.
    """

    random: Tensor
    losses: Sequence[float] = ()
    size: int | None = None
    seconds: float = 0.0


class Batches:
    """The batches of all epochs.

    Args:
        data: what is learnt from.
        recipe: says how large they are, and how far their photos are moved and coloured.
        rank: of this process; it cuts its share of each batch.
        world: how many processes there are.
    """

    def __init__(self, data: FitData, recipe: Recipe, rank: int, world: int) -> None:
        self._photos, self._full, self._recipe = data.photos, data.preprocess.size, recipe
        self._rank, self._world = rank, world
        self.generator = torch.Generator().manual_seed(recipe.seed)

    def __len__(self) -> int:
        """Batches of one epoch."""
        return len(self._chunks(range(len(self._photos))))

    def size(self, progress: float) -> int:
        """Side of the pieces: it grows with the progress, in steps of 32 pixels."""
        full = self._full
        share = self._recipe.start_size + (1 - self._recipe.start_size) * min(1.0, progress / 0.6)
        return full if share >= 1 else min(full, max(64, 32 * round(full * share / 32)))

    def epoch(self, pool: ThreadPoolExecutor, begun: Begun, plan: Plan) -> Iterator[tuple[Batch, Tensor]]:
        """One epoch's batches; the pieces of the next are cut while this one is computed."""
        self.generator.set_state(begun.random)
        order = torch.randperm(len(self._photos), generator=self.generator).tolist()
        chunks, done = self._chunks(order), len(begun.losses)
        for chunk in chunks[:done]:  # drawn again, so that what follows is drawn as it would have been
            self._draw(chunk, self._full)
        with ThreadPoolExecutor(1, thread_name_prefix="batch") as ahead:

            def prepare(chunk: Sequence[int], size: int | None = None) -> tuple[Batch, Future[Tensor]]:
                batch = self._draw(chunk, size or self.size(plan.progress))
                return batch, ahead.submit(self._pieces, batch, pool)

            waiting = prepare(chunks[done], begun.size)
            for following in [*chunks[done + 1 :], None]:
                batch, pieces = waiting
                ready = pieces.result()
                if following is not None and plan.step + 1 < plan.total_steps:
                    waiting = prepare(following)
                yield batch, ready
                if plan.over:
                    return

    def _chunks(self, order: Sequence[int]) -> list[Sequence[int]]:
        """The photos of each batch. Of a lone photo a BatchNorm can take no statistics: such a last one is left out."""
        size = self._recipe.batch_size
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        if self._recipe.batch_statistics and len(chunks) > 1 and len(chunks[-1]) < 2 * self._world:
            chunks.pop()
        return chunks

    def _draw(self, indices: Sequence[int], size: int) -> Batch:
        """All that is random; every process draws for the whole batch, so that their generators stay alike."""
        recipe = self._recipe
        views = [
            random_view(height, width, self.generator, (recipe.min_scale, 1.0))
            for height, width, _ in (self._photos.shape(index) for index in indices)
        ]
        colours = random_colours(len(indices), recipe.colour, self.generator) if recipe.colour else None
        return Batch(list(indices), views, colours, size)

    def _pieces(self, batch: Batch, pool: ThreadPoolExecutor) -> Tensor:
        """``(n, size, size, 3)`` uint8 of this process's share."""
        mine = slice(self._rank, None, self._world)
        photos = [self._photos[index] for index in batch.indices[mine]]
        return cut_all(photos, batch.views[mine], batch.size, pool) if photos else torch.empty(0, 0, 0, 3)

"""The instant baseline: a regularised multinomial logistic regression on features of a frozen network.

Its weights are those of the network's last layer, so what comes out is an ordinary checkpoint.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Strengths that are tried, as scikit-learn's ``C``: the inverse of the weight of the penalty.
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS = 4
#: Largest slope of the mean loss at which a fit is done; trying strengths asks for less than the fit that is kept.
TOLERANCE, TRYING = 1e-6, 1e-4
#: Looks at the loss that the last fit is still given when it is to end: from nothing they make a usable head.
LAST_LOOKS = 8
#: Says whether to end with what there is.
Stop = Callable[[], bool]


class _Ended(Exception):
    """A fit was told to end."""


def never() -> bool:
    """Nobody says so."""
    return False


@dataclass(frozen=True)
class Head:
    """A linear classifier on pooled features.

    Args:
        weight: ``(K, D)`` fp32.
        bias: ``(K,)`` fp32.
        strength: ``C`` that it was fitted with.
    """

    weight: Tensor
    bias: Tensor
    strength: float

    def logits(self, features: Tensor) -> Tensor:
        """``(N, D)`` -> ``(N, K)``."""
        return features @ self.weight.T + self.bias


def fit_baseline(
    features: Tensor, targets: Tensor, classes: int, groups: Sequence[Sequence[int]], seed: int, stop: Stop = never
) -> Head:
    """Choose the strength by cross-validation within these photos, and fit on all of them.

    Args:
        features: ``(N, D)`` of one view of each photo, or ``(V, N, D)`` of several.
        targets: ``(N,)``, 0..K-1.
        classes: K.
        groups: indices of photos that are copies of each other; they fall into one fold together.
        seed: which photos fall into which fold.
        stop: looked at again and again; when it says so, the best so far is given.
    """
    views = features if features.ndim == 3 else features[None]
    strength = choose_strength(views[0], targets, classes, groups, seed, stop)
    return fit_head(views, targets, classes, strength, stop=stop)


def fit_head(
    views: Tensor, targets: Tensor, classes: int, strength: float, start: Tensor | None = None, stop: Stop = never
) -> Head:
    """Minimise ``sum of cross entropies + |W|² / (2 C)`` over standardised features; the bias goes free.

    Several views of a photo weigh as much as one. The scaling is folded into the weights.

    Args:
        views: ``(V, N, D)``.
        targets: ``(N,)``, 0..K-1.
        classes: K.
        strength: C.
        start: ``(K, D + 1)`` to begin with, in standardised features; zeros by default.
        stop: looked at again and again; when it says so, the best so far is given, after some looks at least.

    References:
        L-BFGS: Liu & Nocedal 1989, https://doi.org/10.1007/BF01589116
    """
    flat = views.double().flatten(0, 1)
    mean, scale = flat.mean(0), flat.std(0, correction=0).clamp_min(1e-6)
    x = (flat - mean) / scale
    looks = 0

    def enough() -> bool:
        nonlocal looks
        looks += 1
        return looks > LAST_LOOKS and stop()

    solved = _solve(x, targets.repeat(len(views)), classes, strength, len(views), start, TOLERANCE, enough)
    weight = solved[:, :-1] / scale
    bias = solved[:, -1] - weight @ mean
    return Head(weight.float(), bias.float(), strength)


def _solve(
    x: Tensor, targets: Tensor, classes: int, strength: float, views: int, start: Tensor | None, tolerance: float,
    stop: Stop,
) -> Tensor:  # fmt: skip
    """``(K, D + 1)``: weights and, last, the bias; those of the least loss so far where it is told to stop."""
    solution = torch.zeros(classes, x.shape[1] + 1, dtype=x.dtype) if start is None else start.clone()
    photos = len(x) / views
    best, least = solution.clone(), math.inf
    wanted = torch.nn.functional.one_hot(targets, classes).to(x.dtype)
    # The loss is the mean over photos, so that tolerances mean the same whatever their number is.
    optimizer = torch.optim.LBFGS(
        [solution], max_iter=300, tolerance_grad=tolerance, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:  # no backward pass: a process that borrows its GPUs must not make one
        nonlocal least
        if stop():
            raise _Ended
        weight = solution[:, :-1]
        spoken = (x @ weight.T + solution[:, -1]).log_softmax(1)
        missed = (spoken.exp() - wanted) / len(x)
        slope = torch.cat((missed.T @ x + weight / (strength * photos), missed.sum(0)[:, None]), 1)
        solution.grad = slope
        loss = -(spoken * wanted).sum() / len(x) + weight.square().sum() / (2 * strength * photos)
        if float(loss) < least:
            least = float(loss)
            best.copy_(solution)
        return loss

    try:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    except _Ended:
        return best
    return solution


def choose_strength(
    features: Tensor, targets: Tensor, classes: int, groups: Sequence[Sequence[int]], seed: int, stop: Stop = never
) -> float:
    """The strength whose fits say most of photos that they were not fitted on: the least mean log loss.

    They are tried from the weakest on, until two in a row were no better than the best: the strongest take longest.
    Told to stop, it is the best of those that were tried; the middle one where none was.
    """
    folds = grouped_folds(targets.tolist(), groups, FOLDS, seed)
    parts = []
    for fold in range(FOLDS):
        held = torch.tensor([one == fold for one in folds])
        if held.all() or not held.any():
            continue
        known = features[~held].double()
        mean, scale = known.mean(0), known.std(0, correction=0).clamp_min(1e-6)
        parts.append(((known - mean) / scale, (features[held] - mean) / scale, held))
    solutions: list[Tensor | None] = [None] * len(parts)
    losses: list[float] = []
    for strength in STRENGTHS:
        loss = 0.0
        for place, (known, judged, held) in enumerate(parts):
            # Each begins where the one before ended.
            found = _solve(known, targets[~held], classes, strength, 1, solutions[place], TRYING, stop)
            if stop():
                return STRENGTHS[losses.index(min(losses))] if losses else STRENGTHS[len(STRENGTHS) // 2]
            solutions[place] = found
            logits = judged @ found[:, :-1].T + found[:, -1]
            loss += float(torch.nn.functional.cross_entropy(logits, targets[held], reduction="sum"))
        losses.append(loss)
        if len(losses) - losses.index(min(losses)) > 2:
            break
    return STRENGTHS[losses.index(min(losses))]


def grouped_folds(targets: Sequence[int], groups: Sequence[Sequence[int]], count: int, seed: int) -> list[int]:
    """The fold of each photo: classes are spread evenly, copies stay together, the seed says how."""
    dice = random.Random(seed)
    together = {index: group for group in groups for index in group}
    units: dict[int, list[Sequence[int]]] = {}
    seen: set[int] = set()
    for index, target in enumerate(targets):
        if index in seen:
            continue
        unit = together.get(index, (index,))
        seen.update(unit)
        units.setdefault(target, []).append(unit)
    folds = [0] * len(targets)
    turn = 0
    for target in sorted(units):
        dice.shuffle(units[target])
        for unit in units[target]:
            for index in unit:
                folds[index] = turn % count
            turn += 1
    return folds

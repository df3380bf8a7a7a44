"""The instant baseline: a regularised multinomial logistic regression on features of a frozen network.

Its weights are those of the network's last layer, so what comes out is an ordinary checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Strengths that are tried, as scikit-learn's ``C``: the inverse of the weight of the penalty.
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS = 4


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


def fit_baseline(features: Tensor, targets: Tensor, classes: int, groups: Sequence[Sequence[int]], seed: int) -> Head:
    """Choose the strength by cross-validation within these photos, and fit on all of them.

    Args:
        features: ``(N, D)`` of one view of each photo, or ``(V, N, D)`` of several.
        targets: ``(N,)``, 0..K-1.
        classes: K.
        groups: indices of photos that are copies of each other; they fall into one fold together.
        seed: which photos fall into which fold.
    """
    views = features if features.ndim == 3 else features[None]
    return fit_head(views, targets, classes, choose_strength(views[0], targets, classes, groups, seed))


def fit_head(views: Tensor, targets: Tensor, classes: int, strength: float, start: Tensor | None = None) -> Head:
    """Minimise ``sum of cross entropies + |W|² / (2 C)`` over standardised features; the bias goes free.

    Several views of a photo weigh as much as one. The scaling is folded into the weights.

    Args:
        views: ``(V, N, D)``.
        targets: ``(N,)``, 0..K-1.
        classes: K.
        strength: C.
        start: ``(K, D + 1)`` to begin with, in standardised features; zeros by default.

    References:
        L-BFGS: Liu & Nocedal 1989, https://doi.org/10.1007/BF01589116
    """
    flat = views.double().flatten(0, 1)
    mean, scale = flat.mean(0), flat.std(0, correction=0).clamp_min(1e-6)
    solved = _solve(((flat - mean) / scale), targets.repeat(len(views)), classes, strength, len(views), start)
    weight = solved[:, :-1] / scale
    bias = solved[:, -1] - weight @ mean
    return Head(weight.float(), bias.float(), strength)


def _solve(x: Tensor, targets: Tensor, classes: int, strength: float, views: int, start: Tensor | None) -> Tensor:
    """``(K, D + 1)``: weights and, last, the bias."""
    solution = torch.zeros(classes, x.shape[1] + 1, dtype=torch.float64) if start is None else start.clone()
    solution.requires_grad_()
    optimizer = torch.optim.LBFGS([solution], max_iter=300, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            logits = x @ solution[:, :-1].T + solution[:, -1]
            loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / views
            loss = loss + solution[:, :-1].square().sum() / (2 * strength)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return solution.detach()


def choose_strength(
    features: Tensor, targets: Tensor, classes: int, groups: Sequence[Sequence[int]], seed: int
) -> float:
    """The strength whose fits say most of photos that they were not fitted on: the least mean log loss."""
    folds = grouped_folds(targets.tolist(), groups, FOLDS, seed)
    losses = dict.fromkeys(STRENGTHS, 0.0)
    x = features.double()
    for fold in range(FOLDS):
        held = torch.tensor([one == fold for one in folds])
        if held.all() or not held.any():
            continue
        known = x[~held]
        mean, scale = known.mean(0), known.std(0, correction=0).clamp_min(1e-6)
        fitted, judged = (known - mean) / scale, (x[held] - mean) / scale
        solution: Tensor | None = None
        for strength in STRENGTHS:  # each begins where the last one ended
            solution = _solve(fitted, targets[~held], classes, strength, 1, solution)
            logits = judged @ solution[:, :-1].T + solution[:, -1]
            losses[strength] += float(torch.nn.functional.cross_entropy(logits, targets[held], reduction="sum"))
    return min(losses, key=lambda strength: losses[strength])


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

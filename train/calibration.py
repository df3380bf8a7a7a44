"""Whether probabilities mean what they say: reliability, the temperature that mends it, the "none of these" threshold.

All functions are pure; logits are those of `Classifier.logits`, before any temperature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from resnet.classifier import DEFAULT_RULE, NoneOfThese

Score = Literal["probability", "max_logit", "energy"]
BINS, FOLDS = 15, 5
#: Temperatures outside of this would make every answer a certainty, or every answer the same.
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Bin:
    """The photos whose first name has a probability in ``(low, high]``: how many, how many of them right, and the mean
    of those probabilities. Where the share of right ones is `confidence`, the network is calibrated.
    """

    low: float
    high: float
    photos: int
    right: int
    confidence: float


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be trusted: the mean log loss (nats a photo) and the bins of a reliability diagram,
    those without a photo left out.
    """

    log_loss: float
    bins: tuple[Bin, ...]

    @property
    def ece(self) -> float:
        """Expected calibration error: the gap between being sure and being right, averaged over the photos, 0..1."""
        photos = sum(one.photos for one in self.bins)
        return sum(abs(one.right - one.confidence * one.photos) for one in self.bins) / photos


@dataclass(frozen=True)
class Calibration:
    """The temperature that goes into the checkpoint, and what dividing by one does.

    `after` is cross-fitted: each photo is judged with a temperature (of `fold_temperatures`, one a fold) that was
    fitted without it, so it says what to expect of new photos. `temperature` is fitted on all of them. A lone photo
    leaves nothing to fit on: there are no folds then, and `after` is `before`.
    """

    temperature: float
    fold_temperatures: tuple[float, ...]
    before: Reliability
    after: Reliability


def calibrate(logits: Tensor, labels: Tensor, seed: int = 0) -> Calibration:
    """Fit the temperature, and measure it on photos that it was not fitted on.

    Args:
        logits: ``(N, K)``, finite, N at least 1.
        labels: ``(N,)``, the true classes.
        seed: which photos fall into which fold.
    """
    before = reliability(logits, labels)
    if len(labels) < 2:
        return Calibration(fit_temperature(logits, labels), (), before, before)
    scaled, found = torch.empty_like(logits, dtype=torch.float64), []
    for held_out in folds(labels, seed=seed):
        found.append(fit_temperature(logits[~held_out], labels[~held_out]))
        scaled[held_out] = logits[held_out].double() / found[-1]
    return Calibration(fit_temperature(logits, labels), tuple(found), before, reliability(scaled, labels))


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> Reliability:
    """Log loss, and the bins of equal width over the probability of the first name (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599); a probability on an edge belongs to the bin below it.

    Args:
        logits: ``(N, K)``, already divided by a temperature where there is one.
        labels: ``(N,)``, the true classes.
        bins: how many.
    """
    logits = logits.double()
    confidence = logits.softmax(1).amax(1)
    right = logits.argmax(1) == labels
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    index = torch.bucketize(confidence, edges)
    found = []
    for number in sorted(set(index.tolist())):
        inside = index == number
        found.append(
            Bin(
                number / bins,
                (number + 1) / bins,
                int(inside.sum()),
                int(right[inside].sum()),
                confidence[inside].mean().item(),
            )
        )
    return Reliability(F.cross_entropy(logits, labels).item(), tuple(found))


def folds(labels: Tensor, count: int = FOLDS, seed: int = 0) -> Iterator[Tensor]:
    """Masks ``(N,)`` of the photos to hold out, `count` of them or one a photo where there are fewer.

    Each photo is held out once; a class is dealt out evenly, and so are the photos as a whole.
    """
    count = min(count, len(labels))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order)) % count
    for fold in range(count):
        yield number == fold


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """What to divide logits by so that the log loss is lowest (temperature scaling, Guo et al. 2017,
    https://arxiv.org/abs/1706.04599), held towards 1.

    Where all photos are named rightly, as few photos easily are, the log loss only falls as the temperature goes to 0,
    and the network would be said to be certain of everything. So ``b - log b`` is added to the summed loss, where ``b``
    is the inverse of the temperature: a gamma prior whose mode is 1, which weighs about as much as one photo, decides
    where the photos don't, and is lost among hundreds. The sum is convex in ``b``, so its minimum is the only one and
    Newton's method, kept inside of a bracket that shrinks, finds it whatever the logits are.

    Args:
        logits: ``(N, K)``, finite.
        labels: ``(N,)``, the true classes.

    Returns:
        The temperature, within `TEMPERATURES`.
    """
    margins = logits.double() - logits.double().gather(1, labels[:, None])
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    inverse = 1.0
    for _ in range(200):
        weights = (margins * inverse).softmax(1)
        means = (weights * margins).sum(1)
        slope = means.sum().item() + 1 - 1 / inverse
        curvature = (weights * (margins - means[:, None]).square()).sum().item() + 1 / inverse**2
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        newton = inverse - slope / curvature
        following = newton if low <= newton <= high else math.sqrt(low * high)
        done = abs(following - inverse) <= 1e-12 * inverse
        inverse = following
        if done:
            break
    return 1 / inverse


def fit_rule(logits: Tensor, *, wrongly_flagged: float = 0.05, score: Score = "probability") -> NoneOfThese:
    """The rule by which Classify says "this may be none of these", set so that it says so of few photos of the classes.

    With k photos under a threshold that is itself the score of one of N, a new photo of the same kind is under it with
    probability ``(k + 1) / (N + 1)`` (split conformal prediction, Angelopoulos & Bates 2021,
    https://arxiv.org/abs/2107.07511): k is the largest for which this is at most `wrongly_flagged`. Fewer than 19
    photos can't promise 5 %: then none of them is flagged, and the threshold is at most the default one.

    Args:
        logits: ``(N, K)`` of photos that do show one of the classes and were not trained on, before any temperature.
        wrongly_flagged: the share of such photos that may be flagged, 0..1.
        score: what is compared with the threshold.
    """
    scores = NoneOfThese(score).scores(logits.detach().cpu().float()).sort().values
    flagged = math.floor(wrongly_flagged * (len(scores) + 1) + 1e-9) - 1  # 0.29 * 100 counts as 29
    threshold = scores[max(0, min(flagged, len(scores) - 1))].item()
    if flagged < 0 and score == DEFAULT_RULE.score:
        threshold = min(threshold, DEFAULT_RULE.threshold)
    # Rounded down: a number to read, and a photo on the edge stays unflagged whatever the last bit of its score is.
    return NoneOfThese(score, math.floor(threshold * 1e4) / 1e4)

"""The instant baseline beside scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from train.baseline import FOLDS, LAST_LOOKS, STRENGTHS, choose_strength, fit_baseline, fit_head, grouped_folds


def blobs(count: int = 90, dimensions: int = 12, classes: int = 3, noise: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    targets = torch.arange(count) % classes
    centres = torch.randn(classes, dimensions, generator=generator)
    features = centres[targets] + noise * torch.randn(count, dimensions, generator=generator)
    return features * torch.linspace(0.1, 20, dimensions) + 3, targets


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [0.001, 0.1, 1.0])
def test_probabilities_are_scikit_learns(classes: int, strength: float) -> None:
    features, targets = blobs(classes=classes)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-10, max_iter=10_000))
    theirs.fit(features.double().numpy(), targets.numpy())
    ours = fit_head(features[None], targets, classes, strength)
    if classes == 2:  # scikit-learn fits one row of weights for two classes: ours has both, each with half of it
        theirs = make_pipeline(StandardScaler(), LogisticRegression(C=2 * strength, tol=1e-10, max_iter=10_000))
        theirs.fit(features.double().numpy(), targets.numpy())
    np.testing.assert_allclose(
        ours.logits(features).softmax(1).numpy(), theirs.predict_proba(features.double().numpy()), atol=1e-3
    )


def test_several_views_weigh_as_much_as_one() -> None:
    features, targets = blobs()
    one = fit_head(features[None], targets, 3, 0.03)
    three = fit_head(features.expand(3, -1, -1), targets, 3, 0.03)
    torch.testing.assert_close(one.weight, three.weight, atol=1e-5, rtol=1e-4)


def test_told_to_stop_it_gives_what_it_has() -> None:
    """A usable head after some looks at the loss, however long the whole way would be."""
    features, targets = blobs(noise=0.3)
    looks = []

    def stop() -> bool:
        looks.append(True)
        return True

    head = fit_baseline(features, targets, 3, (), 0, stop)
    assert len(looks) <= 2 * FOLDS + LAST_LOOKS
    assert (head.logits(features).argmax(1) == targets).float().mean() > 0.9
    whole, told = (fit_head(features[None], targets, 3, 0.01, stop=one) for one in (lambda: False, lambda: True))
    assert (whole.logits(features).argmax(1) == targets).float().mean() > 0.9
    assert not torch.equal(whole.weight, told.weight)


def test_the_strength_suits_the_noise() -> None:
    clear, targets = blobs(noise=0.3)
    noisy, _ = blobs(noise=6)
    chosen = [choose_strength(x, targets, 3, (), 0) for x in (clear, noisy)]
    assert chosen[0] > chosen[1] and set(chosen) <= set(STRENGTHS)
    assert fit_baseline(noisy, targets, 3, (), 0).strength == chosen[1]


def test_copies_do_not_make_it_too_sure() -> None:
    """Every photo twice: split apart, the copies would reward memorising."""
    noisy, targets = blobs(count=45, noise=6)
    twice, both = torch.cat((noisy, noisy)), torch.cat((targets, targets))
    groups = [(index, index + 45) for index in range(45)]
    assert choose_strength(twice, both, 3, groups, 0) < choose_strength(twice, both, 3, (), 0)


def test_folds_spread_classes_and_keep_copies_together() -> None:
    targets = [0] * 23 + [1] * 9 + [2] * 4
    groups = [(0, 1, 2, 30), (5, 24)]
    folds = grouped_folds(targets, groups, FOLDS, seed=1)
    for group in groups:
        assert len({folds[index] for index in group}) == 1
    assert folds == grouped_folds(targets, groups, FOLDS, seed=1) != grouped_folds(targets, groups, FOLDS, seed=2)
    counts = np.bincount(grouped_folds(targets, (), FOLDS, seed=1))
    assert counts.max() - counts.min() <= 1
    assert {folds[index] for index in range(32, 36)} == set(range(FOLDS))


def test_two_photos_a_class_are_enough() -> None:
    features, targets = blobs(count=4, classes=2)
    head = fit_baseline(features, targets, 2, (), 0)
    assert head.logits(features).argmax(1).tolist() == targets.tolist()
    constant = fit_baseline(torch.ones(4, 3), targets, 2, (), 0)
    assert constant.logits(torch.ones(1, 3)).isfinite().all()

"""Learning from a network that knows more: its answers as soft targets, and what it sees before it answers.

A teacher is shown the very pieces that the student is shown (Beyer et al., https://arxiv.org/abs/2106.05237), and its
loss is added to the one of the labels:

- soft targets: the Kullback-Leibler divergence of the student's from the teacher's probabilities, both softened by a
  temperature (Hinton et al., https://arxiv.org/abs/1503.02531);
- pooled features: the squared distance of the teacher's, standardised, from a linear map of the student's, levelled
  (Romero et al., https://arxiv.org/abs/1412.6550). It keeps what the teacher knows beyond these classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet.preprocess import Preprocess
from train.baseline import Head, Stop, fit_baseline, never
from train.reading import headless, known_as
from train.recipe import Recipe
from weights.checkpoint import Checkpoint

#: Weight of the ridge that keeps the first map from the student's features to the teacher's from being wild, as a share
#: of the features' variance.
RIDGE = 0.1


@dataclass(frozen=True)
class TeacherParts:
    """What a teacher is made of: see `Teacher`."""

    checkpoint: Checkpoint
    head: Head
    features: Tensor
    student_features: Tensor

    def build(self, preprocess: Preprocess, recipe: Recipe, device: torch.device) -> Teacher:
        """The teacher of a student whose photos are normalised like that, on a device."""
        return Teacher(self.checkpoint, self.head, self.features, self.student_features, preprocess, recipe, device)


class Teacher:
    """A frozen network with a head for the student's classes.

    Args:
        checkpoint: of the network.
        head: that names the student's classes by the network's pooled features; see `head_for`.
        features: ``(N, D)`` of the training photos, to standardise by.
        student_features: ``(N, S)`` of the same photos by the network that the student begins with; ``(0, S)`` where it
            begins with nothing.
        preprocess: what the student's photos are normalised by.
        recipe: with the weights and the temperature.
        device: where to compute.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        head: Head,
        features: Tensor,
        student_features: Tensor,
        preprocess: Preprocess,
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        self.name, self.recipe = known_as(checkpoint), recipe
        self.network = headless(checkpoint).classifier(device).network
        self.head = Head(head.weight.to(device), head.bias.to(device), head.strength)
        mean, scale = features.mean(0), features.std(0, correction=0)
        # What is hardly ever seen in these photos must not count for more than all the rest where it is seen after all.
        scale = scale.clamp_min(0.1 * float(scale.mean()) + 1e-6)
        self.mean, self.scale = mean.to(device), scale.to(device)
        torch.manual_seed(recipe.seed)
        self.projection = nn.Linear(student_features.shape[1], features.shape[1])
        if len(student_features):
            fit_projection(self.projection, levelled(student_features), (features - mean) / scale)
        self.projection.to(device)
        # From photos normalised for the student to photos normalised for the teacher.
        mine, theirs = checkpoint.preprocess, preprocess

        def channels(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=device).view(3, 1, 1)

        self._factor = channels(theirs.std) / channels(mine.std)
        self._shift = (channels(theirs.mean) - channels(mine.mean)) / channels(mine.std)

    def about(self) -> str:
        """What a state must have in common with a run that goes on from it."""
        return f"{self.name} {self.network.config!r}"

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """``(n, 3, H, W)`` normalised for the student -> ``(n, D)`` pooled features."""
        maps = self.network.forward_features(images * self._factor + self._shift)
        pooled: Tensor = self.network.avgpool(maps).flatten(1).float()
        return pooled

    def loss(self, images: Tensor, pooled: Tensor, logits: Tensor) -> Tensor:
        """Summed over the photos: the divergence of the answers and the distance of the features, as weighted.

        Args:
            images: ``(n, 3, H, W)`` as the student saw them.
            pooled: ``(n, S)``, the student's features.
            logits: ``(n, K)``, the student's answers.
        """
        recipe, seen = self.recipe, self.features(images)
        soft = (self.head.logits(seen) / recipe.teacher_temperature).softmax(1)
        answers = (logits.float() / recipe.teacher_temperature).log_softmax(1)
        # The gradients of softened answers are smaller by the square of the temperature.
        divergence = nn.functional.kl_div(answers, soft, reduction="sum") * recipe.teacher_temperature**2
        imitated: Tensor = self.projection(levelled(pooled.float()))
        distance = (imitated - (seen - self.mean) / self.scale).square().mean(1).sum()
        return recipe.teacher_weight * divergence + recipe.feature_weight * distance


def levelled(features: Tensor) -> Tensor:
    """``(N, D)``, each row with mean 0 and variance 1: how large a network's features are says nothing."""
    return nn.functional.layer_norm(features, features.shape[1:])


def head_for(
    checkpoint: Checkpoint,
    classes: Sequence[str],
    features: Tensor,
    targets: Tensor,
    groups: Sequence[Sequence[int]],
    seed: int,
    stop: Stop = never,
) -> Head:
    """A teacher's own classifier where it names the same classes, in whatever order; else a regression on its features.

    Args:
        checkpoint: of the teacher.
        classes: of the student.
        features: ``(N, D)`` of the training photos.
        targets: ``(N,)``, their classes.
        groups: indices of photos that are copies of each other.
        seed: as of `fit_baseline`.
        stop: as of `fit_baseline`.
    """
    own = list(checkpoint.label_names)
    if sorted(own) == sorted(classes):
        rows = torch.tensor([own.index(name) for name in classes])
        return Head(checkpoint.state_dict["fc.weight"][rows], checkpoint.state_dict["fc.bias"][rows], 0.0)
    return fit_baseline(features, targets, len(classes), groups, seed, stop)


def fit_projection(projection: nn.Linear, features: Tensor, wanted: Tensor, ridge: float = RIDGE) -> None:
    """Set a linear map by ridge regression, so that the student's features begin as near to the teacher's as they are.

    Args:
        projection: from S to D.
        features: ``(N, S)``.
        wanted: ``(N, D)``.
        ridge: weight of the penalty, as a share of the features' variance.
    """
    x, y = features.double(), wanted.double()
    middle = x.mean(0)
    x = x - middle
    gram = x.T @ x
    gram.diagonal().add_(ridge * gram.diagonal().mean() + 1e-9)
    weight = torch.linalg.solve(gram, x.T @ (y - y.mean(0))).T
    with torch.no_grad():
        projection.weight.copy_(weight)
        projection.bias.copy_(y.mean(0) - weight @ middle)

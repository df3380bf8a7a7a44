"""What a teacher answers and sees, how it is compared with the student, and a whole run with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from resnet.config import ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.baseline import Head
from train.events import Epoch, Event, Finished, Fitted, Step, Taught
from train.job import Job
from train.reading import known_as
from train.recipe import Recipe
from train.run import run
from train.teacher import RIDGE, Teacher, fit_projection, head_for, levelled
from weights.checkpoint import Checkpoint, Source, read_folder

CPU = torch.device("cpu")


def blocks(names: tuple[str, ...] = (), preprocess: Preprocess | None = None) -> Checkpoint:
    """A network of five blocks with a classifier for `names`."""
    torch.manual_seed(11)
    config = ResNetConfig("basic", (1, 1, 1, 2)).with_classes(len(names))
    return Checkpoint(
        config, ResNet(config).state_dict(), preprocess or Preprocess(size=64), names, license="mit",
        source=Source("somewhere/wise", path=Path("/models/wise")),
    )  # fmt: skip


def of_student(count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Photos, features and logits."""
    generator = torch.Generator().manual_seed(2)
    shapes = ((count, 3, 64, 64), (count, 512), (count, 3))
    images, pooled, logits = (torch.randn(shape, generator=generator) for shape in shapes)
    return images, pooled, logits


def teacher(recipe: Recipe, preprocess: Preprocess | None = None) -> tuple[Teacher, Checkpoint]:
    checkpoint = blocks(("a", "b", "c"), preprocess)
    features = torch.randn(40, 512, generator=torch.Generator().manual_seed(3)) * 2 + 1
    head = Head(checkpoint.state_dict["fc.weight"], checkpoint.state_dict["fc.bias"], 1.0)
    return Teacher(checkpoint, head, features, features[:, :512] * 0.5, Preprocess(size=64), recipe, CPU), checkpoint


def test_it_sees_photos_normalised_as_it_is_used_to() -> None:
    found, checkpoint = teacher(Recipe(), Preprocess(size=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)))
    crops = list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8))
    theirs = checkpoint.classifier("cpu").pooled(crops)
    torch.testing.assert_close(found.features(Preprocess(size=64).normalize(crops)), theirs, atol=1e-4, rtol=1e-4)


def test_its_loss_is_the_divergence_and_the_distance() -> None:
    images, pooled, logits = of_student()
    for answers, features in ((1.0, 0.0), (0.0, 1.0), (0.3, 2.0)):
        found, _ = teacher(Recipe(teacher_weight=answers, feature_weight=features, teacher_temperature=3.0))
        seen = found.features(images)
        soft, own = (found.head.logits(seen) / 3).softmax(1), (logits / 3).softmax(1)
        divergence = (soft * (soft / own).log()).sum() * 9
        distance = ((found.projection(levelled(pooled)) - (seen - found.mean) / found.scale) ** 2).mean(1).sum()
        torch.testing.assert_close(found.loss(images, pooled, logits), answers * divergence + features * distance)


def test_who_answers_and_sees_alike_loses_nothing() -> None:
    found, _ = teacher(Recipe(teacher_weight=1.0, feature_weight=1.0))
    images, _, _ = of_student()
    seen = found.features(images)
    fit_projection(found.projection, levelled(seen), (seen - found.mean) / found.scale, ridge=1e-9)
    assert found.loss(images, seen, found.head.logits(seen) + 5) < 1e-3
    assert found.loss(images, seen, -found.head.logits(seen)) > 5e-3
    assert found.loss(images, seen.flip(0), found.head.logits(seen)) > 5e-3


def test_what_it_hardly_ever_sees_does_not_outweigh_the_rest() -> None:
    checkpoint = blocks(("a", "b", "c"))
    head = Head(checkpoint.state_dict["fc.weight"], checkpoint.state_dict["fc.bias"], 1.0)
    features = torch.randn(40, 512, generator=torch.Generator().manual_seed(3))
    features[:, :100] = 0
    recipe = Recipe(teacher_weight=0.0, feature_weight=1.0)
    found = Teacher(checkpoint, head, features, features[:, :512], Preprocess(size=64), recipe, CPU)
    assert found.scale[:100].min() > 0.05 and found.scale[100:].mean() == pytest.approx(1, abs=0.1)


def test_the_map_to_its_features_begins_as_a_ridge_regression() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(60, 8)) @ generator.normal(size=(8, 8)) + 3
    y = x @ generator.normal(size=(8, 5)) + generator.normal(size=(60, 5)) - 2
    projection = nn.Linear(8, 5)
    fit_projection(projection, torch.tensor(x), torch.tensor(y))
    strength = RIDGE * ((x - x.mean(0)) ** 2).sum(0).mean()
    theirs = Ridge(alpha=strength).fit(x, y)
    np.testing.assert_allclose(projection.weight.detach().numpy(), theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(projection.bias.detach().numpy(), theirs.intercept_, atol=1e-4)
    fit_projection(projection, torch.ones(4, 8), torch.zeros(4, 5))
    assert projection.weight.isfinite().all()


def test_a_teacher_of_the_same_classes_answers_itself_and_another_gets_a_head() -> None:
    features = torch.randn(30, 512, generator=torch.Generator().manual_seed(4))
    targets = torch.arange(30) % 3
    knows = blocks(("c", "a", "b"))
    head = head_for(knows, ("a", "b", "c"), features, targets, (), 0)
    whole = features @ knows.state_dict["fc.weight"].T + knows.state_dict["fc.bias"]
    torch.testing.assert_close(head.logits(features), whole[:, [1, 2, 0]])
    for other in (blocks(), blocks(("a", "b", "d")), blocks(("a", "b", "c", "d"))):
        fitted = head_for(other, ("a", "b", "c"), features, targets, (), 0)
        assert fitted.weight.shape == (3, 512) and fitted.strength > 0
        assert (fitted.logits(features).argmax(1) == targets).float().mean() > 0.9


@pytest.mark.parametrize("method", ["all", "scratch"])
def test_a_run_with_a_teacher(method: str, make_job: Callable[..., Job], tmp_path: Path) -> None:
    settings = {
        "epochs": 3,
        "batch_size": 14,
        "teacher_weight": 0.0,
        "feature_weight": 1.0,
        "learning_rate": 1e-3,
        "mixup": 0.0,
    }
    state = tmp_path / "state"
    job = replace(make_job(method, state=state, **settings), teacher=blocks())
    events: list[Event] = []
    stopped = run(job)
    for event in stopped:  # resumed in the middle, since its map is a part of the state
        events.append(event)
        if isinstance(event, Step) and event.epoch == 3:
            stopped.close()
            break
    resumed = list(run(job))
    whole = list(run(replace(job, state=None)))
    assert [event.name for event in whole if isinstance(event, Taught)] == ["wise"]
    fitted, again = (next(one for one in found if isinstance(one, Fitted)) for found in (whole, resumed))
    assert [event.number for event in resumed if isinstance(event, Epoch)] == [3]
    assert all(torch.equal(value, again.state_dict[key]) for key, value in fitted.state_dict.items())
    losses = [event.train_loss for event in whole if isinstance(event, Epoch)]
    assert losses[-1] < losses[0] or method == "all"  # whose beginning has seen nothing yet
    (finished,) = (event for event in whole if isinstance(event, Finished))
    card = (finished.folder / "README.md").read_text()
    (line,) = (line for line in card.splitlines() if line.startswith("Distilled from wise"))
    assert "1-1-1-2" in line and "licence mit" in line and "which names" in line, line
    assert "/models" not in card and "feature weight" in card
    provenance = read_folder(finished.folder).raw_config["resnet_demo"]["provenance"]
    assert provenance["teacher"] == "wise" and provenance["base"] == ("tiny" if method == "all" else "scratch")
    with pytest.raises(Refusal, match=r"another run .*teacher"):
        list(run(replace(job, teacher=None)))


def test_without_one_nothing_is_said_of_it(make_job: Callable[..., Job]) -> None:
    job = make_job("all", epochs=1)
    list(run(job))
    card = (job.out / "README.md").read_text()
    assert "Distilled" not in card and "teacher" not in card


@pytest.mark.parametrize("method", ["head", "tutorial"])
def test_methods_that_have_no_use_for_one(method: str, make_job: Callable[..., Job]) -> None:
    with pytest.raises(Refusal, match="no use for a teacher"):
        list(run(replace(make_job(method), teacher=blocks())))


def test_what_a_checkpoint_is_called(tiny: Checkpoint) -> None:
    assert known_as(tiny) == "tiny" and known_as(blocks()) == "wise"
    assert known_as(replace(tiny, source=Source(""))) == tiny.architecture
    hub = Source("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k", path=Path("/cache/snapshots/0123"))
    assert known_as(replace(tiny, source=hub)) == "timm/resnet18.a1_in1k"

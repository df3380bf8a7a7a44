"""Recipes: the tutorial's own, and settings out of range."""

from __future__ import annotations

from typing import Any

import pytest

from resnet.errors import Refusal
from train.recipe import choose


def test_the_tutorials_recipe_is_the_tutorials() -> None:
    recipe = choose("tutorial", 2000)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.image_size) == (3, 16, 1e-4, 224)
    assert not recipe.one_cycle and not recipe.adamw and recipe.min_scale == 0.08 and not recipe.ema
    assert not recipe.label_smoothing and not recipe.colour and not recipe.mixup and recipe.batch_statistics


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": 1},
        {"minutes": 0},
        {"learning_rate": 100},
        {"epochs": 0},
        {"image_size": 31},
        {"seed": -1},
        {"ema": 1.0},
        {"mixup": -0.1},
        {"start_size": 0.0},
        {"freeze_out": 0.0},
        {"freeze_out": 1.1},
        {"min_scale": 0},
        {"colour": 1},
        {"minutes": float("nan")},
    ],
)
def test_a_setting_outside_its_range_is_named(setting: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="it must be from"):
        choose("all", 100, **setting)


def test_many_photos_bear_larger_steps() -> None:
    few, many = choose("all", 245), choose("all", 2_080)
    assert few.learning_rate < many.learning_rate
    assert choose("all", 2_080, learning_rate=1e-5).learning_rate == 1e-5
    assert choose("tutorial", 2_080).learning_rate == 1e-4


def test_unknown_methods_and_settings() -> None:
    with pytest.raises(Refusal, match="choose one of head"):
        choose("lora", 100)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dropout"):
        choose("all", 100, dropout=0.1)

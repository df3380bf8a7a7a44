"""Rates: lower below, one cycle for each stage, and what freezing saves."""

from __future__ import annotations

import pytest

from resnet.network import ResNet
from train.methods import freeze
from train.optimizer import optimizer_for, rate, saved_by_freezing, set_rates
from train.recipe import choose
from weights.checkpoint import Checkpoint


def test_learning_rates_fall_towards_the_stem_and_vectors_do_not_decay(tiny: Checkpoint) -> None:
    built = ResNet(tiny.config.with_classes(4))
    freeze(built, "all")
    optimizer = optimizer_for(built, choose("all", 100, learning_rate=1e-3))
    rates = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    assert len(rates) == len(list(built.parameters())), "each in one group"

    def of(path: str) -> float:
        return float(rates[id(built.get_parameter(path))]["largest"])

    order = [of("conv1.weight"), of("layer1.0.conv1.weight"), of("layer4.0.conv1.weight"), of("fc.weight")]
    assert order == sorted(order) and len(set(order)) == 4 and order[2] == 1e-3
    for path, parameter in built.named_parameters():
        assert (rates[id(parameter)]["weight_decay"] > 0) == (parameter.ndim > 1), path


def test_the_time_that_freezing_saves() -> None:
    recipe = choose("all", 100)
    assert recipe.freeze_out == 0.25
    saved = [saved_by_freezing((2, 2, 2, 2), recipe, progress) for progress in (0.0, 0.2, 0.25, 0.5, 0.75, 0.99)]
    assert saved == pytest.approx([0, 0, 1 / 6, 2 / 6, 3 / 6, 3 / 6])
    assert saved_by_freezing((3, 4, 6, 3), recipe, 0.6) == pytest.approx(2 / 3 * 7 / 16)
    for other in (choose("last-stage", 100, freeze_out=0.25), choose("all", 100, taught=True), choose("tutorial", 9)):
        assert saved_by_freezing((2, 2, 2, 2), other, 0.99) == 0


def test_each_stage_has_a_whole_cycle(tiny: Checkpoint) -> None:
    built = ResNet(tiny.config.with_classes(4))
    freeze(built, "all")
    optimizer = optimizer_for(built, choose("all", 100, freeze_out=0.4))
    for until in (0.4, 0.6, 0.8, 1.0):
        set_rates(optimizer, until)
        for group in optimizer.param_groups:
            ended = group["until"] <= until + 1e-9
            assert (group["lr"] <= 1.01e-3 * group["largest"]) == ended, (until, group["until"])


def test_one_cycle_rises_once_and_falls_once() -> None:
    values = [rate(step / 1000) for step in range(1001)]
    top = values.index(max(values))
    assert values[:top] == sorted(values[:top]) and values[top:] == sorted(values[top:], reverse=True)
    assert max(values) == pytest.approx(1) and values[-1] == pytest.approx(1e-3) and 200 < top < 300

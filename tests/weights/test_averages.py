"""Averages beside raw weights, as timm's and torchvision's training scripts write them; what is taken, and said."""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from resnet.__main__ import main as resnet_main
from tests.pictures import PHOTOS
from train import evaluate, training
from ui.classify import _facts
from ui.models import Models
from weights.__main__ import main as weights_main
from weights.checkpoint import read_weights
from weights.load import load


@pytest.fixture(scope="module")
def average(network: Any, train: Any) -> Any:
    """torch's own average of `network`: three quarters of it and one of another."""
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=True)
    mean.update_parameters(network)
    basic = torchvision.models.resnet.BasicBlock
    mean.update_parameters(train(torchvision.models.ResNet, basic, [1, 1, 1, 1], num_classes=5, seed=1))
    return mean.eval()


@pytest.fixture(scope="module")
def averaged(average: Any, pixels: Tensor) -> Tensor:
    """Its logits."""
    with torch.inference_mode():
        return average.module(pixels)


def _prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda raw, mean: {"model": raw, "model_ema": mean.state_dict(), "epoch": 3},  # torchvision
        lambda raw, mean: {"model_ema": mean.state_dict(), "model": raw, "optimizer": {}},
        lambda raw, mean: {"state_dict": raw, "state_dict_ema": mean.module.state_dict()},  # timm
        lambda raw, mean: {"model": raw, "ema": mean.module.state_dict()},
        lambda raw, mean: {"model": raw, "ema": {"module": mean.module.state_dict(), "decay": 0.99}},
        lambda raw, mean: {"state_dict": raw, "ema_state_dict": _prefixed(mean.module.state_dict(), "module.")},
        lambda raw, mean: {"state_dict": _prefixed(raw, "net.") | _prefixed(mean.module.state_dict(), "ema.module.")},
        lambda raw, mean: {"state_dict": _prefixed(raw, "model.") | _prefixed(mean.state_dict(), "ema_model.")},
        lambda raw, mean: {**raw, **_prefixed(mean.module.state_dict(), "ema.")},
        lambda raw, mean: {"params": raw, "params_ema": mean.module.state_dict()},
        lambda raw, mean: {"raw": raw, "swa": mean.state_dict()},
        lambda raw, mean: {"net": raw, "mean": mean.state_dict()},  # known by its counter alone
    ],
    ids=range(12),
)  # fmt: skip
def test_the_average_is_taken_and_said_and_either_can_be_chosen(
    tmp_path: Path,
    state: Any,
    logits: Tensor,
    average: Any,
    averaged: Tensor,
    same_logits: Any,
    wrap: Callable[..., Any],
) -> None:
    assert (averaged - logits).abs().max() > 0.1, "or it would not matter which"
    path = tmp_path / "checkpoint.pth"
    torch.save(wrap(state, average), path)
    for kind, expected in ((None, averaged), ("ema", averaged), ("raw", logits)):
        checkpoint = load(str(path), kind=kind)
        same_logits(checkpoint, expected)
        facts = checkpoint.facts()
        assert facts["weights"] == (kind or "ema")
        assert facts["weights_in_file"] == ["raw", "ema"]
        assert len(facts["ignored"]) <= 2, "the others' place, and a counter"
        json.dumps(facts)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda mean: mean.state_dict(),
        lambda mean: {"model_ema": mean.state_dict()},
        lambda mean: AveragedModel(nn.Sequential(OrderedDict(module=mean.module))).state_dict(),  # of a wrapped network
        lambda mean: {"state_dict": _prefixed(mean.state_dict(), "net.")},
    ],
)
def test_an_average_alone_loads_and_is_said_to_be_one(
    tmp_path: Path, average: Any, averaged: Tensor, same_logits: Any, refused: Any, wrap: Callable[..., Any]
) -> None:
    torch.save(wrap(average), tmp_path / "ema.pth")
    checkpoint = load(str(tmp_path / "ema.pth"))
    same_logits(checkpoint, averaged)
    assert (checkpoint.kind, checkpoint.kinds) == ("ema", ("ema",))
    refused("weights.no_raw", load, str(tmp_path / "ema.pth"), kind="raw")


def test_weights_of_which_nothing_is_said_are_said_to_be_nothing(tmp_path: Path, state: Any, refused: Any) -> None:
    torch.save(state, tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth"), kind="raw").facts()["weights"] is None
    refused("weights.no_average", load, str(tmp_path / "a.pth"), kind="ema")


def test_timms_own_checkpoint_gives_timms_average(tmp_path: Path, pixels: Tensor, train: Any, same_logits: Any) -> None:
    model = train(timm.create_model, "resnet18", layers=[1, 1, 1, 1], num_classes=3, pretrained=False)
    mean = ModelEmaV3(model, decay=0.5)
    mean.module.load_state_dict(
        train(timm.create_model, "resnet18", layers=[1, 1, 1, 1], num_classes=3, pretrained=False, seed=1).state_dict()
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    CheckpointSaver(model, optimizer, model_ema=mean, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path)
                    ).save_checkpoint(0, 50.0)  # fmt: skip
    theirs = timm.create_model("resnet18", layers=[1, 1, 1, 1], num_classes=3, pretrained=False).eval()
    for kind in (None, "raw"):
        timm.models.load_checkpoint(theirs, str(tmp_path / "last.pth.tar"), use_ema=kind is None)
        with torch.inference_mode():
            expected = theirs(pixels)
        same_logits(load(str(tmp_path / "last.pth.tar"), kind=kind), expected)


def test_a_process_of_its_own_takes_and_says_the_same(tmp_path: Path, state: Any, average: Any) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"model": state, "model_ema": average.state_dict(), "criterion": {"weight": torch.ones(3)}}, path)
    for kind in (None, "raw"):
        apart, here = (read_weights(path, "tester/pets", apart=one, kind=kind) for one in (True, False))
        assert all(torch.equal(apart.state[key], value) for key, value in here.state.items())
        assert (apart.kind, apart.kinds, apart.ignored) == (here.kind, here.kinds, here.ignored)
        assert apart.kind == (kind or "ema")


def test_the_terminal_says_and_chooses(
    tmp_path: Path, state: Any, average: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "both.pth"
    torch.save({"model": state, "model_ema": average.state_dict()}, path)
    for option, said in (((), "ema"), (("--weights", "raw"), "raw")):
        assert weights_main(["show", str(path), *option]) == 0
        lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert (lines["weights"], lines["weights_in_file"]) == (said, "raw and ema")
    photo = str(next(PHOTOS.rglob("*.jpg")))
    answers = []
    for option in ((), ("--weights", "ema"), ("--weights", "raw")):
        assert resnet_main(["classify", photo, "--model", str(path), "--json", "--device", "cpu", *option]) == 0
        answers.append(json.loads(capsys.readouterr().out)["predictions"])
    assert answers[0] == answers[1] != answers[2]


def test_the_page_says_that_it_is_an_average_and_what_it_leaves_out(tmp_path: Path, state: Any, average: Any) -> None:
    path = tmp_path / "both.pth"
    torch.save({"model": state, "model_ema": average.state_dict(), "criterion": {"weight": torch.ones(5)}}, path)
    shown = _facts(Models(trusted=(str(path),), device="cpu").get(str(path)))
    assert "averaged weights of the training (EMA)" in shown and "滑动平均" in shown
    assert "Not used of its file: model, n_averaged, criterion" in shown


def test_training_and_measuring_take_the_option_too() -> None:
    for module in (training, evaluate):
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        assert parser.parse_args(["data"]).weights is None
        assert parser.parse_args(["data", "--weights", "raw"]).weights == "raw"


def test_two_networks_are_refused_and_both_are_named(tmp_path: Path, state: Any, average: Any, refused: Any) -> None:
    other = {key: value + 1 for key, value in state.items()}
    torch.save({"student": state, "teacher": other}, tmp_path / "a.pth")
    sentence = str(refused("weights.several", load, str(tmp_path / "a.pth")))
    assert "student" in sentence and "teacher" in sentence
    torch.save(_prefixed(state, "one.") | _prefixed(other, "two.net."), tmp_path / "a.pth")
    sentence = str(refused("weights.several", load, str(tmp_path / "a.pth")))
    assert "one" in sentence and "two.net" in sentence
    torch.save({"model": state, "best": dict(state)}, tmp_path / "a.pth")  # the same one twice
    load(str(tmp_path / "a.pth"))

"""What a training's checkpoint says of its architecture is honoured or refused by name, never dropped."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from torch import Tensor

from resnet.__main__ import main as resnet_main
from resnet.config import VARIANTS, ResNetConfig
from tests.pictures import PHOTOS
from ui.models import Models
from weights import contents, layouts
from weights.__main__ import main as weights_main
from weights.checkpoint import config_of, read_weights
from weights.load import load


@pytest.fixture(scope="module")
def resnet18() -> dict[str, Tensor]:
    """Weights of a true ResNet-18, all the same: its names are looked at, not its numbers."""
    with torch.device("meta"):
        shapes = torchvision.models.resnet18(num_classes=3).state_dict()
    return {key: torch.ones(()).expand(value.shape) for key, value in shapes.items()}


def _config(resnet18: Any, said: dict[str, Any]) -> ResNetConfig:
    """What is made of a file that says this beside the weights."""
    return config_of(contents.take({"state_dict": resnet18, **said}, "it"), "it")


def _ways(name: str) -> list[dict[str, Any]]:
    """As scripts write it: ImageNet's example, timm's, Lightning's, and others."""
    return [
        {"arch": name}, {"architecture": name}, {"model_name": name}, {"args": {"model": name}},
        {"hyper_parameters": {"arch": name}}, {"config": {"backbone": name}},
        {"arch": "resnet", "args": {"arch": name}},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["resnetblur18", "resnetaa50", "seresnet50", "resnet50_gn", "resnet18d", "vgg11"])
def test_an_architecture_that_is_not_ours_is_refused_by_name(resnet18: Any, refused: Any, name: str) -> None:
    for said in _ways(name):
        refusal = refused("weights.stated", _config, resnet18, said)
        assert f"says of itself that it is a {name}" in str(refusal)


def test_such_an_architecture_has_the_same_keys_and_another_answer(pixels: Tensor, train: Any) -> None:
    """Or it would do no harm to drop the name."""
    arguments = {"layers": [1, 1, 1, 1], "num_classes": 3, "pretrained": False}
    plain = train(timm.create_model, "resnet18", **arguments)
    blurred = timm.create_model("resnetblur18", **arguments).eval()
    blurred.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        assert (blurred(pixels) - plain(pixels)).abs().max() > 0.1


@pytest.mark.parametrize(
    "name", ["resnet18", "ResNet18", "ResNet-18", "resnet_18", "resnet18.a1_in1k", "timm/resnet18.a1_in1k",
             "torchvision.models.resnet18", "tv_resnet18", "swsl_resnet18", "ResNet"]
)  # fmt: skip
def test_what_it_is_is_honoured_however_it_is_written(resnet18: Any, name: str) -> None:
    for said in _ways(name):
        assert _config(resnet18, said).depths == (2, 2, 2, 2)


@pytest.mark.parametrize("name", ["resnet50", "resnet34", "wide_resnet50_2", "tv_resnet50"])
def test_weights_of_another_network_than_it_says_are_refused(resnet18: Any, refused: Any, name: str) -> None:
    for said in _ways(name):
        sentence = str(refused("weights.stated_other", _config, resnet18, said))
        assert name in sentence and "(resnet18)" in sentence


@pytest.mark.parametrize("said", [{"model_name": "flowers, third try"}, {"args": {"model": "net"}}, {"arch": " "},
                                  {"model_name": 3, "arch": None, "args": [1]}])  # fmt: skip
def test_a_name_of_somebodys_own_says_nothing(resnet18: Any, said: dict[str, Any]) -> None:
    assert _config(resnet18, said).depths == (2, 2, 2, 2)


def test_timms_arguments_are_honoured_or_refused(tmp_path: Path, state: Any, refused: Any, logits: Tensor,
                                                 same_logits: Any) -> None:  # fmt: skip
    """`state` has one block a stage, as `--model-kwargs layers=[1,1,1,1]` builds it."""
    path = tmp_path / "a.pth"
    args = {"model": "resnet18", "model_kwargs": {"layers": [1, 1, 1, 1]}, "gp": None, "in_chans": None}
    torch.save({"state_dict": state, "arch": "resnet18", "args": args}, path)
    same_logits(load(str(path)), logits)
    for change, words in (
        ({"model_kwargs": {"layers": [1, 1, 1, 1], "aa_layer": "blurpool"}}, "aa_layer='blurpool'"),
        ({"gp": "max"}, "global_pool='max'"),
        ({"model_kwargs": {"layers": [1, 1, 1, 1], "act_layer": "silu"}}, "act_layer='silu'"),
        ({"model_kwargs": {"layers": ["a"]}}, "resnet18 that is none"),
    ):
        torch.save({"state_dict": state, "args": {**args, **change}}, path)
        assert words in str(refused("weights.not_resnet", load, str(path)))


def test_a_file_says_it_beside_its_tensors_or_in_its_header(tmp_path: Path, state: Any, refused: Any) -> None:
    for name, code in (("resnetblur18", "weights.stated"), ("resnet50", "weights.stated_other")):
        save_file(state, tmp_path / "a.safetensors", {"architecture": name, "format": "pt"})
        torch.save({"state_dict": state, "arch": name}, tmp_path / "a.pth")
        for file in ("a.safetensors", "a.pth"):
            refused(code, load, str(tmp_path / file))
    save_file(state, tmp_path / "a.safetensors", {"architecture": "resnet", "format": "pt"})
    load(str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_known_by_its_name(resnet18: Any, refused: Any, name: str) -> None:
    if name == "resnet18":
        _config(resnet18, {"arch": name})
    else:
        refused("weights.stated_other", _config, resnet18, {"arch": name})


def test_a_folders_pickle_that_says_another_is_refused(tmp_path: Path, state: Any, refused: Any) -> None:
    config = {"architecture": "resnet18", "num_classes": 5, "model_args": {"layers": [1, 1, 1, 1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save({"state_dict": state, "arch": "resnetaa18"}, tmp_path / "pytorch_model.bin")
    refused("weights.stated", load, str(tmp_path))


def test_a_process_of_its_own_says_the_same(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "a.bin"
    torch.save({"state_dict": state, "arch": "resnetblur18", "args": {"model_kwargs": {"layers": (1, 1, 1, 1)}}}, path)
    apart, here = (read_weights(path, "a", apart=one) for one in (True, False))
    assert apart.architectures == here.architectures == (("resnetblur18", True),)
    assert apart.model_args == here.model_args


def test_options_of_a_script_are_read_as_a_mapping_is(resnet18: Any) -> None:
    assert contents.take({"model": resnet18, "args": Namespace(model="resnet50_gn")}, "a").architectures == (
        ("resnet50_gn", False),
    )


# -- what it was trained for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_a_model_of_another_problem_is_refused_by_name(
    tmp_path: Path, resnet18: Any, train: Any, refused: Any, problem: str
) -> None:
    """transformers itself trains it with a sigmoid for each name, of which several can be true."""
    arguments = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [1, 1, 1, 1], "num_labels": 3}
    config = transformers.ResNetConfig(**arguments, problem_type=problem)
    train(transformers.ResNetForImageClassification, config).save_pretrained(tmp_path)
    assert problem in str(refused("weights.problem", load, str(tmp_path)))
    saved = json.loads((tmp_path / "config.json").read_text())
    saved["problem_type"] = "single_label_classification"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    load(str(tmp_path))
    refused("weights.problem", _config, resnet18, {"config": {"problem_type": problem}})
    refused("weights.problem", layouts.describe, "it", {"architecture": "resnet18", "problem_type": problem})


def test_the_page_the_terminal_and_the_trainer_refuse_another_problem(
    tmp_path: Path, refused: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "problem_type": "regression"}))
    refused("weights.problem", Models(trusted=(str(tmp_path),)).get, str(tmp_path))
    refused("weights.problem", Models(trusted=(str(tmp_path),)).base, str(tmp_path))
    assert weights_main(["show", str(tmp_path)]) == 2
    assert resnet_main(["classify", str(next(PHOTOS.rglob("*.jpg"))), "--model", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("was trained for regression") == 2

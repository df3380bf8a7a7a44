"""Networks inside of others' classes and files: found by their keys, the rest left out and named."""

from __future__ import annotations

import copy
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weights import contents
from weights.checkpoint import read_weights
from weights.load import load

Wrap = Callable[[dict[str, Tensor]], Any]


def _prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix",
    ["net.", "backbone.", "resnet.", "model.module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.",
     "model.net.backbone.", "timm_model.", "model.model.", "anything at all."],
)  # fmt: skip
def test_a_network_is_found_behind_any_prefix(
    tmp_path: Path, state: Any, logits: Tensor, same_logits: Any, prefix: str
) -> None:
    for wrap in (lambda one: one, lambda one: {"state_dict": one}, lambda one: {"a": {"b": {"c": one}}, "epoch": 3}):
        torch.save(wrap(_prefixed(state, prefix)), tmp_path / "a.pth")
        checkpoint = load(str(tmp_path / "a.pth"))
        same_logits(checkpoint, logits)
        assert checkpoint.ignored == ()


@pytest.mark.parametrize(
    ("wrap", "ignored"),
    [
        (lambda one: {**one, "criterion.weight": torch.ones(5)}, ("criterion",)),
        (lambda one: {**one, "n_averaged": torch.tensor(3), "epoch": 3}, ("n_averaged",)),
        (lambda one: {**one, "loss_fn.centers": torch.ones(5, 512), "train_acc.tp": torch.ones(5)},
         ("loss_fn", "train_acc")),
        (lambda one: {**_prefixed(one, "model."), "criterion.weight": torch.ones(5), "val_f1.fp": torch.ones(5)},
         ("criterion", "val_f1")),
        (lambda one: {"state_dict": one, "rng": torch.ones(5), "scaler": {"scale": torch.ones(1)}}, ("rng", "scaler")),
        (lambda one: {**one, "total_ops": torch.ones(1), "layer1.0.conv1.total_ops": torch.ones(1)}, ("total_ops",)),
    ],
    ids=range(6),
)  # fmt: skip
def test_what_no_photo_meets_is_left_out_and_named(
    tmp_path: Path, state: Any, logits: Tensor, same_logits: Any, wrap: Wrap, ignored: tuple[str, ...]
) -> None:
    torch.save(wrap(state), tmp_path / "a.pth")
    checkpoint = load(str(tmp_path / "a.pth"))
    same_logits(checkpoint, logits)
    assert set(checkpoint.ignored) == set(ignored)
    assert checkpoint.facts()["ignored"] == list(checkpoint.ignored)


def test_of_moco_the_network_that_learns_is_a_base(tmp_path: Path, network: Any, state: Any, pixels: Tensor,
                                                   same_logits: Any) -> None:  # fmt: skip
    """As facebookresearch/moco saves it: what its `fc` gives are no classes."""
    momentum = {key: value + 1 for key, value in state.items()}
    keys = _prefixed(state, "module.encoder_q.") | _prefixed(momentum, "module.encoder_k.")
    keys |= {"module.queue": torch.ones(5, 8), "module.queue_ptr": torch.zeros(1)}
    torch.save({"epoch": 200, "arch": "resnet", "state_dict": keys}, tmp_path / "moco.pth.tar")
    checkpoint = load(str(tmp_path / "moco.pth.tar"))
    assert checkpoint.label_names == ()
    assert set(checkpoint.ignored) == {"state_dict.module.encoder_k", "queue", "queue_ptr", "fc"}
    with torch.inference_mode():
        same_logits(checkpoint, nn.Sequential(*list(network.children())[:-1])(pixels).flatten(1))


@pytest.mark.parametrize(
    "head", [lambda fc: nn.Sequential(nn.Dropout(), fc), lambda fc: nn.Sequential(fc, nn.LogSoftmax(1)),
             lambda fc: nn.Sequential(nn.Sequential(nn.Dropout(), fc))],
)  # fmt: skip
def test_a_head_of_one_linear_layer_is_one(
    tmp_path: Path, network: Any, state: Any, logits: Tensor, same_logits: Any, head: Callable[[nn.Module], nn.Module]
) -> None:
    tail = _prefixed(head(network.fc).state_dict(), "fc.")
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    for prefix in ("", "net."):
        torch.save(_prefixed(body | tail, prefix), tmp_path / "a.pth")
        same_logits(load(str(tmp_path / "a.pth")), logits)


@pytest.mark.parametrize(
    "head", [nn.Sequential(nn.Linear(512, 9), nn.ReLU(), nn.Linear(9, 5)), nn.Sequential(nn.Linear(512, 5), nn.PReLU()),
             nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 5))],
)  # fmt: skip
def test_a_head_of_several_layers_is_refused_by_name(tmp_path: Path, state: Any, refused: Any, head: nn.Module) -> None:
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    torch.save(body | _prefixed(head.state_dict(), "fc."), tmp_path / "a.pth")
    sentence = str(refused("weights.not_resnet", load, str(tmp_path / "a.pth")))
    assert "more than one linear layer (fc.0, fc." in sentence


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: {**_prefixed(one, "backbone."), "classifier.weight": torch.ones(2, 5)},
        lambda one: {**_prefixed(one, "1."), "0.mean": torch.ones(3), "0.std": torch.ones(3)},
        lambda one: {"backbone": one, "head": {"weight": torch.ones(2, 5), "bias": torch.ones(2)}},
        lambda one: {"state_dict": one, "classifier.weight": torch.ones(2, 5)},
    ],
    ids=range(4),
)
def test_a_head_that_need_not_be_the_last_is_refused(tmp_path: Path, state: Any, refused: Any, wrap: Wrap) -> None:
    """ImageNet's names for a network that has learnt two classes would be wrong ones."""
    torch.save(wrap(state), tmp_path / "a.pth")
    refused("weights.more", load, str(tmp_path / "a.pth"))


def test_a_body_beside_anything_is_a_base_and_what_it_stood_beside_is_named(tmp_path: Path, state: Any) -> None:
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    torch.save(
        {**_prefixed(body, "backbone."), "rpn.weight": torch.ones(3), "roi.w": torch.ones(1)}, tmp_path / "a.pth"
    )
    checkpoint = load(str(tmp_path / "a.pth"))
    assert (checkpoint.label_names, checkpoint.ignored) == ((), ("rpn", "roi"))


# -- what scripts save beside tensors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_options_numbers_and_optimizers_beside_the_weights_do_no_harm(
    tmp_path: Path, network: Any, state: Any, logits: Tensor, same_logits: Any, zipped: bool
) -> None:
    trained = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(trained.parameters())
    trained(torch.zeros(1, 3, 32, 32)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    kinds = (np.float64(3.5), np.float32(3.5), np.int64(-3), np.uint8(200), np.bool_(True), np.float16(1))
    whole = {
        "state_dict": state, "args": Namespace(lr=np.float64(0.1), model="resnet", inner=Namespace(a=[1])),
        "optimizer": optimizer.state_dict(), "best": kinds, "epoch": 3,
    }  # fmt: skip
    path = tmp_path / "last.pth.tar"
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    same_logits(load(str(path)), logits)
    read = torch.load(path, weights_only=True)
    assert read["best"] == tuple(kind.item() for kind in kinds)
    assert all(type(value).__module__ == "builtins" for value in (*read["best"], read["args"].lr))
    assert torch.equal(read_weights(path, "it", apart=True).state["fc.bias"], state["fc.bias"])


def test_options_are_read_after_another_library_has_taken_away_its_own(tmp_path: Path, state: Any) -> None:
    torch.save({"state_dict": state, "args": Namespace(lr=0.1)}, tmp_path / "a.pth")
    with torch.serialization.safe_globals([Namespace]):  # as timm reads checkpoints
        pass
    load(str(tmp_path / "a.pth"))


class Touch:
    """Unpickling it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class Calls:
    """Unpickling it calls a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Child(Namespace):
    """No type of those that are read."""


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_nothing_beyond_these_types_is_unpickled(tmp_path: Path, state: Any, refused: Any, zipped: bool) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    for evil in (
        Touch(marker), Namespace(lr=Touch(marker)), Child(lr=0.1), Calls(eval, f"open({str(marker)!r}, 'w')"),
        Calls(np.dtype, Touch(marker)), np.zeros(3), Calls(np.load, str(path)), Calls(getattr, Namespace(), "x"),
        nn.Linear(2, 2), Path("/tmp"),
    ):  # fmt: skip
        torch.save({"state_dict": state, "args": evil}, path, _use_new_zipfile_serialization=zipped)
        refused("weights.pickle", load, str(path))
        assert not marker.exists()


def test_what_pretends_to_be_a_number_of_numpys_is_none(tmp_path: Path, state: Any, logits: Tensor,
                                                        same_logits: Any) -> None:  # fmt: skip
    """numpy's own functions would take its word for where the memory of the number is."""
    scalar = np.float64(1).__reduce__()[0]
    strange = [
        Calls(scalar, Calls(np.dtype, "O"), b"\x41" * 8), Calls(scalar, Calls(np.dtype, "V999999999"), b"\x41"),
        Calls(scalar, Calls(np.dtype, "f8"), b"\x41"), Calls(scalar, 3, b"\x41" * 8), Calls(scalar, Calls(np.dtype, 3)),
    ]  # fmt: skip
    torch.save({"state_dict": state, "strange": strange}, tmp_path / "a.pth")
    same_logits(load(str(tmp_path / "a.pth")), logits)
    assert torch.load(tmp_path / "a.pth", weights_only=True)["strange"] == [None] * 5


def test_mappings_that_hold_themselves_or_each_other_are_looked_at_once(state: Any) -> None:
    whole: dict[str, Any] = {"x" * 100_000: {"a": {}}}
    whole["self"] = whole
    for number in range(40):  # 2 to the 40 ways to the innermost
        whole = {"left": whole, "right": whole, str(number): 1}
    assert len(contents.take({"model": state, "other": whole}, "it").state) == len(state)

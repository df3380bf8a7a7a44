"""A refusal's reason is the reason: other kinds of ResNet, and files that are something else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from train.export import export_onnx
from weights.checkpoint import read_folder, write_folder
from weights.layouts import config_from_shapes
from weights.load import load

ONE = {"layers": [1, 1, 1, 1], "num_classes": 3, "pretrained": False}


def _shapes(name: str, **arguments: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        state = timm.create_model(name, **ONE, **arguments).state_dict()
    return {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet18", {"in_chans": 1}, "for images of one channel (conv1.weight is 64 x 1 x 7 x 7)"),
        ("resnet18", {"in_chans": 4}, "for images of 4 channels"),
        ("seresnet50", {}, "with squeeze-and-excitation (layer1.0.se.fc1.weight)"),
        ("seresnet18", {}, "with squeeze-and-excitation"),
        ("ecaresnet50t", {"stem_type": "", "stem_width": 64}, "with attention (layer1.0.se.conv.weight)"),
        ("resnet50_gn", {}, "with GroupNorm"),
        ("resnet50d", {}, "with a stem of several convolutions (conv1.0.weight …)"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "net."])
def test_other_kinds_of_resnet_are_called_by_their_kind(
    tmp_path: Path, refused: Any, name: str, arguments: dict[str, Any], words: str, prefix: str
) -> None:
    torch.save({prefix + key: value for key, value in _shapes(name, **arguments).items()}, tmp_path / "a.pth")
    assert words in str(refused("weights.not_resnet", load, str(tmp_path / "a.pth")))


def test_a_network_for_small_images_is_said_to_be_one(state: Any, refused: Any) -> None:
    """As CIFAR's scripts change torchvision's."""
    small = {**state, "conv1.weight": nn.Conv2d(3, 64, 3, bias=False).weight.detach()}
    assert "a ResNet with a 3x3 stem" in str(refused("weights.not_resnet", config_from_shapes, small, "it"))
    odd = {**state, "conv1.weight": nn.Conv2d(3, 64, 5, bias=False).weight.detach()}
    assert "another stem (conv1.weight is 64 x 3 x 5 x 5)" in str(
        refused("weights.not_resnet", config_from_shapes, odd, "it")
    )


FILES = {
    "weights.pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 44690000\n",
    "weights.page": b"\xef\xbb\xbf \n<!DOCTYPE html><html><title>404</title></html>",
    "weights.format": b"\x89HDF\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin", ".pth.tar"])
@pytest.mark.parametrize("code", FILES)
def test_a_file_that_is_something_else_is_said_to_be_it(tmp_path: Path, refused: Any, suffix: str, code: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(FILES[code])
    assert str(refused(code, load, str(path))).startswith(f"a{suffix} of {tmp_path.name} is a")


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_clone_without_git_lfs_is_told_so(tmp_path: Path, refused: Any, file: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 3}))
    (tmp_path / file).write_bytes(FILES["weights.pointer"])
    assert "git lfs pull" in str(refused("weights.pointer", load, str(tmp_path)))
    refused("weights.pointer", read_folder, tmp_path, apart=True)


def test_files_of_other_libraries_are_called_by_their_library(tmp_path: Path, refused: Any, state: Any) -> None:
    for name, content, kind in (
        ("a.h5", b"\x89HDF\r\n\x1a\n", "Keras (HDF5)"), ("a.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        ("a.pth", b"\x20\0\0\0TFL3" + bytes(50), "TensorFlow Lite"), ("saved_model.pb", b"\x08\x01", "TensorFlow"),
        ("a.msgpack", b"\x81", "Flax"), ("a.pdparams", b"\x80\x02}.", "PaddlePaddle"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert f"is a file of {kind}," in str(refused("weights.format", load, str(tmp_path / name)))
    for name in ("a.keras", "renamed.pth"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
        assert "is a file of Keras," in str(refused("weights.format", load, str(tmp_path / name)))


def test_an_onnx_file_is_called_one_by_any_name(tmp_path: Path, refused: Any, timm_folder: Any) -> None:
    pytest.importorskip("onnx")
    timm_folder(tmp_path / "timm", num_classes=3, layers=[1, 1, 1, 1])
    write_folder(load(str(tmp_path / "timm")), tmp_path / "saved")
    export_onnx(tmp_path / "saved", [])
    for name in ("a.onnx", "a.pth"):
        (tmp_path / name).write_bytes((tmp_path / "saved" / "model.onnx").read_bytes())
        assert "is a file of ONNX," in str(refused("weights.format", load, str(tmp_path / name)))


@pytest.mark.parametrize("file", ["tf_model.h5", "flax_model.msgpack", "model.onnx"])
def test_a_folder_with_another_librarys_weights_alone_says_so(tmp_path: Path, refused: Any, file: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 3}))
    (tmp_path / file).touch()
    assert file in str(refused("weights.format", load, str(tmp_path)))


# -- torn, or no numbers -----------------------------------------------------------------------------------------------


def test_numbers_that_changed_on_the_way_are_noticed(tmp_path: Path, state: Any, refused: Any) -> None:
    """A zip keeps sums of what is in it, which torch itself does not look at."""
    path = tmp_path / "a.pth"
    torch.save(state, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    torch.load(path, weights_only=True)  # it takes the wrong number
    refused("weights.broken", load, str(path))


def test_a_file_that_was_saved_without_sums_is_read(
    tmp_path: Path, state: Any, logits: Tensor, same_logits: Any
) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    same_logits(load(str(tmp_path / "a.pth")), logits)


def test_an_average_that_went_astray_is_told_and_the_raw_weights_still_load(
    tmp_path: Path, state: Any, logits: Tensor, same_logits: Any, refused: Any
) -> None:
    astray = {**state, "fc.bias": torch.full((5,), torch.nan)}
    torch.save({"model": state, "model_ema": astray}, tmp_path / "a.pth")
    assert "fc.bias" in str(refused("weights.no_number", load, str(tmp_path / "a.pth")))
    same_logits(load(str(tmp_path / "a.pth"), kind="raw"), logits)

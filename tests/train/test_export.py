"""The ONNX file, run by its own runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet.errors import Refusal
from resnet.network import ResNet
from train import export
from train.__main__ import main
from train.job import Job
from train.run import run
from weights.checkpoint import Checkpoint, read_folder, write_folder

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: Checkpoint) -> Path:
    torch.manual_seed(1)
    config = tiny.config.with_classes(3)
    path = tmp_path_factory.mktemp("model") / "mine"
    write_folder(
        replace(tiny, config=config, state_dict=ResNet(config).state_dict(), label_names=("a", "b", "c")), path
    )
    return path


def test_the_outputs_are_pytorchs_for_any_batch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(folder), "--onnx"]) == 0
    said = capsys.readouterr().out
    assert "on 16 images the largest difference" in said
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    network = read_folder(folder).network()
    for count in (1, 5):
        batch = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            ours = network(batch).numpy()
        np.testing.assert_allclose(session.run(["logits"], {"image": batch.numpy()})[0], ours, atol=1e-4)
    assert not (folder / "model.onnx.part").exists() and not list(folder.glob("*.data"))


def test_what_differs_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.onnx").unlink(missing_ok=True)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(Refusal, match="was not kept"):
        export.export_onnx(folder, [])
    assert not list(folder.glob("model.onnx*"))


def test_a_missing_package_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", str(folder), "--onnx"]) == 2
    assert "pip install onnx" in capsys.readouterr().err


def test_a_folder_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--onnx"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_trained_model_can_be_exported(make_job: Callable[..., Job]) -> None:
    job = make_job("head", views=1)
    list(run(job))
    difference, count = export.export_onnx(job.out, [str(job.dataset.images[0].path.parent)])
    assert difference < 1e-3 and count == 10

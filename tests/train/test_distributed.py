"""Two processes that share the batches learn what one process learns from whole ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train.killed import small_job
from tests.waiting import PATIENCE_S
from train.events import Step
from train.run import run
from weights.checkpoint import read_folder

ROOT = Path(__file__).resolve().parents[2]


def torchrun(tmp_path: Path, *words: str) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of the steps and the weights that two processes end with."""
    count = 2
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"]
    folders = [str(tmp_path / name) for name in ("out", "state")]
    command = [sys.executable, *launch, "tests.train.killed", *folders, *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("step ")]
    sums = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("sums ")]
    assert len(sums) == count and len(set(sums)) == 1, "all of them end with the same weights"
    return [float(line[3]) for line in lines], dict(read_folder(Path(folders[0])).state_dict)


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """BatchNorms that learn scales and shifts alone see no batch, so nothing depends on how it was divided."""
    two, together = torchrun(tmp_path)
    events = list(run(small_job(tmp_path, tmp_path / "alone", None)))
    one = [event.loss for event in events if isinstance(event, Step)]
    alone = read_folder(tmp_path / "alone").state_dict
    assert len(one) == len(two) == 6, "one of them speaks"
    assert one == pytest.approx(two, rel=1e-3)
    for key, value in alone.items():
        torch.testing.assert_close(value, together[key], atol=2e-3, rtol=2e-2)


def test_two_processes_agree_on_the_end(tmp_path: Path) -> None:
    """With statistics of their own shares and clocks of their own, they still take every turn together."""
    settings = {"epochs": None, "minutes": 0.5, "patience": 3, "learning_rate": 0.05}
    losses, weights = torchrun(tmp_path, "scratch", json.dumps(settings))
    assert losses and all(value.isfinite().all() for value in weights.values())

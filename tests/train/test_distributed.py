"""Two processes that share the batches learn what one process learns from whole ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from weights.checkpoint import read_folder

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """BatchNorms that learn scales and shifts alone see no batch, so nothing depends on how it was divided."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    losses = []
    for count in (1, 2):
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"]
        folders = [str(tmp_path / f"{name}{count}") for name in ("out", "state")]
        command = [sys.executable, *launch, "tests.train.killed", *folders]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("step ")]
        losses.append([float(line[3]) for line in lines])
        assert len(lines) == 6, "one of them speaks"
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    one, two = (read_folder(tmp_path / f"out{count}").state_dict for count in (1, 2))
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], atol=2e-3, rtol=2e-2)

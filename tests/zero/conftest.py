"""A Space on ZeroGPU whose GPUs are this machine's CPU, and what it asks for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_S
from tests.zero.device_api import DeviceApi

ROOT = Path(__file__).resolve().parents[2]


def space_environment(api: DeviceApi, home: Path) -> dict[str, str]:
    """Of a Space on ZeroGPU."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {
        "SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": api.url, "HOME": str(home), "PYTHONPATH": str(ROOT),
        "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip


@dataclass
class Space:
    """A process that does what it is told."""

    api: DeviceApi
    process: subprocess.Popen[str]
    log: Path

    def do(self, what: str, **facts: Any) -> list[dict[str, Any]]:
        """What it says of a command."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **facts}) + "\n")
        self.process.stdin.flush()
        said: list[dict[str, Any]] = []
        for line in self.process.stdout:
            if line.startswith("said "):
                one = json.loads(line[5:])
                if one.get("end"):
                    return said
                assert "error" not in one, (one, self.log.read_text()[-3000:])
                said.append(one)
        raise AssertionError(self.log.read_text()[-3000:])


@pytest.fixture(scope="module")
def started_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    folder, api = tmp_path_factory.mktemp("space"), DeviceApi()
    log = folder / "log.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.zero.space"],
            cwd=ROOT, env=space_environment(api, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            text=True,
        )  # fmt: skip
        try:
            yield Space(api, process, log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_S)
            api.close()


@pytest.fixture
def space(started_space: Space) -> Space:
    """The Space, generous again."""
    api = started_space.api
    api.grants, api.most_s, api.queued, api.idle, api.refuses = 10**6, 120, False, True, "quota"
    api.loans.clear()
    return started_space

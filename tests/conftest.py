"""What several test packages need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Threads of torch that wait for each other would spin, which takes the cores from whoever else has work on them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the repository: photos and checkpoints that are never copied into it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail("../shared is absent, and in CI nothing that needs it may be skipped")
        pytest.skip("../shared is absent")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of the page gets a second try: it shares a few cores with a browser and a server, and waits in real time.

    The summary counts these; what fails twice has failed.
    """
    for item in items:
        if item.get_closest_marker("page"):
            item.add_marker(pytest.mark.flaky(reruns=1))

"""A Hub with a few small models, and room to load them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import local_models
from tests.hub.local_hub import LocalHub
from ui.models import Models
from weights.hub import Hub

TOKEN = "hf_of_the_owner"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("hub")
    local_models.write_transformers(root / "tester/one", ("cat", "dog", "pony"))
    for name in ("two", "three", "private"):
        (root / "tester" / name).symlink_to(root / "tester/one")
    with LocalHub(root, token=TOKEN) as hub:
        hub.private.add("tester/private")
        yield hub


@pytest.fixture
def hub(served: Any) -> Iterator[Any]:
    """The local Hub, without faults of another test."""
    served.clear()
    yield served
    served.clear()


@pytest.fixture
def make_models(hub: Any, tmp_path: Path) -> Callable[..., Models]:
    """A function: (token, trusted) -> Models with an empty cache."""

    def make(token: str | bool | None = False, trusted: tuple[str, ...] = ()) -> Models:
        return Models(Hub(hub.url, tmp_path / "cache", token), trusted, device="cpu")

    return make

"""What a Hub sent and what the client keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weights.hub import Hub

WEIGHTS = "model.safetensors"


def downloads(hub: Any) -> list[str]:
    """The files that were sent, in order."""
    return [path.rsplit("/", 1)[1] for method, path in hub.log if method == "GET" and "/resolve/" in path]


def blobs(client: Hub) -> list[Path]:
    return [path for path in client.cache_dir.rglob("blobs/*") if path.is_file()]


def flip(path: Path) -> None:
    """Change one byte in the middle of a file, not its size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

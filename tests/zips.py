"""Zips that say of themselves what is not so."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path


def patched(path: Path, entry: str, change: Callable[[bytearray, int, int], None]) -> Path:
    """The zip with ``change(data, offset of the local header, offset of the central one)`` applied for one entry."""
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(entry).header_offset
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    while data[central + 46 : central + 46 + len(entry)] != entry.encode():
        central = data.index(b"PK\x01\x02", central + 4)
    change(data, local, central)
    path.write_bytes(data)
    return path

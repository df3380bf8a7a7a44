"""How much memory there is: the machine's, or less where this process is in a container (cgroups, version 1 and 2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True)
class _Files:
    """Where a version of cgroups keeps its numbers."""

    folder: str
    limit: str
    used: str
    inactive: str


VERSIONS = {
    2: _Files("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    1: _Files("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def total_bytes(root: Path = ROOT) -> int | None:
    """Memory that this process may ever have; None where nothing tells.

    Args:
        root: of the file system; another one in tests.
    """
    known = [_machine(root, "MemTotal"), *(limit for limit, _ in _limits(root))]
    return min((one for one in known if one is not None), default=None)


def available_bytes(root: Path = ROOT) -> int | None:
    """Memory that new work may take without anything being swapped or ended; None where nothing tells."""
    known = [_machine(root, "MemAvailable"), *(max(0, limit - used) for limit, used in _limits(root))]
    return min((one for one in known if one is not None), default=None)


def _machine(root: Path, field: str) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    if field == "MemTotal" and root == ROOT:  # macOS
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError, AttributeError):
            return None
    return None


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each group that this process is in, from its own up; what is only cached counts for nothing."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        files = VERSIONS[2 if not controllers else 1]
        top = root / files.folder
        inside = PurePosixPath(place.lstrip("/"))
        for folder in (top / inside, *(top / parent for parent in inside.parents), top):
            limit, used = _text(folder / files.limit).strip(), _text(folder / files.used).strip()
            if limit.isdecimal() and used.isdecimal():
                yield int(limit), int(used) - _inactive(folder, files.inactive)


def _inactive(folder: Path, field: str) -> int:
    for line in _text(folder / "memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == field and number.isdecimal():
            return int(number)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""

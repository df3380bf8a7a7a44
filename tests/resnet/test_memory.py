"""The memory of a machine and of a container on it, read from the files in which Linux tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet.memory import available_bytes, total_bytes

GB = 1024**3
MEMINFO = f"MemTotal:       {64 * 1024**2} kB\nMemFree: 1 kB\nMemAvailable:   {40 * 1024**2} kB\n"


def machine(root: Path, files: dict[str, object]) -> Path:
    """A file system with these files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(content))
    return root


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"
CASES: dict[str, tuple[dict[str, object], int, int]] = {
    "no container": ({"proc/self/cgroup": "0::/user.slice\n", f"{V2}/user.slice/memory.max": "max\n"}, 64, 40),
    "version 2": (
        {
            "proc/self/cgroup": "0::/\n", f"{V2}/memory.max": 8 * GB, f"{V2}/memory.current": 6 * GB,
            f"{V2}/memory.stat": f"anon 5\ninactive_file {1 * GB}\n",
        }, 8, 3,
    ),
    "version 2, limited above": (
        {
            "proc/self/cgroup": "0::/pod/box\n", f"{V2}/pod/box/memory.max": "max", f"{V2}/pod/box/memory.current": 5,
            f"{V2}/pod/memory.max": 4 * GB, f"{V2}/pod/memory.current": 3 * GB,
        }, 4, 1,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "9:cpu,cpuacct:/docker/x\n5:memory:/docker/x\n", f"{V1}/memory.limit_in_bytes": 2 * GB,
            f"{V1}/memory.usage_in_bytes": 1 * GB, f"{V1}/memory.stat": "total_inactive_file 0\n",
        }, 2, 1,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "5:memory:/\n", f"{V1}/memory.limit_in_bytes": 2**63 - 4096,
            f"{V1}/memory.usage_in_bytes": 1 * GB,
        }, 64, 40,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_a_container_may_have(tmp_path: Path, name: str) -> None:
    files, total, available = CASES[name]
    root = machine(tmp_path, {"proc/meminfo": MEMINFO, **files})
    assert total_bytes(root) == total * GB
    assert available_bytes(root) == available * GB


def test_where_nothing_tells(tmp_path: Path) -> None:
    assert total_bytes(tmp_path) is None and available_bytes(tmp_path) is None


def test_of_this_machine() -> None:
    total, available = total_bytes(), available_bytes()
    assert total and total > 100_000_000
    assert available is None or 0 <= available <= total

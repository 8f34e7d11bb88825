"""What a container uses, read from the kernel's own files where this user may.

The engine knows it too, but Docker 20.10 answers the second question within a second only when that second is over.
"""

from __future__ import annotations

import time

ROOT = "/sys/fs/cgroup"

Sample = dict[str, int]


def sample(pid: int) -> Sample | None:
    """Nanoseconds now and of CPU, bytes of memory without the page cache that could be dropped. None if unreadable."""
    try:
        groups = _groups(pid)
        return _version_1(groups) if "memory" in groups else _version_2(groups[""])
    except (OSError, KeyError, ValueError):
        return None


def _groups(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as lines:
        parts = [line.rstrip("\n").split(":", 2) for line in lines]
    return {controller: path for _, controllers, path in parts for controller in controllers.split(",")}


def _version_1(groups: dict[str, str]) -> Sample:
    memory = f"{ROOT}/memory{groups['memory']}"
    used = int(_text(f"{ROOT}/cpuacct{groups['cpuacct']}/cpuacct.usage"))
    cache = _table(memory + "/memory.stat")["total_inactive_file"]
    return _sample(used, int(_text(memory + "/memory.usage_in_bytes")), cache)


def _version_2(path: str) -> Sample:
    folder = ROOT + path
    used = _table(folder + "/cpu.stat")["usage_usec"] * 1000
    return _sample(used, int(_text(folder + "/memory.current")), _table(folder + "/memory.stat")["inactive_file"])


def _sample(used_ns: int, memory: int, cache: int) -> Sample:
    return {"at": time.time_ns(), "cpu": used_ns, "memory": max(0, memory - cache)}


def _table(path: str) -> dict[str, int]:
    return {name: int(value) for name, _, value in (line.partition(" ") for line in _text(path).splitlines())}


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()

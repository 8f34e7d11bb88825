"""What /proc says about processes."""

from __future__ import annotations

import os
from collections.abc import Iterator


def started(pid: int) -> str | None:
    """When it started, in ticks since boot: with the pid, a name no other process ever had. None if it ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def writing_to(path: str) -> Iterator[int]:
    """The processes whose standard output is this file."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _output_of(name) == path:
            yield int(name)


def _output_of(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:  # another user's, or gone
        return None

"""What a process and all it ever started have used of the machine's cores, and which of them they may use.

/proc tells it of each process that lives, together with those that it has buried. So the sum over a tree of living
processes counts the many that came and went in between as well, as long as somebody in the tree buried them.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PASSES = 20
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_ms(root: int) -> float:
    """User and system time of the tree below `root`, its dead included, in milliseconds."""
    parents, used = {}, {}
    for pid, parent, ticks in _processes():
        parents[pid], used[pid] = parent, ticks
    return sum(ticks for pid, ticks in used.items() if _is_below(pid, root, parents)) / _TICK * 1000


def core_ms(core: int) -> tuple[float, float]:
    """Since the machine started: in which it was busy, whoever it was for, and in which it was not."""
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    times = next(list(map(int, fields[1:9])) for fields in lines if fields[0] == f"cpu{core}")
    free = times[3] + times[4]  # idle, and idle while a disk is waited for
    return (sum(times) - free) / _TICK * 1000, free / _TICK * 1000


def keep_to(core: int, root: int) -> None:
    """Every thread of the tree below `root` on this core alone; what they start from then on inherits it."""
    for _ in range(_PASSES):
        elsewhere = [thread for thread in _threads(root) if _cores(thread) not in ({core}, None)]
        if not elsewhere:
            return
        for thread in elsewhere:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, {core})
    raise RuntimeError(f"processes below {root} are started faster than they can be kept to core {core}")


def _cores(thread: int) -> set[int] | None:
    """None if it ended."""
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return None


def _threads(root: int) -> Iterator[int]:
    parents = {pid: parent for pid, parent, _ in _processes()}
    for pid in parents:
        if _is_below(pid, root, parents):
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                yield from map(int, os.listdir(f"/proc/{pid}/task"))


def _is_below(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def _processes() -> Iterator[tuple[int, int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                fields = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2].split()
                yield int(name), int(fields[1]), sum(map(int, fields[11:15]))

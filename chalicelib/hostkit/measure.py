"""How much CPU and memory running containers use: all sampled, one pause for all, all sampled again."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from . import cgroups, clock, engine
from .together import together

SHORTEST_NS = 100_000_000
SHORTEST_SINCE_START_NS = 2_000_000_000


def measured(details: list[dict[str, Any]], window_ms: int) -> dict[str, dict[str, Any]]:
    """By container id: `cpu` in cores over the window (since its start without one), and `memory` in bytes."""
    running = [detail for detail in details if detail["State"]["Running"]]
    before: list[cgroups.Sample | None] = [_started(detail) for detail in running]
    if window_ms:
        before = _samples(running)
        time.sleep(window_ms / 1000)
    pairs = zip(running, before, _samples(running))  # noqa: B905 - python 3.9 has no `strict`
    shortest = SHORTEST_NS if window_ms else SHORTEST_SINCE_START_NS
    return {detail["Id"]: used(first, last, shortest) for detail, first, last in pairs if first and last}


def used(first: cgroups.Sample, last: cgroups.Sample, shortest: int = SHORTEST_NS) -> dict[str, Any]:
    elapsed = last["at"] - first["at"]
    # What a container used while it was being set up is older than its start: too short a time tells nothing.
    cpu = (last["cpu"] - first["cpu"]) / elapsed if elapsed >= shortest else None
    return {"cpu": cpu, "memory": last["memory"]}


def _started(detail: dict[str, Any]) -> cgroups.Sample:
    return {"at": clock.nanoseconds(detail["State"]["StartedAt"]), "cpu": 0, "memory": 0}


def _samples(running: list[dict[str, Any]]) -> list[cgroups.Sample | None]:
    return together(*(partial(_sample, detail) for detail in running))


def _sample(detail: dict[str, Any]) -> cgroups.Sample | None:
    return cgroups.sample(detail["State"]["Pid"]) or _engines(detail["Id"])


def _engines(container: str) -> cgroups.Sample | None:
    stats = engine.found(f"/containers/{container}/stats", **{"stream": "false", "one-shot": "true"})
    if not stats or "usage" not in (stats.get("memory_stats") or {}):
        return None  # it ended meanwhile
    memory = stats["memory_stats"]
    details = memory.get("stats") or {}
    # cgroup v1 and v2 name the page cache that could be dropped differently
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return {
        "at": clock.nanoseconds(stats["read"]),
        "cpu": stats["cpu_stats"]["cpu_usage"]["total_usage"],
        "memory": max(0, memory["usage"] - cache),
    }

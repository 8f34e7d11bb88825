"""What a host's containers say about a service: its status and its health. Pure, so that it is a truth table in tests.

A container that was meant to end (restart policy `no` or `on-failure`) and ended with 0 counts as done. What is
expected is how many containers of each compose service a release left running; of a service that was stopped, none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from types import MappingProxyType
from typing import Any, Literal

from chalicelib.domain.service import Observation, Status

Container = dict[str, Any]
Expected = Mapping[str, int]
Verdict = Literal["healthy", "starting", "failed"]
Health = Literal["healthy", "unhealthy", "starting", "stopped", "unknown"]

NOTHING: Expected = MappingProxyType({})

# Being restarted for at least this many times is a crash loop. The count alone is not: an unchanged container is kept
# by a redeploy, with the restarts of all its life.
CRASH_LOOP_RESTARTS = 3
# One that its restart policy brought back is up again once it has stayed up this long: Docker's own measure, after
# which it restarts without a pause.
_STEADY_SECONDS = 10


def left_running(containers: Sequence[Container]) -> dict[str, int]:
    """How many containers of each compose service are to be there from now on: those that are done need not stay."""
    return dict(Counter(container["service"] for container in containers if not _is_done(container)))


def missing(containers: Sequence[Container], expected: Expected) -> str:
    """Which containers are expected and not there, in words; empty if none is."""
    there = Counter(container["service"] for container in containers)
    return ", ".join(
        f"{service} has {there[service]} of its {count} containers" if there[service] else f"{service} has no container"
        for service, count in sorted(expected.items())
        if there[service] < count
    )


def status_seen(containers: Sequence[Container], expected: Expected = NOTHING) -> Status:
    """The status that these containers amount to. One that is missing is as one that ended."""
    if any(_is_broken(container) for container in containers):
        return (
            "failed" if any(_is_up(container) for container in containers) or not _all_ended(containers) else "stopped"
        )
    if any(_is_up(container) for container in containers):
        return "failed" if missing(containers, expected) else "running"
    return "stopped"


def any_runs(containers: Sequence[Container]) -> bool:
    """Whether one runs, or will again without anybody's doing."""
    return any(_is_up(container) or container["state"] == "restarting" for container in containers)


def all_done(containers: Sequence[Container], expected: Expected = NOTHING) -> bool:
    """Whether there are containers, each was meant to end and ended well, and none is missing."""
    return bool(containers) and all(map(_is_done, containers)) and not missing(containers, expected)


def is_back_for_a_moment(containers: Sequence[Container]) -> bool:
    """Whether all run, but one only for a moment since it was restarted: it may be between two crashes."""
    return status_seen(containers) == "running" and any(map(_is_back, containers))


def verdict(containers: Sequence[Container], expected: frozenset[str]) -> tuple[Verdict, str]:
    """Whether a release that was just started is healthy, may become so, or never will; and why."""
    missing = expected - {container["service"] for container in containers}
    if missing:
        return "starting", f"no container yet for {', '.join(sorted(missing))}"
    for container in containers:
        if container["state"] == "restarting" and container["restart_count"] >= CRASH_LOOP_RESTARTS:
            return "failed", f"{container['service']} keeps crashing: {_ending(container)}"
        if _is_broken(container) and container["state"] != "restarting":
            return "failed", f"{container['service']} {_ending(container)}"
    for container in containers:
        if _is_done(container):
            continue
        if container["state"] != "running":
            return "starting", f"{container['service']} is {container['state']}"
        if container["health"] == "unhealthy":
            return "failed", f"{container['service']}'s own health check fails"
        if container["health"] == "starting":
            return "starting", f"{container['service']}'s own health check has not passed yet"
    return "healthy", ""


def lost(volumes: Sequence[str]) -> str:
    """That a release ran with these volumes and the host has them no more."""
    several = len(volumes) > 1
    what = f"Volumes {', '.join(volumes)} were" if several else f"Volume {volumes[0]} was"
    return f"{what} no longer on the host: made anew, without what {'they' if several else 'it'} held"


def heard(sockets: Sequence[dict[str, Any]] | None, port: int) -> str:
    """To follow "nothing answers on its port": what was seen listening there, as `[{ip, port}]`, and what to do."""
    if sockets is None:
        return ""
    if not sockets:
        return "; it listens on no port at all"
    told = ", ".join(
        sorted({f"{'[' + one['ip'] + ']' if ':' in one['ip'] else one['ip']}:{one['port']}" for one in sockets})
    )
    inside = [one for one in sockets if one["port"] == port]
    if inside and all(one["ip"].startswith("127.") or one["ip"] == "::1" for one in inside):
        return f"; it listens on {told}, which nobody outside of its container reaches: have it listen on 0.0.0.0"
    if inside:
        return f"; it listens on {told}"
    return f"; it listens on {told} instead: have it listen on port {port}, or name the port it has"


def observation(seen: dict[str, Any], at: str, before: Observation | None, expected: Expected = NOTHING) -> Observation:
    """One service's part of the host kit's `observe`, as it is kept and shown."""
    containers: list[Container] = seen["containers"]
    running = [container for container in containers if container["state"] == "running"]
    health, message = _health(containers, seen.get("probe"), expected)
    back = next(filter(_is_back, containers), None)
    if health == "healthy" and back:
        ailed = before is not None and before.health == "unhealthy"
        health = "unhealthy" if ailed else "starting"
        message = f"{back['service']} ended and was restarted less than {_STEADY_SECONDS} s ago"
    failures = before.consecutive_failures if before and health in ("unhealthy", "starting") else 0
    failures += health == "unhealthy"
    storage, storage_at = seen.get("storage_mb"), at
    if storage is None and before:
        storage, storage_at = before.storage_mb, before.storage_measured_at or ""
    return Observation(
        measured_at=at,
        cpu_usage_millis=_millis(_sum(running, "cpu_usage")) if running else None,
        cpu_limit_millis=_millis(_sum(containers, "cpu_limit")),
        memory_usage_mb=_whole(_sum(running, "memory_usage_mb")) if running else None,
        memory_limit_mb=_whole(_sum(containers, "memory_limit_mb")),
        storage_mb=_whole(storage),
        storage_measured_at=storage_at if storage is not None else None,
        health=health,
        health_message=message,
        consecutive_failures=failures,
    )


def unreachable(at: str, before: Observation | None, message: str) -> Observation:
    """A host that does not answer leaves the last figures as they were, and health unknown."""
    kept = before or Observation(measured_at=at)
    return kept.model_copy(
        update={
            "measured_at": at,
            "health": "unknown",
            "health_message": message,
            "cpu_usage_millis": None,
            "memory_usage_mb": None,
            "consecutive_failures": kept.consecutive_failures + 1,
        }
    )


def _health(containers: Sequence[Container], probe: dict[str, Any] | None, expected: Expected) -> tuple[Health, str]:
    if all_done(containers, expected):
        return "healthy", ""
    status = status_seen(containers, expected)
    if status == "stopped" and not expected:
        return "stopped", ""
    if status != "running":
        return "unhealthy", _what_ails(containers, expected)
    for container in containers:
        if container["state"] == "paused":  # its port takes connections still, and nobody answers
            return "unhealthy", f"{container['service']} is paused"
        if container["health"] == "unhealthy":
            return "unhealthy", f"{container['service']}'s own health check fails"
    if any(container["health"] == "starting" for container in containers):
        return "starting", ""
    if probe and not probe["ok"]:
        return "unhealthy", probe["message"]
    return "healthy", ""


def _what_ails(containers: Sequence[Container], expected: Expected) -> str:
    broken = [f"{container['service']} {_ending(container)}" for container in containers if _is_broken(container)]
    gone = missing(containers, expected)
    told = [*broken[:1], *([gone] if gone else [])]
    idle = (f"{one['service']} is {one['state']}" for one in containers if not _is_up(one) and not _is_done(one))
    return ", ".join(told) or next(idle, "its containers have ended")


def _is_up(container: Container) -> bool:
    return container["state"] in {"running", "paused"}


def _is_back(container: Container) -> bool:
    up_s = container.get("up_s")  # agents of before do not say
    return container["restart_count"] > 0 and up_s is not None and up_s < _STEADY_SECONDS


def _is_done(container: Container) -> bool:
    return (
        container["state"] == "exited"
        and container["exit_code"] == 0
        and container["restart_policy"] in {"", "no", "on-failure"}
    )


def _is_broken(container: Container) -> bool:
    if container["state"] in {"restarting", "dead"}:
        return True
    return container["state"] == "exited" and not _is_done(container)


def _all_ended(containers: Sequence[Container]) -> bool:
    return all(container["state"] in {"exited", "created"} for container in containers)


def _ending(container: Container) -> str:
    if container["oom_killed"]:
        return "was killed for using more memory than its limit"
    return f"exited with code {container['exit_code']}"


def _sum(containers: Sequence[Container], field: str) -> Any:
    """The sum, or None where any part of it is unknown."""
    values = [container.get(field) for container in containers]
    return None if not values or None in values else sum(values)


def _whole(amount: float | None) -> int | None:
    return None if amount is None else ceil(amount)


def _millis(cores: float | None) -> int | None:
    return None if cores is None else round(cores * 1000)

"""What a host's agent tells of its own accord: figures, what happened to containers, and the last lines of dead ones.

An agent is believed about the services that live on its host, and about no others. What it saw never sets a status: it
has the host looked at, because only a look that began after the service was read can be held against it.
"""

import hashlib
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from chalicelib.domain.observing import observation
from chalicelib.domain.service import Event, Observation, Service
from chalicelib.domain.words import now, parse_time, timestamp
from chalicelib.live import kept
from chalicelib.wiring import adapters

_FIGURES = (
    "measured_at",
    "cpu_usage_millis",
    "cpu_limit_millis",
    "memory_usage_mb",
    "memory_limit_mb",
    "storage_mb",
    "storage_measured_at",
)
# A job's own doings are told by the job; the agent's word of them comes a moment later.
_SETTLING_SECONDS = 5
# What a container ends with when it is told to: 0, or by SIGTERM, or by SIGKILL.
_STOPPED = (0, 137, 143)
# What goes on and on, as a crash loop, is told this often, and not at once again; then only by the service's health.
_REPEATS, _REPEATED_WITHIN, _REPEATED_AFTER = 3, timedelta(minutes=10), timedelta(minutes=1)
_RECENT = 50  # lines of the timeline, among which a repeat is looked for
_LOOK_SECONDS = 1.0
_looked: dict[str, float] = {}


def take(
    host_id: str, stats: dict[str, Any] | None, events: Sequence[dict[str, Any]], tails: Sequence[dict[str, Any]]
) -> None:
    """Keep all of it that concerns services of this host. Safe to repeat."""
    if stats:
        _keep_figures(host_id, stats["services"])
    services = _services(host_id, [*events, *tails])
    for tail in tails:
        if tail["service_id"] in services:
            kept.keep_tail(tail["service_id"], tail)
    for service_id, service in services.items():
        told = [event for event in events if event["service_id"] == service_id]
        if told:
            _note(service, told)


def _keep_figures(host_id: str, seen: dict[str, dict[str, Any]]) -> None:
    here = [row["id"] for row in adapters().services.rows() if row["host_id"] == host_id and row["id"] in seen]
    before = adapters().services.observations([(host_id, service_id) for service_id in here])
    moment = now()
    found = {service_id: _figures(seen[service_id], moment, before.get(service_id)) for service_id in here}
    adapters().services.observe(host_id, found)


def _figures(seen: dict[str, Any], moment: str, before: Observation | None) -> Observation:
    """The figures are the agent's; health, which takes a request to the service, stays as it was last found."""
    fresh = observation(seen, moment, before)
    if before is None:
        return fresh
    return before.model_copy(update={name: getattr(fresh, name) for name in _FIGURES})


def _services(host_id: str, told: Sequence[dict[str, Any]]) -> dict[str, Service]:
    found = {}
    for service_id in {one["service_id"] for one in told}:
        service = adapters().services.find(service_id)
        if service is not None and service.host_id == host_id and not service.deleted_at:
            found[service_id] = service
    return found


def _note(service: Service, told: Sequence[dict[str, Any]]) -> None:
    lease = adapters().services.lease(service.id)
    at_work = lease is not None and lease.deadline > now()
    ails = service.status == "failed"
    quiet = at_work or _has_just_changed(service) or service.status == "stopped"
    for event in told:
        line = _line(event, quiet=quiet, ails=ails)
        if line is not None and not _is_old_news(service.id, line):
            adapters().services.note(service.id, line)
    if not at_work:
        _have_looked_at(service)


def _line(event: dict[str, Any], *, quiet: bool, ails: bool) -> Event | None:
    """The event as a line of the timeline; None for what a job did, which tells of it itself.

    That a container of a service that `ails` started says little: it is told once the service runs again.
    """
    name, code = event["container"], event.get("exit_code")
    kind: Literal["lifecycle", "health"] = "health"
    match event["type"]:
        case "oom":
            status, message = "unhealthy", f"{name} used more memory than its limit"
        case "health_status" if event.get("health") == "unhealthy":
            status, message = "unhealthy", f"{name}'s own health check fails"
        case "health_status" if event.get("health") == "healthy" and not quiet:
            status, message = "healthy", f"{name}'s own health check passes"
        case "die" if not (quiet and code in _STOPPED):
            status = "stopped" if code == 0 else "unhealthy"
            message = f"{name} exited with code {code}"
        case "start" if not (quiet or ails):
            kind, status, message = "lifecycle", "running", f"{name} started"
        case _:
            return None
    return Event(
        id="evt_" + hashlib.sha256(str(event["id"]).encode()).hexdigest()[:16],
        type=kind,
        status=status,
        message=message,
        timestamp=_time_of(event),
    )


def _time_of(event: dict[str, Any]) -> str:
    """When it happened by the host's clock, in the timeline's format; now, where that clock is ahead."""
    return min(timestamp(parse_time(event["at"])), now())


def _is_old_news(service_id: str, line: Event) -> bool:
    """By when it happened: a host that could not tell for a while tells all at once."""
    moment = parse_time(line.timestamp)
    told = adapters().services.newest_events(service_id, _RECENT)
    away = [abs(parse_time(event.timestamp) - moment) for event in told if event.message == line.message]
    often = len([apart for apart in away if apart < _REPEATED_WITHIN]) >= _REPEATS
    return often or any(apart < _REPEATED_AFTER for apart in away) or line.id in {event.id for event in told}


def _has_just_changed(service: Service) -> bool:
    return time.time() - parse_time(service.updated_at).timestamp() < _SETTLING_SECONDS


def _have_looked_at(service: Service) -> None:
    """Have its status and health judged anew; what follows at once is seen by that look, or by the next minute's."""
    moment = time.monotonic()
    if moment - _looked.get(service.id, -_LOOK_SECONDS) < _LOOK_SECONDS:
        return
    if len(_looked) > 10_000:  # noqa: PLR2004  a process need not remember all
        _looked.clear()
    _looked[service.id] = moment
    adapters().host_calls.tell("reconcile", host_id=service.host_id, service_ids=[service.id])

"""Holding what is wanted against what the hosts run: statuses that are no longer true, and things nobody owns.

Each minute, one call a host, which tells of the host too. A service that a job holds is left to the job. Orphans are
only listed; they are removed when an admin asks for it.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from chalicelib.commands import kit
from chalicelib.deploy.calls import check_host, seen_on
from chalicelib.domain.errors import Changed, Conflict
from chalicelib.domain.panel import Host
from chalicelib.domain.reach import EDGE, is_not_reached, may_be_over, problem_since, with_problem
from chalicelib.domain.reconciling import corrected
from chalicelib.domain.service import Event, Service, Status
from chalicelib.domain.words import new_id, now
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.hosts")


def look(host_id: str, service_ids: list[str]) -> dict[str, Any]:
    """The minute's look at a host: as `reconcile`, and the host's own status put right: `{corrected: […]}`."""
    host = adapters().hosts.get(host_id)
    corrected, problem = _held_against(host_id, service_ids)
    if host.status != "new":  # else its check is still to come
        _judge(host, problem)
    return {"corrected": corrected}


def reconcile(host_id: str, service_ids: list[str]) -> dict[str, Any]:
    """Measure these services of a host and put right every status that its containers belie: `{corrected: […]}`."""
    return {"corrected": _held_against(host_id, service_ids)[0]}


def orphans(host_id: str) -> dict[str, Any]:
    """What the host holds of services that live nowhere: `{orphans: {service id: {kind: […]}}}`."""
    return {"orphans": _orphans(host_id)}


def sweep(host_id: str, service_ids: list[str]) -> dict[str, Any]:
    """Remove what the host holds of these services. Raise `Conflict` if one of them is no orphan."""
    found = _orphans(host_id)
    living = [service_id for service_id in service_ids if service_id not in found]
    if living:
        raise Conflict(f"not orphans on this host: {', '.join(living)}", {"service_ids": living})
    remote = adapters().connected(adapters().hosts.get(host_id))
    left = {}
    for service_id in service_ids:
        answer = remote.kit(kit.remove(service_id, int(time.time() * 1000)), timeout=60)["left"]
        if any(answer.values()):
            left[service_id] = answer
    return {"removed": sorted(set(service_ids) - left.keys()), "left": left}


CALLS: dict[str, Callable[..., dict[str, Any]]] = {
    "look": look,
    "reconcile": reconcile,
    "orphans": orphans,
    "sweep": sweep,
}


def _held_against(host_id: str, service_ids: list[str]) -> tuple[list[str], dict[str, Any] | None]:
    """The services whose status was put right, and what is the matter with the host."""
    # Read before the host is: what changed while it was looked at is not judged by what was seen before.
    before = adapters().services.at_rest(service_ids)
    seen, problem = seen_on(host_id, service_ids, before)
    changed = [
        service.id for service in before.values() if service.id in seen and _put_right(service, *seen[service.id])
    ]
    return sorted(changed), problem


def _judge(host: Host, problem: dict[str, Any] | None) -> None:
    if problem and is_not_reached(problem["check"]):
        _mark(host, problem)
        return
    amiss = problem is not None and host.status == "ready"
    is_back = (problem is None or problem["check"] == EDGE) and may_be_over(host)
    if amiss or is_back:  # it lets us in: what it lacks its check finds, and puts the edge there
        check_host(host.id)


def _mark(host: Host, problem: dict[str, Any]) -> None:
    """Take the host out of placement until a look reaches it."""
    problems = with_problem(host, problem_since(host, problem["check"], problem["message"], now()))
    if problems is None:
        return
    try:
        adapters().hosts.change(host, status="not_ready", problems=problems, updated_at=now())
    except Changed:  # it was checked or moved meanwhile: the next look tells
        return
    log.warning("host %s is not ready: %s", host.name, problem["message"])


def _orphans(host_id: str) -> dict[str, Any]:
    host = adapters().hosts.get(host_id)
    answer = adapters().connected(host).kit(kit.inventory(), timeout=30)
    if answer["installation"] not in (None, adapters().installation.id()):
        raise Conflict(
            f"{host.name} is a host of another installation of Slipway ({answer['installation']}): "
            "what it holds of services that are unknown here may be that one's"
        )
    found = answer["services"]
    # Whichever host it is said to live on: two entries may be one machine, and what is swept takes its volumes along.
    # One that is being torn down lives too: its own job removes it.
    living = adapters().services.find_many(list(found))
    return {service_id: what for service_id, what in sorted(found.items()) if service_id not in living}


def _put_right(service: Service, seen: Status, missing: str) -> bool:
    correction = corrected(service, seen, missing)
    if correction is None:
        return False
    status, why = correction
    try:
        adapters().services.correct(service, status, _event(status, f"The service is {status}: {why}"))
    except Conflict:  # a job began meanwhile
        return False
    return True


def _event(status: Status, message: str) -> Event:
    return Event(id=new_id("evt"), type="health", status=status, message=message, timestamp=now())

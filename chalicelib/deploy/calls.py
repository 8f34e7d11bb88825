"""What the API has done on a host while the caller waits: start, stop, restart, logs, measuring, checking."""

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from chalicelib.commands import kit
from chalicelib.deploy import start
from chalicelib.deploy.agents import ensure_agent
from chalicelib.deploy.rotation import rotate_key
from chalicelib.deploy.work import attempt
from chalicelib.domain.errors import Changed, Conflict, SameMachine, SlipwayError
from chalicelib.domain.job import Job
from chalicelib.domain.observing import (
    NOTHING,
    Container,
    Expected,
    all_done,
    any_runs,
    is_back_for_a_moment,
    lost,
    missing,
    observation,
    status_seen,
    unreachable,
)
from chalicelib.domain.panel import Host, machine_of
from chalicelib.domain.reach import EDGE, OTHER_INSTALLATION, is_the_hosts, problem_since
from chalicelib.domain.service import Event, Observation, Release, Service, Status
from chalicelib.domain.words import now, parse_time
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.ssh import RemoteHost

# A start or restart is answered when its containers run, or with what is seen after this long.
_SETTLE_SECONDS = 10
# Walking volumes is the dear part of measuring, so it is done this seldom.
_STORAGE_SECONDS = 60
_CPU_WINDOW_MS = 200
_NO_FORWARDING = "sshd refuses TCP forwarding, by which health is checked; set AllowTcpForwarding yes"
_ACTION: dict[str, Literal["start", "stop", "restart"]] = {"start": "start", "stop": "stop", "restart": "restart"}
_PAST = {"start": "started", "stop": "stopped", "restart": "restarted"}


def lifecycle(job_id: str) -> dict[str, Any]:
    """Carry out a start, stop or restart job; what the host then shows: `{status, message}`."""
    with attempt("Lifecycle", job_id, "") as work:
        if work is None:
            job = adapters().jobs.get(job_id)
            service = adapters().services.get(job.service_id)
            return {"status": service.status, "message": job.message}
        job, service = work.job, work.service
        expected = NOTHING if job.kind == "stop" else work.release.containers
        try:
            seen = work.ask(
                kit.lifecycle(service.id, job.fence, _ACTION[job.kind], release=service.release), timeout=80
            )
            made_volumes = seen.get("made_volumes", [])
            if job.kind != "stop":
                seen = _settled(lambda: work.ask(kit.observe([service.id]))["services"][service.id], seen, expected)
        except SlipwayError as error:
            message = work.redactor.clean(error.message)
            ended = start.ended_job(job, "failed", message, {"code": error.code, "message": message, "details": None})
            event = work.event("lifecycle", "failed", f"{job.kind.capitalize()} failed: {message}{_because(job)}")
            # Until the host itself is well, the next minute tries again what a customer's return began.
            suspended = service.suspended and (job.kind == "stop" or is_the_hosts(error.code))
            adapters().services.finish(service, ended, (event,), suspended=suspended)
            raise
        status = status_seen(seen["containers"], expected)
        if job.kind != "stop" and all_done(seen["containers"], expected):
            status = "running"  # it ran, and ended as it was meant to
        if job.kind == "stop" and not any_runs(seen["containers"]):
            status = "stopped"  # however what was stopped had ended before
        asked_for = "stopped" if job.kind == "stop" else "running"
        message = f"Service {_PAST[job.kind]}{_because(job)}"
        if status != asked_for:
            gone = missing(seen["containers"], expected)
            message = f"The host shows it {status} after the {job.kind}{_because(job)}{f': {gone}' if gone else ''}"
        moment = now()
        before = adapters().services.observations([(service.host_id, service.id)]).get(service.id)
        adapters().services.observe(service.host_id, {service.id: observation(seen, moment, before, expected)})
        events = [work.event("lifecycle", "warning", lost(made_volumes))] if made_volumes else []
        events.append(work.event("lifecycle", status, message))
        ended = start.ended_job(job, "succeeded", message)
        suspended = service.suspended and job.kind == "stop"
        adapters().services.finish(service, ended, tuple(events), status=status, suspended=suspended)
        return {"status": status, "message": message}


def logs(service_id: str, tail: int, since: str | None) -> dict[str, Any]:
    """The last lines of a service's containers, stopped ones too."""
    service = adapters().services.get(service_id)
    remote = adapters().connected(adapters().hosts.get(service.host_id))
    answer: dict[str, Any] = remote.kit(kit.logs(service_id, tail=tail, since=since), timeout=20)
    return answer


def measure(host_id: str, service_ids: list[str]) -> dict[str, Any]:
    """Measure services of one host and keep what was seen."""
    seen_on(host_id, service_ids, adapters().services.at_rest(service_ids))
    return {"measured": sorted(service_ids)}


def seen_on(
    host_id: str, service_ids: list[str], at_rest: dict[str, Service]
) -> tuple[dict[str, tuple[Status, str]], dict[str, Any] | None]:
    """Measure and keep what was seen; by id the status that the containers amount to, and which of them are missing.

    Of those not `at_rest` a job may be taking away what the release left, so nothing is missed. Beside it what is the
    matter with the host, which may not have been asked at all: `{check, message}`.
    """
    problem = None
    services = list(adapters().services.find_many(service_ids).values())
    releases = adapters().services.running_releases(services)
    before = adapters().services.observations([(host_id, service.id) for service in services])
    moment = now()
    try:
        answer = _looked_at(host_id, services, releases, before)
    except SlipwayError as error:
        statuses: dict[str, tuple[Status, str]] = {}
        problem = _problem(error.code, error.message)
        found = {
            service.id: unreachable(moment, before.get(service.id), f"the host could not be asked: {error.message}")
            for service in services
        }
    else:
        if not answer["edge_serves"]:  # a check puts it right, or says why not
            problem = _problem(EDGE, "its edge does not run, or is another installation's")
        seen = answer["services"]
        expected = {service.id: _expected(at_rest.get(service.id), releases.get(service.id)) for service in services}
        statuses = {
            name: (status_seen(seen[name]["containers"], wanted), missing(seen[name]["containers"], wanted))
            for name, wanted in expected.items()
            # A service whose every container was meant to end, and did, is as it should be. Of one that crashed a
            # moment ago and is up again nobody knows yet.
            if not all_done(seen[name]["containers"], wanted) and not is_back_for_a_moment(seen[name]["containers"])
        }
        found = {name: observation(seen[name], moment, before.get(name), wanted) for name, wanted in expected.items()}
        found = _without_those_that_a_job_took(at_rest, before, found)
    adapters().services.observe(host_id, found)
    _note_changes([service for service in services if service.id in found], before, found)
    return statuses, problem


def _looked_at(
    host_id: str, services: list[Service], releases: dict[str, Release], before: dict[str, Observation]
) -> dict[str, Any]:
    """What the host's containers are and use, whether they answer, and whether its edge serves."""
    remote = adapters().connected(adapters().hosts.get(host_id))
    asked = kit.observe(
        [service.id for service in services],
        installation=adapters().installation.id(),
        window_ms=_CPU_WINDOW_MS,
        storage=any(_storage_is_old(before.get(service.id)) for service in services),
        probe={service.id: probe for service in services if (probe := _probe(service, releases.get(service.id)))},
    )
    return dict(remote.kit(asked, timeout=15))


def _without_those_that_a_job_took(
    at_rest: dict[str, Service], before: dict[str, Observation], found: dict[str, Observation]
) -> dict[str, Observation]:
    """Of what is newly unhealthy, only what no job took while it was looked at: a job tells of itself."""
    ailing = [name for name, seen in found.items() if name in at_rest and seen.health == "unhealthy"]
    newly = [name for name in ailing if name not in before or before[name].health != "unhealthy"]
    still = adapters().services.at_rest(newly) if newly else {}
    taken = {name for name in newly if name not in still or still[name].version != at_rest[name].version}
    return {name: seen for name, seen in found.items() if name not in taken}


def _expected(service: Service | None, release: Release | None) -> Expected:
    """What a service that nobody stopped and no job holds was left with by its release."""
    if service is None or release is None or service.status not in ("running", "failed"):
        return NOTHING
    if service.release != release.number:  # a job ended in between
        return NOTHING
    return release.containers


def prepare_host(host_id: str, private_key: str | None, scan: list[Any] | None) -> dict[str, Any]:
    """A key pair for a host that is being registered, sealed, and the key it shows where that is to be trusted."""
    # The API does without paramiko; this function has it.
    from chalicelib.ssh import generate_key, public_of, scan_host_key  # noqa: PLC0415

    private, public = (private_key, public_of(private_key)) if private_key else generate_key()
    return {
        "public_key": public,
        "sealed_private_key": adapters().sealer.seal(private.encode(), host_id).hex(),
        "host_key": scan_host_key(str(scan[0]), int(scan[1])) if scan else None,
    }


def scan_host(address: str, port: int) -> dict[str, Any]:
    """The key that a host shows there, where that is to be trusted."""
    from chalicelib.ssh import scan_host_key  # noqa: PLC0415

    return {"host_key": scan_host_key(address, port)}


def check_host(host_id: str) -> dict[str, Any]:
    """Look whether a host can take services, put the kit and the edge there, and keep what was found.

    Raise `Conflict` if it was moved meanwhile: what was found is of another place.
    """
    host = adapters().hosts.get(host_id)
    try:
        remote = adapters().connected(host)
        facts = _facts(remote, timeout=30)
    except SlipwayError as error:
        return _checked(host, [problem_since(host, error.code, error.message, now())], host.facts)
    problems = list(facts.pop("problems"))
    if any(problem["check"] == OTHER_INSTALLATION for problem in problems):
        return _checked(host, problems, {}, machine=None)  # what it has is the other's to promise
    machine = machine_of(facts)
    if machine not in (None, host.machine):
        # Before anything is put there: another agent in the place of its own would silence the host that it is.
        try:
            _keep(host, machine=machine)
        except SameMachine as error:  # what it has is the other's to promise
            return _checked(host, [_problem("same_machine", error.message)], {}, machine=None)
    try:
        if not remote.forwarding_allowed():
            problems.append(_problem("tcp_forwarding", _NO_FORWARDING))
        if not problems:
            _put_edge(remote)
            if adapters().settings.public_url:
                facts["agent"] = ensure_agent(host, remote)
    except SlipwayError as error:
        problems.append(_problem(error.code, error.message))
    return _checked(host, problems, facts)


def leave_host(host_id: str) -> dict[str, Any]:
    """Take what we put on a host away, but for the kit. Raise `Conflict` where another machine answers in its place."""
    host = adapters().hosts.get(host_id)
    remote = adapters().connected(host)
    if machine_of(_facts(remote, timeout=10)) != host.machine:
        raise Conflict(f"{host.name} is no longer the machine that it was when it was checked")
    return dict(remote.kit(kit.leave(installation=adapters().installation.id()), timeout=20))


def look_after_agent(host_id: str) -> dict[str, Any]:
    """See to it that the agent of this host runs: it was not heard of for a while."""
    host = adapters().hosts.get(host_id)
    return {"agent": ensure_agent(host, adapters().connected(host))}


CALLS: dict[str, Callable[..., dict[str, Any]]] = {
    "lifecycle": lifecycle,
    "logs": logs,
    "measure": measure,
    "prepare_host": prepare_host,
    "scan_host": scan_host,
    "check_host": check_host,
    "leave_host": leave_host,
    "rotate_key": rotate_key,
    "ensure_agent": look_after_agent,
}


def _because(job: Job) -> str:
    return f", because {job.because}" if job.because else ""


def _settled(look: Callable[[], dict[str, Any]], seen: dict[str, Any], expected: Expected) -> dict[str, Any]:
    """What is seen once every container runs or is done, or after a while."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not _has_settled(seen["containers"], expected) and time.monotonic() < deadline:
        time.sleep(0.25)
        seen = look()
    return seen


def _has_settled(containers: list[Container], expected: Expected) -> bool:
    return status_seen(containers, expected) == "running" or all_done(containers, expected)


def _storage_is_old(before: Any) -> bool:
    if before is None or before.storage_measured_at is None:
        return True
    return bool(time.time() - parse_time(before.storage_measured_at).timestamp() > _STORAGE_SECONDS)


def _probe(service: Service, release: Release | None) -> kit.Probe | None:
    if release is None or release.route_port is None or release.route_service is None:
        return None
    check = service.health_check
    if check:
        return {"service": release.route_service, "port": check.port, "path": check.path}
    return {"service": release.route_service, "port": release.route_port}


def _note_changes(services: list[Service], before: dict[str, Any], found: dict[str, Any]) -> None:
    """A health that changed is a line of the timeline."""
    for service in services:
        old, new = before.get(service.id), found[service.id]
        if old is None or new.health in (old.health, "starting"):
            continue
        if old.health == "starting" and new.health != "unhealthy":
            continue
        told = {
            "healthy": "Health check passed",
            "stopped": "Its containers are stopped",
            "unknown": f"Its health is not known: {new.health_message}",
        }
        message = told.get(new.health) or f"Health check failed: {new.health_message}"
        # One line however many readers measured at once: the id follows from what was seen.
        seed = f"{service.id}{old.measured_at}{new.health}".encode()
        event = Event(
            id="evt_" + hashlib.sha256(seed).hexdigest()[:16],
            type="health",
            status=new.health,
            message=message,
            timestamp=new.measured_at,
        )
        adapters().services.note(service.id, event)


def _facts(remote: "RemoteHost", timeout: float) -> dict[str, Any]:
    """What the host is, and what it lacks to serve this installation."""
    settings, installation = adapters().settings, adapters().installation.id()
    asked = kit.check(installation=installation, pool=settings.network_pool, min_disk_mb=settings.min_disk_mb)
    return dict(remote.kit(asked, timeout=timeout))


def _put_edge(remote: "RemoteHost") -> None:
    settings = adapters().settings
    remote.kit(
        kit.edge(
            installation=adapters().installation.id(),
            image=settings.edge_image,
            http_port=settings.edge_http_port,
            https_port=settings.edge_https_port or None,
            tls="acme" if settings.edge_tls == "acme" else "off",
            email=settings.acme_email or None,
            pool=settings.network_pool,
        ),
        timeout=55,
    )


def _checked(host: Host, problems: list[dict[str, Any]], facts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Keep what a check found, and answer its verdict."""
    status: Literal["ready", "not_ready"] = "not_ready" if problems else "ready"
    known = {name: value for name, value in facts.items() if isinstance(value, (str, int))}
    _keep(
        host,
        status=status,
        problems=tuple(problems),
        facts=known,
        check_due=False,
        checked_at=now(),
        updated_at=now(),
        **more,
    )
    return {"status": status}


def _keep(host: Host, **found: Any) -> None:
    """What was found of a host, unless it is elsewhere by now."""
    for _ in range(3):
        present = adapters().hosts.get(host.id)
        if not present.is_where(host):
            raise Conflict("the host's address, user or host key was changed while it was checked; check it again")
        try:
            adapters().hosts.change(present, **found)
        except Changed:  # another check of the same host ended in between
            continue
        return
    raise Conflict("this host is being checked by others all the time")


def _problem(check: str, message: str) -> dict[str, Any]:
    return {"check": check, "message": message}

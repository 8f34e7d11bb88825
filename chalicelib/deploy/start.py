"""Beginning jobs: a new service, a further release, a removal, a start or stop.

Everything a job needs is stored in one transaction before the workflow is told. If telling it fails, the job waits, and
the reaper tells it again: an answer of 201 is a promise that is kept.
"""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.deploy import drafting
from chalicelib.deploy.placing import hold_to_limits, naming_the_limit, room_for
from chalicelib.domain.errors import Conflict, NoRoom, OverLimit, Unavailable, ValidationFailed
from chalicelib.domain.job import Job, Kind
from chalicelib.domain.panel import Caller
from chalicelib.domain.service import (
    Event,
    NetworkPlan,
    Published,
    Release,
    Service,
)
from chalicelib.domain.words import finding, new_id, now, timestamp
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.jobs")

LIFECYCLE_SECONDS = 300
# What makes a release of a repository; a rollback has one that was made.
_FETCHES: tuple[Kind, ...] = ("deploy", "update", "redeploy", "plan")
JOB_KEPT_DAYS = 30


def create(drafted: drafting.Draft, caller: Caller) -> tuple[Service, Job]:
    """Store a service with its first job, and start it. A host that filled up or went is given up for another."""
    return _create(drafted, "deploy", caller)


def plan(drafted: drafting.Draft, caller: Caller) -> Job:
    """Have a repository fetched and planned, and nothing deployed.

    It is done for a service that is being removed from the start: no read shows it, and it goes whatever becomes of the
    job.
    """
    hidden = drafted.service.model_copy(update={"deleted_at": now()})
    return _create(replace(drafted, service=hidden), "plan", caller)[1]


def _create(drafted: drafting.Draft, kind: Kind, caller: Caller) -> tuple[Service, Job]:
    sealed = {
        "sealed_variables": drafting.sealed_variables(drafted.service.id, drafted.source.variables),
        "sealed_credentials": drafting.sealed_credentials(drafted.service.id, drafted.source.credentials),
    }
    while True:
        service = drafted.service.model_copy(update=sealed)
        reason = drafted.place.reason if drafted.place else ""
        job = _job(service, kind, caller, release=1, previous_status="failed", placement=reason)
        try:
            adapters().services.add(
                service,
                _release(drafted, job, 1),
                drafting.sealed_source(drafted.source, service.id),
                job,
                event_of("deploy", "started", f"Deploying from {origin(service)}", job),
                room_for(service.host_id, service.customer_id),
            )
        except NoRoom:  # each turn finds the counters higher, and ends when no host fits
            drafted = drafting.placed(drafted)
            continue
        except OverLimit:  # the same: it ends by naming the limit, unless something was given back meanwhile
            hold_to_limits(adapters().customers.get(service.customer_id), drafted.need, 1)
            continue
        _tell(job)
        return service, job


def update(drafted: drafting.Draft, caller: Caller, *, same_sources: bool = False) -> Job:
    """Run a changed release. The service shows the change once it runs; if it fails, nothing changed.

    With the same sources a repository's commit stays the one that runs: whoever changes a variable wants no new code.
    """
    service = drafted.service
    running = adapters().services.release(service.id, service.release) if same_sources and service.release else None
    commit = running.commit if running else None
    return _begin_release(drafted, "update", caller, f"Updating from {origin(service)}", commit=commit)


def redeploy(service: Service, caller: Caller, *once: dict[str, Any]) -> Job:
    """Run the service again, with the newest images of its tags, or its branch's newest commit.

    `once` are writes that are to be made with the job's beginning, or not at all.
    """
    drafted = drafting.draft_change(service, drafting.Change())
    message = f"Redeploying from {origin(service)}"
    return _begin_release(drafted, "redeploy", caller, message, once=once, pull_always=True)


def roll_back(service: Service, number: int | None, caller: Caller) -> Job:
    """Run a kept release again: the same images, the same variables; volumes stay as they are.

    Without a number it is the good one before the one that runs. Raise `ValidationFailed` if it is not kept.
    """
    panel = adapters()
    kept = [release.number for release in panel.services.releases(service.id) if release.state == "good"]
    earlier = [release for release in kept if release < service.release]
    wanted = number if number is not None else next(iter(earlier), None)
    if wanted not in kept:
        what = f"release {number}" if number is not None else "an earlier release"
        message = f"{what} is not kept; kept are {', '.join(map(str, kept)) or 'none'}"
        raise ValidationFailed(message, [finding("release", "not-kept", message)])
    promised = drafting.larger(service.promised, drafting.amount_of(panel.services.release(service.id, wanted)))
    hold_to_limits(panel.customers.get(service.customer_id), promised.minus(service.promised), 0)
    job = _job(service, "rollback", caller, release=wanted)
    with naming_the_limit(service.customer_id, promised.minus(service.promised)):
        panel.services.begin(
            service,
            job,
            (event_of("deploy", "started", f"Rolling back to release {wanted}", job),),
            room=room_for(service.host_id, service.customer_id),
            promised=promised,
            status="deploying",
        )
    _tell(job)
    return job


def _begin_release(
    drafted: drafting.Draft,
    kind: Kind,
    caller: Caller,
    message: str,
    once: tuple[dict[str, Any], ...] = (),
    **fields: Any,
) -> Job:
    service, number = drafted.service, drafted.service.last_release + 1
    promised = drafting.larger(service.promised, drafted.need)
    job = _job(service, kind, caller, release=number, **fields)
    with naming_the_limit(service.customer_id, promised.minus(service.promised)):
        adapters().services.begin(
            service,
            job,
            (event_of("deploy", "started", message, job),),
            (_release(drafted, job, number), drafting.sealed_source(drafted.source, service.id)),
            room=room_for(service.host_id, service.customer_id),
            once=once,
            promised=promised,
            status="deploying",
            last_release=number,
        )
    _tell(job)
    return job


def remove(service: Service, caller: Caller) -> Job:
    """Take the service out of every read at once; its job tears it down until the host proves it clean."""
    job = _job(service, "delete", caller, seconds=adapters().settings.remove_deadline_seconds)
    adapters().services.begin(service, job, deleted_at=service.deleted_at or now())
    _tell(job)
    return job


def begin_lifecycle(service: Service, kind: Kind, caller: Caller, *, suspended: bool = False, because: str = "") -> Job:
    """A job for a start, stop or restart, which `host_call` carries out."""
    adapters().services.refuse_if_busy(service.id)
    if not service.release:
        raise Conflict("no release of this service ever ran, so there is nothing to start or stop; deploy it first")
    job = _job(service, kind, caller, release=service.release, seconds=LIFECYCLE_SECONDS, because=because)
    adapters().services.begin(service, job, suspended=suspended)
    return job


def ended_job(
    job: Job, status: str, message: str, error: dict[str, Any] | None = None, *, open_steps: str = "succeeded"
) -> Job:
    """The job as it is once it is over: open steps closed, kept for 30 days."""
    moment = now()
    steps = {
        name: step.model_copy(update={"status": open_steps, "ended_at": moment}) if step.status == "running" else step
        for name, step in job.steps.items()
    }
    return job.model_copy(
        update={
            "status": status,
            "steps": steps,
            "message": message,
            "error": error,
            "ended_at": moment,
            "started_at": job.started_at or moment,
            "expires": int(time.time()) + JOB_KEPT_DAYS * 86400,
            "version": job.version + 1,
        }
    )


def _job(service: Service, kind: Kind, caller: Caller, *, seconds: int | None = None, **fields: Any) -> Job:
    panel = adapters()
    moment = datetime.now(UTC)
    deadline = moment + timedelta(seconds=seconds or panel.settings.deploy_deadline_seconds)
    return Job(
        id=new_id("job"),
        service_id=service.id,
        service_name=service.name,
        customer_id=service.customer_id,
        host_id=service.host_id,
        kind=kind,
        previous_release=service.release,
        from_repository=service.repository is not None and kind in _FETCHES,
        repairs=service.deploy_method == "ai" and kind in _FETCHES and kind != "plan",
        fence=panel.services.next_fence(service.id, int(moment.timestamp() * 1000)),
        requested_by=caller.token_id,
        request_id=caller.request_id,
        created_at=timestamp(moment),
        deadline=timestamp(deadline),
        **{"previous_status": service.status, **fields},
    )


def _release(drafted: drafting.Draft, job: Job, number: int) -> Release:
    plan = drafted.plan
    return Release(
        service_id=drafted.service.id,
        number=number,
        name=drafted.name,
        state="pending",
        job_id=job.id,
        images=plan.images,
        route_service=plan.routed.service if plan.routed else None,
        route_port=plan.routed.port if plan.routed else None,
        published=tuple(Published(ip=port.ip, port=port.port, protocol=port.protocol) for port in plan.published),
        networks=tuple(
            NetworkPlan(name=network.name, edge=network.edge, internal=network.internal) for network in plan.networks
        ),
        cpu_millis=plan.cpu_millis,
        memory_mb=plan.memory_mb,
        kind=job.kind,
        changed=drafted.changed,
        variables=tuple(sorted(drafted.source.variables)),
        created_at=now(),
    )


def origin(service: Service) -> str:
    """What it is deployed from, in words."""
    if service.repository:
        branch = f", branch {service.repository.branch}" if service.repository.branch else ""
        return f"{service.repository.url}{branch}"
    return f"template {service.template}" if service.template else "a compose file"


def event_of(kind: str, status: str, message: str, job: Job) -> Event:
    return Event.model_validate(
        {"id": new_id("evt"), "type": kind, "status": status, "message": message, "timestamp": now(), "job_id": job.id}
    )


def _tell(job: Job) -> None:
    try:
        adapters().workflow.start(job)
    except Unavailable as error:
        # The job is stored: the reaper starts it within a minute. Refusing now would leave a service nobody asked for.
        log.warning("job %s waits for the reaper: %s", job.id, error.message)

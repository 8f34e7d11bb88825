"""Beginning jobs: a new service, a further release, a removal, a start or stop; and ending those nobody else will end.

Everything a job needs is stored in one transaction before the workflow is told. If telling it fails, the job waits, and
the reaper tells it again: an answer of 201 is a promise that is kept.
"""

import json
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.domain.errors import Conflict, LeaseLost, NotFound, Unavailable, ValidationFailed
from chalicelib.domain.job import REAPER_GRACE_SECONDS, Job, Kind
from chalicelib.domain.panel import Caller, Host
from chalicelib.domain.redaction import looks_secret
from chalicelib.domain.service import DeployMethod, Event, HealthCheck, NetworkPlan, Published, Release, Service
from chalicelib.domain.template import Template
from chalicelib.domain.words import finding, new_id, now, parse_time, timestamp
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.domain import compose

log = logging.getLogger("slipway.jobs")

LIFECYCLE_SECONDS = 300
# A queued job that the workflow has not begun by then is told to it again.
START_AGAIN_SECONDS = 60
JOB_KEPT_DAYS = 30


@dataclass(frozen=True)
class NewService:
    """What a caller wants deployed; `template` where the compose text came from one."""

    name: str
    customer_id: str
    deploy_method: DeployMethod
    compose: str
    variables: Mapping[str, str]
    secret_names: tuple[str, ...] = ()
    template: Template | None = None
    host_id: str | None = None


def create(wanted: NewService, caller: Caller) -> "tuple[Service, Job, tuple[compose.Finding, ...]]":
    """Store a service with its first job, and start it. Nothing is stored if anything is refused."""
    panel = adapters()
    expose = wanted.template.expose if wanted.template else None
    check = wanted.template.healthcheck if wanted.template else None
    created = now()
    service = Service(
        id=new_id("svc"),
        name=wanted.name,
        status="deploying",
        customer_id=wanted.customer_id,
        host_id=_place(wanted.host_id).id,
        deploy_method=wanted.deploy_method,
        template=wanted.template.id if wanted.template else None,
        compose=wanted.compose,
        sealed_variables=b"",
        secret_names=tuple(sorted({*wanted.secret_names, *filter(looks_secret, wanted.variables)})),
        publishes_ports=caller.role == "admin",
        expose_service=expose.service if expose else None,
        expose_port=expose.port if expose else None,
        health_check=HealthCheck(path=check.path, port=expose.port, timeout_seconds=check.timeout_seconds)
        if check and expose
        else None,
        last_release=1,
        created_at=created,
        updated_at=created,
    )
    plan = _plan(service, wanted.variables, 1)
    _refuse_taken_name(wanted.name)
    service = service.model_copy(
        update={
            "has_url": plan.routed is not None,
            "sealed_variables": panel.sealer.seal(json.dumps(dict(wanted.variables)).encode(), service.id),
        }
    )
    job = _job(service, "deploy", caller, release=1, previous_status="failed")
    panel.services.add(
        service,
        _release(service, plan, job, 1),
        _sealed(plan, service.id),
        job,
        _event("deploy", "started", f"Deploying from {_source(service)}", job),
    )
    _tell(job)
    return service, job, plan.warnings


def redeploy(service: Service, caller: Caller) -> Job:
    """Run the service again, with the newest images of its tags."""
    panel = adapters()
    number = service.last_release + 1
    plan = _plan(service, variables_of(service), number)
    if service.release:
        plan = plan.keeping_unchanged(document_of(service.id, service.release))
    job = _job(service, "redeploy", caller, release=number, pull_always=True)
    panel.services.begin(
        service,
        job,
        (_event("deploy", "started", f"Redeploying from {_source(service)}", job),),
        (_release(service, plan, job, number), _sealed(plan, service.id)),
        status="deploying",
        last_release=number,
        has_url=plan.routed is not None,
    )
    _tell(job)
    return job


def remove(service: Service, caller: Caller) -> Job:
    """Take the service out of every read at once; its job tears it down until the host proves it clean."""
    job = _job(service, "delete", caller, seconds=adapters().settings.remove_deadline_seconds)
    adapters().services.begin(service, job, deleted_at=now())
    _tell(job)
    return job


def begin_lifecycle(service: Service, kind: Kind, caller: Caller) -> Job:
    """A job for a start, stop or restart, which `host_call` carries out."""
    adapters().services.refuse_if_busy(service.id)
    if not service.release:
        raise Conflict("no release of this service ever ran, so there is nothing to start or stop; deploy it first")
    job = _job(service, kind, caller, release=service.release, seconds=LIFECYCLE_SECONDS)
    adapters().services.begin(service, job)
    return job


def variables_of(service: Service) -> dict[str, str]:
    """The service's variables, unsealed."""
    values: dict[str, str] = json.loads(adapters().sealer.unseal(service.sealed_variables, service.id))
    return values


def document_of(service_id: str, number: int) -> dict[str, Any]:
    """The compose document of a release, unsealed."""
    sealed = adapters().services.document(service_id, number)
    document: dict[str, Any] = json.loads(zlib.decompress(adapters().sealer.unseal(sealed, service_id)))
    return document


def resume_unfinished() -> int:
    """Tell the workflow of every job that is not over; how many. For a start after the engine lost its executions."""
    count = 0
    for job in adapters().jobs.unfinished():
        if job.kind in ("start", "stop", "restart"):
            end_for(job, "unavailable", "the control plane was restarted while the host was at work")
        else:
            adapters().workflow.start(job)
        count += 1
    return count


def reap() -> None:
    """End what passed its deadline, and start again what the workflow never began."""
    moment = datetime.now(UTC)
    for job in adapters().jobs.unfinished():
        if parse_time(job.deadline) + timedelta(seconds=REAPER_GRACE_SECONDS) < moment:
            end_for(job, "deadline_passed", "the job passed its deadline without ending by itself")
        elif (
            job.status == "queued"
            and job.kind not in ("start", "stop", "restart")
            and parse_time(job.created_at) + timedelta(seconds=START_AGAIN_SECONDS) < moment
        ):
            adapters().workflow.start(job)


def end_for(job: Job, code: str, message: str) -> None:
    """End a job from outside the workflow; nothing if it ended meanwhile."""
    panel = adapters()
    ended = ended_job(job, "failed", message, {"code": code, "message": message, "details": None}, open_steps="failed")
    service = panel.services.find(job.service_id)
    try:
        if service is None:
            raise NotFound(f"job {job.id} has no service")
        status = service.status if job.kind in ("start", "stop", "restart", "delete") else _left_in(job, service)
        panel.services.finish(service, ended, (_event("deploy", "failed", message, job),), status=status)
    except LeaseLost:
        log.info("job %s ended by itself or lost its lease", job.id)


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


def _left_in(job: Job, service: Service) -> str:
    """What a deploy that was cut off leaves: the last release untouched, or nobody knows."""
    return job.previous_status if service.release and not job.up_began else "failed"


def _plan(service: Service, variables: Mapping[str, str], release: int) -> "compose.Plan":
    # Imported here: most requests read, and a cold start should not pay 20 ms for a policy and a YAML parser.
    from chalicelib.domain import compose  # noqa: PLC0415

    settings = adapters().settings
    return compose.plan(
        service.compose,
        variables,
        service_id=service.id,
        release=release,
        publish_ports=service.publishes_ports,
        defaults=compose.Defaults(
            cpu_millis=settings.default_cpu_millis, memory_mb=settings.default_memory_mb, pids=settings.default_pids
        ),
        expose=(service.expose_service, service.expose_port) if service.expose_port else None,
    )


def _place(host_id: str | None) -> Host:
    """The host asked for, or the ready one with the fewest services."""
    panel = adapters()
    hosts = panel.hosts.all()
    if host_id is not None:
        wanted = next((host for host in hosts if host.id == host_id), None)
        if wanted is None:
            raise ValidationFailed("no such host", [finding("host_id", "unknown", "there is no such host")])
        return wanted
    ready = [host for host in hosts if host.status == "ready"]
    if not ready:
        raise Conflict("no host is ready; add one with POST /api/hosts, or check one again")
    if len(ready) == 1:
        return ready[0]
    load = dict.fromkeys((host.id for host in ready), 0)
    for row in panel.services.rows():
        if row["host_id"] in load:
            load[row["host_id"]] += 1
    return min(ready, key=lambda host: (load[host.id], host.id))


def _refuse_taken_name(name: str) -> None:
    """Before sealing and storing; the transaction decides, this only answers sooner."""
    if adapters().services.id_of_name(name):
        raise Conflict(f"a service named {name} exists already")


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
        fence=panel.services.next_fence(service.id, int(moment.timestamp() * 1000)),
        requested_by=caller.token_id,
        created_at=timestamp(moment),
        deadline=timestamp(deadline),
        **{"previous_status": service.status, **fields},
    )


def _release(service: Service, plan: "compose.Plan", job: Job, number: int) -> Release:
    return Release(
        service_id=service.id,
        number=number,
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
        created_at=now(),
    )


def _sealed(plan: "compose.Plan", service_id: str) -> bytes:
    return adapters().sealer.seal(zlib.compress(json.dumps(plan.document).encode()), service_id)


def _source(service: Service) -> str:
    return f"template {service.template}" if service.template else "a compose file"


def _event(kind: str, status: str, message: str, job: Job) -> Event:
    return Event.model_validate(
        {"id": new_id("evt"), "type": kind, "status": status, "message": message, "timestamp": now(), "job_id": job.id}
    )


def _tell(job: Job) -> None:
    try:
        adapters().workflow.start(job)
    except Unavailable as error:
        # The job is stored: the reaper starts it within a minute. Refusing now would leave a service nobody asked for.
        log.warning("job %s waits for the reaper: %s", job.id, error.message)

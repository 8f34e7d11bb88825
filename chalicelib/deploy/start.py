"""Beginning jobs: a new service, a further release, a removal, a start or stop; and ending those nobody else will end.

Everything a job needs is stored in one transaction before the workflow is told. If telling it fails, the job waits, and
the reaper tells it again: an answer of 201 is a promise that is kept.
"""

import json
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.deploy.placing import Place, Wish, find_place, hold_to_limits, room_for
from chalicelib.domain.errors import Conflict, LeaseLost, NoRoom, NotFound, Unavailable, ValidationFailed
from chalicelib.domain.job import REAPER_GRACE_SECONDS, Job, Kind
from chalicelib.domain.panel import Caller
from chalicelib.domain.placement import Amount
from chalicelib.domain.redaction import looks_secret
from chalicelib.domain.service import (
    DeployMethod,
    Event,
    HealthCheck,
    Limits,
    NetworkPlan,
    Published,
    Release,
    Service,
    Source,
)
from chalicelib.domain.template import Called, Template
from chalicelib.domain.words import finding, new_id, now, parse_time, timestamp
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.domain import compose

log = logging.getLogger("slipway.jobs")

LIFECYCLE_SECONDS = 300
# A queued job that the workflow has not begun by then is told to it again.
START_AGAIN_SECONDS = 60
JOB_KEPT_DAYS = 30
# Who acts when nobody asked.
_SLIPWAY = Caller(token_id="slipway", role="admin", customer_id=None)  # noqa: S106  # a name, not a secret


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
    wish: Wish = field(default_factory=Wish)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Change:
    """What a caller wants otherwise; None leaves it, and a variable set to None is taken away."""

    name: str | None = None
    compose: str | None = None
    variables: Mapping[str, str | None] | None = None
    secret_names: tuple[str, ...] = ()
    limits: Limits | None = None


@dataclass(frozen=True)
class Draft:
    """A release as it would be, before anything is stored."""

    service: Service
    plan: "compose.Plan"
    source: Source
    name: str
    wish: Wish = field(default_factory=Wish)
    place: Place | None = None

    @property
    def need(self) -> Amount:
        """What it is promised of its host."""
        disk = adapters().settings.default_disk_mb
        return Amount(cpu_millis=self.plan.cpu_millis, memory_mb=self.plan.memory_mb, disk_mb=disk)

    @property
    def warnings(self) -> "tuple[compose.Finding, ...]":
        return self.plan.warnings


def draft(wanted: NewService, caller: Caller) -> Draft:
    """The first release of a new service. Raise what refuses it; nothing is stored."""
    expose = wanted.template.expose if wanted.template else None
    check = wanted.template.healthcheck if wanted.template else None
    created = now()
    service = Service(
        id=new_id("svc"),
        name=wanted.name,
        status="deploying",
        customer_id=wanted.customer_id,
        host_id="",
        deploy_method=wanted.deploy_method,
        template=wanted.template.id if wanted.template else None,
        compose=wanted.compose,
        sealed_variables=b"",
        secret_names=_secret_names(wanted.secret_names, wanted.variables),
        limits=wanted.limits,
        publishes_ports=caller.role == "admin",
        expose_service=expose.service if expose else None,
        expose_port=expose.port if expose else None,
        health_check=HealthCheck(path=check.path, port=check.port or expose.port, timeout_seconds=check.timeout_seconds)
        if check and expose
        else None,
        last_release=1,
        created_at=created,
        updated_at=created,
    )
    source = Source(
        compose=wanted.compose,
        variables=dict(wanted.variables),
        secret_names=service.secret_names,
        limits=wanted.limits,
        document={},
    )
    drafted = replace(_drafted(service, wanted.name, source, 1), wish=wanted.wish)
    _refuse_taken_name(wanted.name)
    hold_to_limits(adapters().customers.get(wanted.customer_id), drafted.need, 1)
    return _placed(drafted)


def create(drafted: Draft, caller: Caller) -> tuple[Service, Job]:
    """Store a service with its first job, and start it. A host that filled up meanwhile is given up for another."""
    sealed = sealed_variables(drafted.service.id, drafted.source.variables)
    while True:
        service = drafted.service.model_copy(update={"sealed_variables": sealed})
        reason = drafted.place.reason if drafted.place else ""
        job = _job(service, "deploy", caller, release=1, previous_status="failed", placement=reason)
        try:
            adapters().services.add(
                service,
                _release(drafted, job, 1),
                _sealed(drafted.source, service.id),
                job,
                _event("deploy", "started", f"Deploying from {origin(service)}", job),
                room_for(service.host_id, service.customer_id),
            )
        except NoRoom:  # each turn finds the counters higher, and ends when no host fits
            drafted = _placed(drafted)
            continue
        _tell(job)
        return service, job


def _placed(drafted: Draft) -> Draft:
    place = find_place(drafted.need, drafted.wish)
    placed = {"host_id": place.host_id, "promised": drafted.need, "has_url": drafted.plan.routed is not None}
    return replace(drafted, place=place, service=drafted.service.model_copy(update=placed))


def draft_change(service: Service, change: Change) -> Draft:
    """The release that a change would make. Raise what refuses it; nothing is stored."""
    if change.compose is not None and service.template:
        message = "its text comes from a template; change its variables, or deploy a service of your own text"
        raise ValidationFailed(message, [finding("compose", "from-template", message)])
    variables = _changed_variables(service, change.variables or {}, change.name or service.name)
    if change.name and change.name != service.name:
        _refuse_taken_name(change.name)
    source = Source(
        compose=change.compose if change.compose is not None else service.compose,
        variables=variables,
        secret_names=_secret_names((*service.secret_names, *change.secret_names), variables),
        limits=change.limits or service.limits,
        document={},
    )
    drafted = _drafted(service, change.name or service.name, source, service.last_release + 1)
    _refuse_below_use(drafted)
    more = _larger(service.promised, drafted.need).minus(service.promised)
    hold_to_limits(adapters().customers.get(service.customer_id), more, 0)
    return drafted


def update(drafted: Draft, caller: Caller) -> Job:
    """Run a changed release. The service shows the change once it runs; if it fails, nothing changed."""
    return _begin_release(drafted, "update", caller, f"Updating from {origin(drafted.service)}")


def redeploy(service: Service, caller: Caller) -> Job:
    """Run the service again, with the newest images of its tags."""
    drafted = draft_change(service, Change())
    return _begin_release(drafted, "redeploy", caller, f"Redeploying from {origin(service)}", pull_always=True)


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
    promised = _larger(service.promised, amount_of(panel.services.release(service.id, wanted)))
    hold_to_limits(panel.customers.get(service.customer_id), promised.minus(service.promised), 0)
    job = _job(service, "rollback", caller, release=wanted)
    panel.services.begin(
        service,
        job,
        (_event("deploy", "started", f"Rolling back to release {wanted}", job),),
        room=room_for(service.host_id, service.customer_id),
        promised=promised,
        status="deploying",
    )
    _tell(job)
    return job


def _begin_release(drafted: Draft, kind: Kind, caller: Caller, message: str, **fields: Any) -> Job:
    service, number = drafted.service, drafted.service.last_release + 1
    promised = _larger(service.promised, drafted.need)
    job = _job(service, kind, caller, release=number, **fields)
    adapters().services.begin(
        service,
        job,
        (_event("deploy", "started", message, job),),
        (_release(drafted, job, number), _sealed(drafted.source, service.id)),
        room=room_for(service.host_id, service.customer_id),
        promised=promised,
        status="deploying",
        last_release=number,
    )
    _tell(job)
    return job


def _refuse_below_use(drafted: Draft) -> None:
    """A limit below what it uses now would have it killed at once."""
    service, limit = drafted.service, drafted.plan.memory_mb
    seen = adapters().services.observations([(service.host_id, service.id)]).get(service.id)
    if limit < service.promised.memory_mb and seen and (seen.memory_usage_mb or 0) > limit:
        message = f"the service uses {seen.memory_usage_mb} MB of memory now, which {limit} MB would not hold"
        raise ValidationFailed(message, [finding("limits.memory_mb", "below-use", message)])


def _larger(one: Amount, other: Amount) -> Amount:
    """Room for both, as long as it is not known which will run."""
    return Amount(
        cpu_millis=max(one.cpu_millis, other.cpu_millis),
        memory_mb=max(one.memory_mb, other.memory_mb),
        disk_mb=max(one.disk_mb, other.disk_mb),
    )


def amount_of(release: Release) -> Amount:
    """What a release is promised of its host."""
    disk = adapters().settings.default_disk_mb
    return Amount(cpu_millis=release.cpu_millis, memory_mb=release.memory_mb, disk_mb=disk)


def _drafted(service: Service, name: str, source: Source, number: int) -> Draft:
    plan = _plan(service, source, number)
    if service.release:
        plan = plan.keeping_unchanged(source_of(service.id, service.release).document)
    return Draft(service, plan, source.model_copy(update={"document": plan.document}), name)


def _secret_names(given: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({*given, *filter(looks_secret, variables)}))


def _changed_variables(service: Service, changes: Mapping[str, str | None], name: str) -> dict[str, str]:
    stored = variables_of(service)
    template = _template_of(service) if changes or name != service.name else None
    if template:
        stored = template.chosen(stored, called(service.name))
    values = {variable: value for variable, value in {**stored, **changes}.items() if value is not None}
    return template.values(values, called(name)) if template else values


def _template_of(service: Service) -> Template | None:
    """The template as it is now; None if it was removed: the service has its text."""
    try:
        return adapters().templates.get(service.template) if service.template else None
    except NotFound:
        return None


def called(name: str) -> Called:
    """How a service of this name is called by its template's text."""
    settings = adapters().settings
    return Called(name=name, host_name=settings.host_name_of(name), url=settings.url_of(name))


def remove(service: Service, caller: Caller) -> Job:
    """Take the service out of every read at once; its job tears it down until the host proves it clean."""
    job = _job(service, "delete", caller, seconds=adapters().settings.remove_deadline_seconds)
    adapters().services.begin(service, job, deleted_at=service.deleted_at or now())
    _tell(job)
    return job


def go_on_removing() -> None:
    """Begin again every removal whose job ended without the host being proved clean: it is not given up."""
    panel = adapters()
    for removal in panel.services.removals():
        service = panel.services.find(removal["service_id"])
        try:
            if service is not None and (not _exists(removal["job_id"]) or panel.jobs.get(removal["job_id"]).is_over):
                remove(service, _SLIPWAY)
        except Conflict as error:
            log.info("no removal of service %s yet: %s", removal["service_id"], error.message)


def forget_removals(host_id: str) -> None:
    """Give up what a lost host still holds: an admin's decision, since nothing proves it clean."""
    panel = adapters()
    for removal in panel.services.removals():
        service = panel.services.find(removal["service_id"])
        if removal["host_id"] == host_id and service is not None:
            job = panel.jobs.get(removal["job_id"])
            if not job.is_over:
                panel.jobs.close(ended_job(job, "failed", "its host was removed; what it holds was given up"))
            panel.services.purge(service, job, given_up=True)


def _exists(job_id: str) -> bool:
    try:
        adapters().jobs.get(job_id)
    except NotFound:
        return False
    return True


def begin_lifecycle(service: Service, kind: Kind, caller: Caller, *, suspended: bool = False) -> Job:
    """A job for a start, stop or restart, which `host_call` carries out."""
    adapters().services.refuse_if_busy(service.id)
    if not service.release:
        raise Conflict("no release of this service ever ran, so there is nothing to start or stop; deploy it first")
    job = _job(service, kind, caller, release=service.release, seconds=LIFECYCLE_SECONDS)
    adapters().services.begin(service, job, suspended=suspended)
    return job


def enforce_suspensions() -> None:
    """Stop what runs for suspended customers, and start again what was stopped so when they return.

    Asked for when a customer changes, and each minute for what was busy or unreachable then.
    """
    panel = adapters()
    suspended = {customer.id for customer in panel.customers.all() if customer.status == "suspended"}
    for row in panel.services.rows():
        if row["customer_id"] in suspended and row["status"] == "running":
            _suspend(row["id"], "stop", suspended=True)
        elif row["customer_id"] not in suspended and row["suspended"]:
            _suspend(row["id"], "start", suspended=False)


def _suspend(service_id: str, kind: Kind, *, suspended: bool) -> None:
    try:
        service = adapters().services.get(service_id)
        job = begin_lifecycle(service, kind, _SLIPWAY, suspended=suspended)
    except (Conflict, NotFound) as error:  # busy, or gone: the next minute looks again
        log.info("no %s of service %s yet: %s", kind, service_id, error.message)
        return
    adapters().host_calls.tell("lifecycle", job_id=job.id)


def variables_of(service: Service) -> dict[str, str]:
    """The service's variables, unsealed."""
    values: dict[str, str] = json.loads(adapters().sealer.unseal(service.sealed_variables, service.id))
    return values


def source_of(service_id: str, number: int) -> Source:
    """What a release was made of, unsealed."""
    sealed = adapters().services.source(service_id, number)
    return Source.model_validate_json(zlib.decompress(adapters().sealer.unseal(sealed, service_id)))


def sealed_variables(service_id: str, variables: Mapping[str, str]) -> bytes:
    return adapters().sealer.seal(json.dumps(dict(variables)).encode(), service_id)


def resume_unfinished() -> int:
    """Tell the workflow of every job that is not over; how many. For a start after the engine lost its executions."""
    count = 0
    for job in adapters().jobs.unfinished():
        if job.kind in ("start", "stop", "restart"):
            end_for(job, "unavailable", "the control plane was restarted while the host was at work")
        else:
            adapters().workflow.start(adapters().jobs.change(job, resumed=job.resumed + 1))
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


def look_at_every_host() -> None:
    """Have each host with services held against what is wanted of it, without waiting for any."""
    by_host: dict[str, list[str]] = {}
    for row in adapters().services.rows():
        by_host.setdefault(row["host_id"], []).append(row["id"])
    for host_id, service_ids in by_host.items():
        adapters().host_calls.tell("reconcile", host_id=host_id, service_ids=sorted(service_ids))


def end_for(job: Job, code: str, message: str) -> None:
    """End a job from outside the workflow; nothing if it ended meanwhile."""
    panel = adapters()
    ended = ended_job(job, "failed", message, {"code": code, "message": message, "details": None}, open_steps="failed")
    service = panel.services.find(job.service_id)
    if service is None:  # it was purged, and this entry outlived a crash
        panel.jobs.close(ended)
        return
    try:
        status = service.status if job.kind in ("start", "stop", "restart", "delete") else _left_in(job, service)
        panel.services.finish(service, ended, (_event("deploy", "failed", message, job),), status=status)
    except LeaseLost:
        log.info("job %s ended by itself or lost its lease", job.id)
    panel.slots.give_back(job.host_id, job.id)


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


def _plan(service: Service, source: Source, release: int) -> "compose.Plan":
    # Imported here: most requests read, and a cold start should not pay 20 ms for a policy and a YAML parser.
    from chalicelib.domain import compose  # noqa: PLC0415

    settings = adapters().settings
    return compose.plan(
        source.compose,
        source.variables,
        service_id=service.id,
        release=release,
        publish_ports=service.publishes_ports,
        defaults=compose.Defaults(
            cpu_millis=source.limits.cpu_millis or settings.default_cpu_millis,
            memory_mb=source.limits.memory_mb or settings.default_memory_mb,
            pids=settings.default_pids,
        ),
        expose=(service.expose_service, service.expose_port) if service.expose_port else None,
    )


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


def _release(drafted: Draft, job: Job, number: int) -> Release:
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
        created_at=now(),
    )


def _sealed(source: Source, service_id: str) -> bytes:
    return adapters().sealer.seal(zlib.compress(source.model_dump_json().encode()), service_id)


def origin(service: Service) -> str:
    """What it is deployed from, in words."""
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

"""/services: create, list, show, start, stop, restart, redeploy, delete, logs and timeline."""

import json
import time
from collections.abc import Sequence
from difflib import unified_diff
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from chalicelib.api import views
from chalicelib.api.auth import must_see
from chalicelib.api.contract import ASKS_HOST, Says
from chalicelib.api.http import Answer, Request, Routes, TrueOrFalse, WireIn
from chalicelib.api.versions import etag
from chalicelib.deploy import drafting, start, upkeep
from chalicelib.deploy.placing import Wish
from chalicelib.domain.errors import (
    Conflict,
    HostTimeout,
    NotFound,
    SlipwayError,
    Unavailable,
    UpgradeRequired,
    ValidationFailed,
)
from chalicelib.domain.job import Kind
from chalicelib.domain.listing import Row, narrowed
from chalicelib.domain.observing import unreachable
from chalicelib.domain.panel import Caller, Customer
from chalicelib.domain.redaction import Redactor, looks_secret, secret_values
from chalicelib.domain.service import Event, Limits, Observation, Release, Service
from chalicelib.domain.template import Template
from chalicelib.domain.words import DnsLabel, Time, finding, now, parse_time
from chalicelib.wiring import adapters

routes = Routes(__name__)

HIDDEN = "********"
# A service that is read alone is measured then, unless that was done this recently.
_FRESH_SECONDS = 5
# A list never waits for a host: it shows what was last measured and has older figures measured behind it.
_LIST_FRESH_SECONDS = 15
_asked: dict[str, float] = {}

_DEPLOYING = Says(views.ServiceDeploying, ("X-Job-Id",))
# What a start, stop or restart answers.
_LIFECYCLE = {200: Says(views.ServiceSeen, ("X-Job-Id",)), 202: Says(views.ServicePending, ("X-Job-Id",))}

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, Field(max_length=32_768)]


Id = Annotated[str, Field(min_length=1, max_length=100)]


class WantedLimits(WireIn):
    """A container's limits where its author gave none."""

    cpu: float | None = Field(None, gt=0, le=256)
    memory_mb: int | None = Field(None, ge=6, le=4_194_304)  # Docker takes no less than 6 MB

    def to_limits(self) -> Limits:
        return Limits(cpu_millis=round(self.cpu * 1000) if self.cpu else None, memory_mb=self.memory_mb)


class CreateService(WireIn):
    name: DnsLabel
    customer_id: Id
    deploy_method: Literal["template", "compose", "git", "ai"]
    template_id: Id | None = None
    compose: str | None = None
    git_url: str | None = None
    git_branch: str | None = None
    ai_url: str | None = None
    variables: dict[VariableName, VariableValue] = Field(default_factory=dict, max_length=500)
    secret_variables: list[VariableName] = Field(default_factory=list, max_length=500)
    host_id: Id | None = None
    host_labels: dict[str, str] = Field(default_factory=dict, max_length=50)
    limits: WantedLimits | None = None

    @model_validator(mode="after")
    def _method_has_its_source(self) -> "CreateService":
        needs = {"template": "template_id", "compose": "compose", "git": "git_url", "ai": "ai_url"}
        source = needs[self.deploy_method]
        if not getattr(self, source):
            raise ValueError(f"{source} is required when deploy_method is {self.deploy_method}")
        allowed = {source, "git_branch"} if self.deploy_method == "git" else {source}
        for field in ("template_id", "compose", "git_url", "git_branch", "ai_url"):
            if getattr(self, field) is not None and field not in allowed:
                raise ValueError(f"{field} does not go with deploy_method {self.deploy_method}")
        return self


class ChangeService(WireIn):
    """Variables are merged: a value sets one, null takes it away."""

    name: DnsLabel | None = None
    compose: str | None = None
    variables: dict[VariableName, VariableValue | None] | None = Field(None, max_length=500)
    secret_variables: list[VariableName] = Field(default_factory=list, max_length=500)
    limits: WantedLimits | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> "ChangeService":
        if not self.model_fields_set & {"name", "compose", "variables", "limits"}:
            raise ValueError("nothing to change: give name, compose, variables or limits")
        return self


class DryRun(WireIn):
    dry_run: TrueOrFalse = False


class RollBack(WireIn):
    release: int | None = Field(default=None, ge=1)


class ListServices(WireIn):
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)
    status: Literal["running", "stopped", "deploying", "failed"] | None = None
    customer_id: Id | None = None
    sort: Literal["name", "status", "created_at", "updated_at"] = "created_at"
    order: Literal["asc", "desc"] | None = None
    search: str | None = Field(None, max_length=200)


class ListEvents(WireIn):
    page: int = Field(1, ge=1, le=100_000)
    per_page: int = Field(20, ge=1, le=100)


class ReadLogs(WireIn):
    tail: int = Field(100, ge=0, le=5000)
    since: Time | None = None
    follow: TrueOrFalse = False


@routes.on("GET", "/services", query=ListServices, answers={200: views.ServicePage})
def list_services(request: Request) -> views.ServicePage:
    """One page of the services that the caller may see, and how many there are in all."""
    wanted = request.parameters(ListServices)
    order = wanted.order or ("asc" if wanted.sort == "name" else "desc")
    rows = adapters().services.listing().by(wanted.sort, descending=order == "desc")
    if not request.caller.sees_all:
        rows = [row for row in rows if request.caller.may_see(row["customer_id"])]
    rows = narrowed(rows, wanted.search, customer_id=wanted.customer_id, status=wanted.status)
    page = rows[(wanted.page - 1) * wanted.per_page : wanted.page * wanted.per_page]
    seen = adapters().services.recent_observations([(row["host_id"], row["id"]) for row in page])
    _have_measured(page, seen)
    return views.ServicePage(
        data=[_row_view(row, seen.get(row["id"])) for row in page],
        total=len(rows),
        page=wanted.page,
        per_page=wanted.per_page,
    )


@routes.on(
    "POST",
    "/services",
    role="deployer",
    body=CreateService,
    query=DryRun,
    answers={200: views.Plan, 201: Says(views.ServiceCreated, ("Location", "X-Job-Id", "ETag"))},
)
def create_service(request: Request) -> Answer:
    """Deploy a new service. `?dry_run=true` shows the plan and stores nothing."""
    wanted = request.body(CreateService)
    dry = request.parameters(DryRun).dry_run
    customer = _customer(wanted.customer_id, request.caller)
    if wanted.deploy_method in ("git", "ai"):
        raise ValidationFailed(
            f"deploy_method {wanted.deploy_method} is not available yet",
            [finding("deploy_method", "not-available", "use template or compose; git and ai are not available yet")],
        )
    template = _template(wanted.template_id) if wanted.template_id else None
    if template:
        compose, variables = template.compose, template.values(wanted.variables, drafting.called(wanted.name))
    else:
        compose, variables = wanted.compose or "", wanted.variables
    drafted = drafting.draft(
        drafting.NewService(
            name=wanted.name,
            customer_id=customer.id,
            deploy_method=wanted.deploy_method,
            compose=compose,
            variables=variables,
            secret_names=(*(template.secret_names if template else ()), *wanted.secret_variables),
            template=template,
            wish=Wish(wanted.host_id, wanted.host_labels),
            limits=wanted.limits.to_limits() if wanted.limits else Limits(),
        ),
        request.caller,
    )
    if dry:
        return Answer(_plan_view(drafted))
    service, job = start.create(drafted, request.caller)
    body = views.ServiceCreated(
        id=service.id,
        name=service.name,
        status=service.status,
        url=_url(service.name, has_url=service.has_url),
        deploy_job_id=job.id,
        warnings=_warnings(drafted),
    )
    headers = {"Location": f"/api/services/{service.id}", "X-Job-Id": job.id, **etag(service.version)}
    return Answer(body, 201, headers)


@routes.on("GET", "/services/{service_id}", answers={200: Says(views.Service, ("ETag",))})
def get_service(request: Request, service_id: str) -> Answer:
    """One service, measured now or up to 5 s before."""
    service = _service(service_id, request.caller)
    service, seen = _observed(service)
    return Answer(_view(service, seen), headers=etag(service.version))


@routes.on(
    "POST",
    "/services/{service_id}/start",
    role="deployer",
    conditional=True,
    answers=_LIFECYCLE,
    raises=ASKS_HOST,
)
def start_service(request: Request, service_id: str) -> Answer:
    """Start its containers; the answer is what the host showed then."""
    return _lifecycle(request, service_id, "start")


@routes.on(
    "POST",
    "/services/{service_id}/stop",
    role="deployer",
    conditional=True,
    answers=_LIFECYCLE,
    raises=ASKS_HOST,
)
def stop_service(request: Request, service_id: str) -> Answer:
    """Stop its containers; the answer is what the host showed then."""
    return _lifecycle(request, service_id, "stop")


@routes.on(
    "POST",
    "/services/{service_id}/restart",
    role="deployer",
    conditional=True,
    answers=_LIFECYCLE,
    raises=ASKS_HOST,
)
def restart_service(request: Request, service_id: str) -> Answer:
    """Restart its containers; the answer is what the host showed then."""
    return _lifecycle(request, service_id, "restart")


@routes.on("POST", "/services/{service_id}/redeploy", role="deployer", conditional=True, answers={200: _DEPLOYING})
def redeploy_service(request: Request, service_id: str) -> Answer:
    """Run it again, as a further release with the newest images of its tags."""
    service = _service_to_change(service_id, request)
    _customer(service.customer_id, request.caller)
    adapters().services.refuse_if_busy(service_id)
    job = start.redeploy(service, request.caller)
    body = views.ServiceDeploying(id=service.id, status="deploying", deploy_job_id=job.id)
    return Answer(body, 200, {"X-Job-Id": job.id})


@routes.on(
    "PATCH",
    "/services/{service_id}",
    role="deployer",
    body=ChangeService,
    query=DryRun,
    conditional=True,
    # A dry run has no job and no new version.
    answers={200: Says(views.ServiceChanging, ("X-Job-Id", "ETag"), instead=views.Plan)},
)
def change_service(request: Request, service_id: str) -> Answer:
    """Run the service changed, as a further release. `?dry_run=true` shows the plan and touches nothing."""
    service = _service_to_change(service_id, request)
    wanted = request.body(ChangeService)
    dry = request.parameters(DryRun).dry_run
    _customer(service.customer_id, request.caller)
    drafted = drafting.draft_change(
        service,
        drafting.Change(
            name=wanted.name,
            compose=wanted.compose,
            variables=wanted.variables,
            secret_names=tuple(wanted.secret_variables),
            limits=wanted.limits.to_limits() if wanted.limits else None,
        ),
    )
    if dry:
        return Answer(_plan_view(drafted))
    adapters().services.refuse_if_busy(service_id)
    job = start.update(drafted, request.caller)
    body = views.ServiceChanging(id=service.id, status="deploying", deploy_job_id=job.id, warnings=_warnings(drafted))
    return Answer(body, 200, {"X-Job-Id": job.id, **etag(service.version + 1)})  # what beginning the job left


@routes.on(
    "POST",
    "/services/{service_id}/rollback",
    role="deployer",
    body=RollBack,
    body_is_required=False,
    conditional=True,
    answers={200: _DEPLOYING},
)
def roll_back_service(request: Request, service_id: str) -> Answer:
    """Run a kept release again; without a number, the good one before the one that runs."""
    service = _service_to_change(service_id, request)
    wanted = request.body(RollBack) if request.raw_body else RollBack()
    _customer(service.customer_id, request.caller)
    adapters().services.refuse_if_busy(service_id)
    job = start.roll_back(service, wanted.release, request.caller)
    body = views.ServiceDeploying(id=service.id, status="deploying", deploy_job_id=job.id)
    return Answer(body, 200, {"X-Job-Id": job.id})


@routes.on("GET", "/services/{service_id}/releases", query=ListEvents, answers={200: views.ReleasePage})
def list_releases(request: Request, service_id: str) -> views.ReleasePage:
    """The kept releases, newest first."""
    service = _service(service_id, request.caller)
    wanted = request.parameters(ListEvents)
    releases = adapters().services.releases(service.id)
    first = (wanted.page - 1) * wanted.per_page
    data = [_release_view(release, service) for release in releases[first : first + wanted.per_page]]
    return views.ReleasePage(data=data, total=len(releases), page=wanted.page, per_page=wanted.per_page)


@routes.on(
    "DELETE",
    "/services/{service_id}",
    role="deployer",
    conditional=True,
    answers={204: Says(None, ("X-Job-Id",))},
)
def delete_service(request: Request, service_id: str) -> Answer:
    """Delete it. It is gone from every read at once; a job takes it off its host."""
    service = _service_to_change(service_id, request)
    adapters().services.refuse_if_busy(service_id)
    job = start.remove(service, request.caller)
    return Answer(None, 204, {"X-Job-Id": job.id})


@routes.on(
    "GET",
    "/services/{service_id}/logs",
    query=ReadLogs,
    answers={200: views.Logs},
    raises=(UpgradeRequired, *ASKS_HOST),
)
def read_logs(request: Request, service_id: str) -> views.Logs:
    """The last lines of its containers, stopped ones too."""
    service = _service(service_id, request.caller)
    wanted = request.parameters(ReadLogs)
    if wanted.follow:
        raise UpgradeRequired("live logs come over a WebSocket, which is not available yet; read again with since=")
    answer = adapters().host_calls.ask("logs", service_id=service.id, tail=wanted.tail, since=wanted.since)
    return views.Logs(logs=answer["entries"], truncated=answer["truncated"])


@routes.on("GET", "/services/{service_id}/events", query=ListEvents, answers={200: views.EventPage})
def list_events(request: Request, service_id: str) -> views.EventPage:
    """Its timeline, newest first."""
    service = _service(service_id, request.caller)
    wanted = request.parameters(ListEvents)
    events, total = adapters().services.events(service.id, wanted.page, wanted.per_page)
    data = [_event_view(event) for event in events]
    return views.EventPage(data=data, total=total, page=wanted.page, per_page=wanted.per_page)


def _service(service_id: str, caller: Caller) -> Service:
    service = adapters().services.get(service_id)
    must_see(caller, service.customer_id, "service")
    return service


def _service_to_change(service_id: str, request: Request) -> Service:
    """The service, in the version that the caller wants changed; the write that follows expects this one."""
    service = _service(service_id, request.caller)
    request.must_match(service.version)
    return service


def _customer(customer_id: str, caller: Caller) -> Customer:
    """The customer a service is made for: one that exists, is the caller's to use, and is active."""
    unknown = ValidationFailed("no such customer", [finding("customer_id", "unknown", "there is no such customer")])
    if not caller.may_see(customer_id):
        raise unknown
    try:
        customer = adapters().customers.get(customer_id)
    except NotFound:
        raise unknown from None
    if customer.status == "suspended":
        raise Conflict("this customer is suspended, so nothing can be deployed for it")
    return customer


def _template(template_id: str) -> Template:
    try:
        return adapters().templates.get(template_id)
    except NotFound:
        raise ValidationFailed(
            "no such template", [finding("template_id", "unknown", "there is no such template; see GET /api/templates")]
        ) from None


def _lifecycle(request: Request, service_id: str, kind: Kind) -> Answer:
    service = _service_to_change(service_id, request)
    if kind != "stop":
        _customer(service.customer_id, request.caller)
    job = start.begin_lifecycle(service, kind, request.caller)
    headers = {"X-Job-Id": job.id}
    try:
        seen = adapters().host_calls.ask("lifecycle", job_id=job.id)
    except HostTimeout:
        message = "The host is still at work; the job tells how it ends"
        pending = views.ServicePending(id=service.id, status=service.status, message=message, deploy_job_id=job.id)
        return Answer(pending, 202, headers)
    except Unavailable as error:
        upkeep.end_for(adapters().jobs.get(job.id), error.code, error.message)
        raise
    return Answer(views.ServiceSeen(id=service.id, status=seen["status"], message=seen["message"]), 200, headers)


def _observed(service: Service) -> tuple[Service, Observation | None]:
    """What the host shows of the service now, or showed a moment ago; its status is put right by it."""
    pair = [(service.host_id, service.id)]
    seen = adapters().services.observations(pair, consistent=False).get(service.id)
    never_ran = seen is None and service.status == "deploying"
    if never_ran or (seen and _age(seen) < _FRESH_SECONDS and _is_whole(seen, service)):
        return service, seen
    try:
        found = adapters().host_calls_quick.ask("reconcile", host_id=service.host_id, service_ids=[service.id])
    except SlipwayError as error:
        # Reading must not fail because a host does: what cannot be seen is unknown, and said to be.
        unseen = unreachable(now(), seen, f"the host could not be asked: {error.message}")
        adapters().services.observe(service.host_id, {service.id: unseen})
        return service, unseen
    if found["corrected"]:
        service = adapters().services.get(service.id)
    return service, adapters().services.observations(pair).get(service.id)


def _is_whole(seen: Observation, service: Service) -> bool:
    """A deploy is in too much of a hurry to measure what takes a while; the first to read has it done."""
    return service.status != "running" or None not in (seen.cpu_usage_millis, seen.storage_mb)


def _have_measured(rows: Sequence[Row], seen: dict[str, Observation]) -> None:
    stale: dict[str, list[str]] = {}
    for row in rows:
        known = seen.get(row["id"])
        if known and _age(known) > _LIST_FRESH_SECONDS:
            stale.setdefault(row["host_id"], []).append(row["id"])
    for host_id, service_ids in stale.items():
        if time.monotonic() - _asked.get(host_id, -_LIST_FRESH_SECONDS) >= _LIST_FRESH_SECONDS:
            _asked[host_id] = time.monotonic()
            adapters().host_calls.tell("measure", host_id=host_id, service_ids=service_ids)


def _age(seen: Observation) -> float:
    return time.time() - parse_time(seen.measured_at).timestamp()


def _url(name: str, *, has_url: bool) -> str | None:
    return adapters().settings.url_of(name) if has_url else None


def _row_view(row: Row, seen: Observation | None) -> views.ServiceRow:
    resources = seen.resources() if seen else {}
    return views.ServiceRow(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        url=_url(row["name"], has_url=row["has_url"]),
        customer_id=row["customer_id"],
        template=row.get("template"),
        deploy_method=row["deploy_method"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        resources=views.RowResources(
            cpu_usage=resources.get("cpu_usage"),
            memory_usage_mb=resources.get("memory_usage_mb"),
            memory_limit_mb=resources.get("memory_limit_mb"),
        ),
    )


def _event_view(event: Event) -> views.Event:
    return views.Event(
        id=event.id,
        type=event.type,
        status=event.status,
        message=event.message,
        timestamp=event.timestamp,
        job_id=event.job_id,
    )


def _release_view(release: Release, service: Service) -> views.Release:
    return views.Release(
        number=release.number,
        state=release.state,
        running=release.number == service.release,
        images=list(release.images),
        digests=list(release.digests),
        job_id=release.job_id,
        created_at=release.created_at,
    )


def _plan_view(drafted: drafting.Draft) -> views.Plan:
    """What would run, and how it differs from what does, without secrets."""
    service, plan, source = drafted.service, drafted.plan, drafted.source
    after = Redactor(secret_values(source.variables, source.secret_names)).clean(plan.document)
    before: dict[str, Any] = {}
    if service.release:
        running = drafting.source_of(service.id, service.release)
        before = Redactor(secret_values(running.variables, running.secret_names)).clean(running.document)
    return views.Plan(
        name=drafted.name,
        url=_url(drafted.name, has_url=plan.routed is not None),
        host_id=service.host_id,
        placement=drafted.place.reason if drafted.place else None,
        compose=after,
        images=list(plan.images),
        published_ports=[
            views.PublishedPort(ip=port.ip, port=port.port, protocol=port.protocol) for port in plan.published
        ],
        limits=views.PlanLimits(cpu=plan.cpu_millis / 1000, memory_mb=plan.memory_mb),
        diff=list(unified_diff(_lines(before), _lines(after), "running", "planned", lineterm="")),
        warnings=_warnings(drafted),
    )


def _warnings(drafted: drafting.Draft) -> list[views.Finding]:
    return [
        views.Finding(path=warning.path, rule=warning.rule, message=warning.message) for warning in drafted.warnings
    ]


def _resources_view(seen: Observation) -> views.Resources:
    found = seen.resources()
    return views.Resources(
        cpu_usage=found["cpu_usage"],
        cpu_limit=found["cpu_limit"],
        memory_usage_mb=found["memory_usage_mb"],
        memory_limit_mb=found["memory_limit_mb"],
        storage_mb=found["storage_mb"],
    )


def _limits_view(limits: Limits) -> views.ServiceLimits:
    cpu = limits.cpu_millis / 1000 if limits.cpu_millis else None
    return views.ServiceLimits(cpu=cpu, memory_mb=limits.memory_mb)


def _lines(document: dict[str, Any]) -> list[str]:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if document else []


def _view(service: Service, seen: Observation | None) -> views.Service:
    variables = drafting.variables_of(service)
    hidden = {name for name in variables if name in service.secret_names or looks_secret(name)}
    return views.Service(
        id=service.id,
        name=service.name,
        status=service.status,
        url=_url(service.name, has_url=service.has_url),
        customer_id=service.customer_id,
        customer_name=adapters().customers.glance(service.customer_id).name,
        host_id=service.host_id,
        template=service.template,
        deploy_method=service.deploy_method,
        compose=service.compose,
        variables={name: HIDDEN if name in hidden else value for name, value in variables.items()},
        custom_domains=list(service.custom_domains),
        release=service.release or None,
        limits=_limits_view(service.limits),
        resources=_resources_view(seen or Observation(measured_at="")),
        health=views.ServiceHealth(
            status=seen.health if seen else "unknown",
            last_check=seen.measured_at if seen else None,
            consecutive_failures=seen.consecutive_failures if seen else 0,
            message=seen.health_message if seen else "",
        ),
        created_at=service.created_at,
        updated_at=service.updated_at,
        deployed_at=service.deployed_at,
    )

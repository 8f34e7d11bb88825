"""What leaves the building: every answer's shape, once, for the views that fill it and the contract that tells it.

A field with a default is one that an answer may lack. Nothing is computed here; each route's module fills its own.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.domain.job import JobStatus, Kind
from chalicelib.domain.panel import Role
from chalicelib.domain.service import DeployMethod, Status
from chalicelib.domain.variable import Type
from chalicelib.domain.words import AnsweredTime as Time


def _open(schema: dict[str, Any]) -> None:
    """A view that says too much is a mistake here; a client that is told more one day shall not break."""
    schema.pop("additionalProperties", None)


class WireOut(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, json_schema_extra=_open)


class Page(WireOut):
    data: list[Any]
    total: int = Field(ge=0)
    page: int = Field(ge=1)
    per_page: int = Field(ge=0)


class Problem(WireOut):
    """`details`: a list of findings for wrong fields, an object where there is more to say, else null."""

    code: str
    message: str
    details: list[Any] | dict[str, Any] | None
    request_id: str


class Error(WireOut):
    """The one shape of every refusal."""

    error: Problem


class Finding(WireOut):
    path: str
    rule: str
    message: str


# Services


class RowResources(WireOut):
    """As last measured; null: not known."""

    cpu_usage: float | None
    memory_usage_mb: int | None
    memory_limit_mb: int | None


class Resources(WireOut):
    """As measured, `cpu_*` in cores; null: not known."""

    cpu_usage: float | None
    cpu_limit: float | None
    memory_usage_mb: int | None
    memory_limit_mb: int | None
    storage_mb: int | None


class ServiceHealth(WireOut):
    status: Literal["healthy", "unhealthy", "starting", "stopped", "unknown"]
    last_check: Time | None
    consecutive_failures: int
    message: str


class ServiceLimits(WireOut):
    """Of each container whose author gave none; null: the installation's."""

    cpu: float | None
    memory_mb: int | None


class ServiceRow(WireOut):
    id: str
    name: str
    status: Status
    url: str | None
    customer_id: str
    template: str | None
    deploy_method: DeployMethod
    created_at: Time
    updated_at: Time
    resources: RowResources


class ServicePage(Page):
    data: list[ServiceRow]


class Service(WireOut):
    """Secrets among `variables` are shown as `********`. `release` is the one that runs."""

    id: str
    name: str
    status: Status
    url: str | None
    customer_id: str
    customer_name: str
    host_id: str
    template: str | None
    deploy_method: DeployMethod
    compose: str
    variables: dict[str, str]
    custom_domains: list[str]
    release: int | None
    limits: ServiceLimits
    resources: Resources
    health: ServiceHealth
    created_at: Time
    updated_at: Time
    deployed_at: Time | None


class ServiceCreated(WireOut):
    id: str
    name: str
    status: Status
    url: str | None
    deploy_job_id: str
    warnings: list[Finding]


class ServiceChanging(WireOut):
    id: str
    status: Status
    deploy_job_id: str
    warnings: list[Finding]


class ServiceDeploying(WireOut):
    id: str
    status: Status
    deploy_job_id: str


class ServiceSeen(WireOut):
    """What the host showed after a start, stop or restart."""

    id: str
    status: Status
    message: str


class ServicePending(WireOut):
    """The host is still at it; the job tells how it ends."""

    id: str
    status: Status
    message: str
    deploy_job_id: str


class PublishedPort(WireOut):
    ip: str
    port: int
    protocol: str


class PlanLimits(WireOut):
    """The sums of all containers' limits."""

    cpu: float
    memory_mb: int


class Plan(WireOut):
    """What would run, secrets redacted, and in `diff` how it differs from what does."""

    name: str
    url: str | None
    host_id: str
    placement: str | None
    compose: dict[str, Any]
    images: list[str]
    published_ports: list[PublishedPort]
    limits: PlanLimits
    diff: list[str]
    warnings: list[Finding]


class Release(WireOut):
    number: int
    state: Literal["pending", "good", "failed"]
    running: bool
    images: list[str]
    digests: list[str]
    job_id: str
    created_at: Time


class ReleasePage(Page):
    data: list[Release]


class LogEntry(WireOut):
    timestamp: Time
    stream: Literal["stdout", "stderr"]
    message: str
    container: str


class Logs(WireOut):
    logs: list[LogEntry]
    truncated: bool


class Event(WireOut):
    id: str
    type: Literal["deploy", "lifecycle", "health", "domain"]
    status: str
    message: str
    timestamp: Time
    job_id: str | None


class EventPage(Page):
    data: list[Event]


# Jobs


class JobStep(WireOut):
    name: str
    status: Literal["running", "succeeded", "failed"]
    started_at: Time
    ended_at: Time | None
    message: str


class JobError(WireOut):
    """`step`: the one that failed, where one did."""

    code: str
    message: str
    details: Any
    step: str | None = None


class Job(WireOut):
    id: str
    service_id: str
    service_name: str
    customer_id: str
    host_id: str
    kind: Kind
    status: JobStatus
    release: int | None
    message: str
    placement: str | None
    error: JobError | None
    steps: list[JobStep]
    cancel_requested: bool
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    deadline: Time


# Hosts


class HostProblem(WireOut):
    check: str
    message: str


class HostCapacity(WireOut):
    """What may be promised of the host, in all."""

    cpu: float
    memory_mb: int
    disk_mb: int


class HostReserved(WireOut):
    """What is promised of the host."""

    cpu: float
    memory_mb: int
    disk_mb: int
    services: int


class Host(WireOut):
    """`facts` are what its last check found; `capacity` is null before the first."""

    id: str
    name: str
    address: str
    port: int
    user: str
    host_key: str
    public_key: str
    status: Literal["new", "ready", "not_ready"]
    labels: dict[str, str]
    draining: bool
    capacity: HostCapacity | None
    reserved: HostReserved
    problems: list[HostProblem]
    facts: dict[str, str | int]
    checked_at: Time | None
    created_at: Time
    updated_at: Time


class HostPage(Page):
    data: list[Host]


class Orphan(WireOut):
    """What a host holds of a service that lives elsewhere or nowhere."""

    service_id: str
    containers: list[str] = []
    volumes: list[str] = []
    networks: list[str] = []
    files: list[str] = []
    routes: list[str] = []


class OrphanPage(Page):
    data: list[Orphan]


class LeftOver(WireOut):
    """What could not be removed."""

    containers: list[str]
    volumes: list[str]
    networks: list[str]
    files: list[str]
    route: bool


class Swept(WireOut):
    removed: list[str]
    left: dict[str, LeftOver]


# Customers and tokens


class CustomerLimits(WireOut):
    """Of all the customer's services together; null: not limited."""

    services: int | None
    cpu: float | None
    memory_mb: int | None


class Customer(WireOut):
    id: str
    name: str
    email: str | None
    status: Literal["active", "suspended"]
    limits: CustomerLimits
    created_at: Time
    updated_at: Time


class CustomerPage(Page):
    data: list[Customer]


class Token(WireOut):
    id: str
    name: str
    role: Role
    customer_id: str | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    requests_per_minute: int | None


class TokenPage(Page):
    data: list[Token]


class NewToken(Token):
    """`token` is what its holder sends. It is in this answer and nowhere else."""

    token: str


# Templates


class TemplateVariable(WireOut):
    """Beside what every variable has: what its type knows."""

    name: str
    label: str
    description: str
    placeholder: str
    type: Type
    required: bool
    default: str | None
    pattern: str | None = None
    min: int | None = None
    max: int | None = None
    options: list[str] = []
    length: int = 0
    charset: Literal["alnum", "hex"] = "alnum"


class TemplateExpose(WireOut):
    service: str
    port: int
    protocol: Literal["http"]


class TemplateHealthCheck(WireOut):
    path: str
    port: int | None
    timeout_seconds: int


class TemplateMinResources(WireOut):
    cpu: float
    memory_mb: int
    storage_mb: int


class TemplateRow(WireOut):
    id: str
    name: str
    description: str
    category: str
    tags: list[str]
    featured: bool
    variables: list[TemplateVariable]
    expose: TemplateExpose | None
    healthcheck: TemplateHealthCheck | None
    min_resources: TemplateMinResources


class TemplatePage(Page):
    data: list[TemplateRow]


class Template(TemplateRow):
    compose: str


# Audit trail and health


class AuditLine(WireOut):
    """`status` null: begun, and how it ended was never told."""

    id: str
    timestamp: Time
    token_id: str
    token_name: str
    role: Role
    method: str
    path: str
    object_id: str | None
    dry_run: bool
    status: int | None
    code: str | None
    job_id: str | None
    replayed: bool
    source_ip: str
    request_id: str


class AuditPage(Page):
    data: list[AuditLine]


class Alive(WireOut):
    status: Literal["ok"]

"""What leaves the building: every answer's shape, once, for the views that fill it and the contract that tells it.

Typed dictionaries, not models: the type checker holds the views to them, a cold start does not pay for 60 classes that
check what we made ourselves, and the tests hold every answer to the contract made of them.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # typing's own cannot be read by pydantic before Python 3.12

from chalicelib.domain.job import JobStatus, Kind
from chalicelib.domain.panel import Role
from chalicelib.domain.service import DeployMethod, Status
from chalicelib.domain.variable import Type
from chalicelib.domain.words import AnsweredTime as Time


class Page(TypedDict):
    total: Annotated[int, Field(ge=0)]
    page: Annotated[int, Field(ge=1)]
    per_page: Annotated[int, Field(ge=1)]


class Problem(TypedDict):
    """`details`: a list of findings for wrong fields, an object where there is more to say, else null."""

    code: str
    message: str
    details: list[Any] | dict[str, Any] | None
    request_id: str


class Error(TypedDict):
    """The one shape of every refusal."""

    error: Problem


class Finding(TypedDict):
    path: str
    rule: str
    message: str


# Services


class RowResources(TypedDict):
    """As last measured; null: not known."""

    cpu_usage: float | None
    memory_usage_mb: int | None
    memory_limit_mb: int | None


class Resources(TypedDict):
    """As measured, `cpu_*` in cores; null: not known."""

    cpu_usage: float | None
    cpu_limit: float | None
    memory_usage_mb: int | None
    memory_limit_mb: int | None
    storage_mb: int | None


class ServiceHealth(TypedDict):
    status: Literal["healthy", "unhealthy", "starting", "stopped", "unknown"]
    last_check: Time | None
    consecutive_failures: int
    message: str


class ServiceLimits(TypedDict):
    """Of each container whose author gave none; null: the installation's."""

    cpu: float | None
    memory_mb: int | None


class ServiceRow(TypedDict):
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


class RepositoryView(TypedDict):
    """Where it is deployed from; whether there are credentials, never which. `commit`: the one asked for."""

    url: str
    branch: str | None
    commit: str | None
    path: str
    submodules: bool
    has_credentials: bool


class Service(TypedDict):
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
    repository: RepositoryView | None
    commit: str | None
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


class ServiceCreated(TypedDict):
    id: str
    name: str
    status: Status
    url: str | None
    deploy_job_id: str
    warnings: list[Finding]


class ServiceChanging(TypedDict):
    id: str
    status: Status
    deploy_job_id: str
    warnings: list[Finding]


class ServiceDeploying(TypedDict):
    id: str
    status: Status
    deploy_job_id: str


class ServiceSeen(TypedDict):
    """What the host showed after a start, stop or restart."""

    id: str
    status: Status
    message: str


class ServicePending(TypedDict):
    """The host is still at it; the job tells how it ends."""

    id: str
    status: Status
    message: str
    deploy_job_id: str


class PublishedPort(TypedDict):
    ip: str
    port: int
    protocol: str


class PlanLimits(TypedDict):
    """The sums of all containers' limits."""

    cpu: float
    memory_mb: int


class Plan(TypedDict):
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


class Planning(TypedDict):
    """A repository is being planned; `deploy_job_id` is the job that will have the plan."""

    name: str
    deploy_job_id: str
    message: str


class WebhookPaths(TypedDict):
    """Where each kind of host sends its pushes to."""

    github: str
    gitlab: str
    gitea: str


class Webhook(TypedDict):
    """`secret` is told once. GitHub and Gitea sign with it; GitLab sends it as its secret token."""

    secret: str
    paths: WebhookPaths


class Pushed(TypedDict):
    """`deploy_job_id`: the job that deploys it, or the one after which another will."""

    deploys: bool
    deploy_job_id: str | None
    message: str


class Release(TypedDict):
    """`kind` is its job's, `changed` what an update changed, `variables` their names.

    A rollback makes none: it runs an earlier one, whose number its job has.
    """

    number: int
    state: Literal["pending", "good", "failed"]
    running: bool
    kind: Kind
    changed: list[str]
    variables: list[str]
    limits: PlanLimits
    images: list[str]
    digests: list[str]
    commit: str | None
    reasons: list[str]
    job_id: str
    created_at: Time


class ReleasePage(Page):
    data: list[Release]


class LogEntry(TypedDict):
    timestamp: Time
    stream: Literal["stdout", "stderr", "system"]
    message: str
    container: str


class LogSource(TypedDict):
    """Where lines come from: the host as it is, or what was kept when a container ended."""

    source: Literal["host", "kept"]
    container: str | None
    ended_at: Time | None
    exit_code: int | None


class Logs(TypedDict):
    logs: list[LogEntry]
    truncated: bool
    sources: list[LogSource]
    note: NotRequired[str]


class JobLogs(TypedDict):
    logs: list[LogEntry]
    truncated: bool


class Followed(TypedDict):
    """An entry that the agent may look for: where a follower starts."""

    number: int
    start: dict[str, Any]
    service_id: NotRequired[str]
    job_id: NotRequired[str]
    job_over: NotRequired[bool]


class PackageTold(TypedDict):
    version: str
    sha256: str


class AgentPackage(PackageTold):
    content: str


class AgentAnswer(TypedDict):
    followers_version: int
    followers: NotRequired[list[Followed]]
    jobs_over: list[str]
    behind: list[list[int]]
    gone: list[int]
    sign_of_life_seconds: int
    pace_ms: int
    stats_seconds: int
    package: PackageTold


class Lane(TypedDict):
    boot: str
    sequence: int


class AgentState(TypedDict):
    lanes: dict[str, Lane]


class Event(TypedDict):
    id: str
    type: Literal["deploy", "lifecycle", "health", "domain"]
    status: str
    message: str
    timestamp: Time
    job_id: str | None


class EventPage(Page):
    data: list[Event]


# Jobs


class JobStep(TypedDict):
    name: str
    status: Literal["running", "succeeded", "failed"]
    started_at: Time
    ended_at: Time | None
    message: str


class JobError(TypedDict):
    """`step`: the one that failed, where one did."""

    code: str
    message: str
    details: Any
    step: NotRequired[str | None]


class JobPlan(TypedDict):
    """How a repository is built and run, by which commit, and what was seen that says so.

    `because` is the failure that the plan is to mend.
    """

    by: Literal["rules", "model"]
    commit: str
    kind: str
    stack: str
    reasons: list[str]
    warnings: list[str]
    port: int | None
    health_path: str | None
    build_command: str | None
    start_command: str | None
    base_images: list[str]
    dockerfile: str | None
    compose: str | None
    because: str


class Job(TypedDict):
    """`plan` is the newest of `plans`, which a job has that deploys from a repository."""

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
    plan: JobPlan | None
    plans: list[JobPlan]
    cancel_requested: bool
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    deadline: Time


# Hosts


class HostProblem(TypedDict):
    """`since` is there where the host is not reached."""

    check: str
    message: str
    since: NotRequired[Time]


class HostCapacity(TypedDict):
    """What may be promised of the host, in all."""

    cpu: float
    memory_mb: int
    disk_mb: int


class HostReserved(TypedDict):
    """What is promised of the host."""

    cpu: float
    memory_mb: int
    disk_mb: int
    services: int


class HostAgent(TypedDict):
    """What pushes logs and figures from there; null where it was given no token, or that was revoked."""

    version: str | None
    last_seen: Time | None
    connected: bool


class Host(TypedDict):
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
    agent: HostAgent | None
    facts: dict[str, str | int]
    checked_at: Time | None
    created_at: Time
    updated_at: Time


class HostPage(Page):
    data: list[Host]


class Orphan(TypedDict):
    """What a host holds of a service that lives nowhere any more."""

    service_id: str
    containers: list[str]
    volumes: list[str]
    networks: list[str]
    files: list[str]
    routes: list[str]


class OrphanPage(Page):
    data: list[Orphan]


class LeftOver(TypedDict):
    """What could not be removed."""

    containers: list[str]
    volumes: list[str]
    networks: list[str]
    files: list[str]
    route: bool


class Swept(TypedDict):
    removed: list[str]
    left: dict[str, LeftOver]


# Customers and tokens


class CustomerLimits(TypedDict):
    """Of all the customer's services together; null: not limited."""

    services: int | None
    cpu: float | None
    memory_mb: int | None


class CustomerUsage(TypedDict):
    """What its services were promised together, and how many they are: what `limits` are held against."""

    services: int
    cpu: float
    memory_mb: int


class Customer(TypedDict):
    id: str
    name: str
    email: str | None
    status: Literal["active", "suspended"]
    limits: CustomerLimits
    usage: CustomerUsage
    created_at: Time
    updated_at: Time


class CustomerPage(Page):
    data: list[Customer]


class Token(TypedDict):
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


class Registry(TypedDict):
    id: str
    customer_id: str
    registry: str
    username: str
    created_at: Time


class RegistryPage(Page):
    data: list[Registry]


# Templates


class TemplateVariable(TypedDict):
    """Beside what every variable has: what its type knows."""

    name: str
    label: str
    description: str
    placeholder: str
    type: Type
    required: bool
    default: str | None
    pattern: NotRequired[str | None]
    min: NotRequired[int | None]
    max: NotRequired[int | None]
    options: NotRequired[list[str]]
    length: NotRequired[int]
    charset: NotRequired[Literal["alnum", "hex"]]


class TemplateExpose(TypedDict):
    service: str
    port: int
    protocol: Literal["http"]


class TemplateHealthCheck(TypedDict):
    path: str
    port: int | None
    timeout_seconds: int


class TemplateMinResources(TypedDict):
    cpu: float
    memory_mb: int
    storage_mb: int


class TemplateRow(TypedDict):
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


class AuditLine(TypedDict):
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


class Alive(TypedDict):
    status: Literal["ok"]

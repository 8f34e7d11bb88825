"""A service: what a customer runs, one compose project on one host."""

from typing import Any, Literal

from chalicelib.domain.git import Build, Credentials, Repository
from chalicelib.domain.job import Kind
from chalicelib.domain.placement import Amount
from chalicelib.domain.words import Noun

Status = Literal["running", "stopped", "deploying", "failed"]
STATUSES: tuple[Status, ...] = ("running", "stopped", "deploying", "failed")
DeployMethod = Literal["template", "compose", "git", "ai"]
LEAST_CPU = 0.01  # cores: Docker gives a container no less


class HealthCheck(Noun):
    """An HTTP request that a healthy release answers with 2xx or 3xx."""

    path: str
    port: int
    timeout_seconds: int = 120


class Limits(Noun):
    """A container's limits where its author gave none; None: the installation's."""

    cpu_millis: int | None = None
    memory_mb: int | None = None


class Service(Noun):
    """What is wanted, and what became of it. `release` is the one that runs; 0 before any did."""

    id: str
    name: str
    status: Status
    customer_id: str
    host_id: str
    deploy_method: DeployMethod
    template: str | None = None
    repository: Repository | None = None
    sealed_credentials: bytes | None = None
    commit: str | None = None  # the one that runs
    known_hosts: str = ""  # the keys that the repository's host showed when it was first deployed from
    compose: str
    sealed_variables: bytes
    secret_names: tuple[str, ...] = ()
    limits: Limits = Limits()
    has_url: bool = False
    custom_domains: tuple[str, ...] = ()
    publishes_ports: bool = False
    promised: Amount = Amount()  # of its host and its customer's limits
    suspended: bool = False  # stopped because its customer is suspended; started again when that ends
    expose_service: str | None = None
    expose_port: int | None = None
    health_check: HealthCheck | None = None
    release: int = 0
    last_release: int = 0
    created_at: str
    updated_at: str
    deployed_at: str | None = None
    deleted_at: str | None = None
    version: int = 1


class Published(Noun):
    ip: str
    port: int
    protocol: str


class NetworkPlan(Noun):
    name: str
    edge: bool = False
    internal: bool = False


class Release(Noun):
    """One thing that was, or is to be, run. Immutable but for `state` and what the host reported of it.

    `name` is the service's from this release on. What it was made of may hold secrets: that is its `Source`, kept
    sealed beside it. One that is deployed from a repository is filled in by its job, once the commit was fetched:
    `built` is then what its images are called, and `made_from` tells whether another would be built the same.
    """

    service_id: str
    number: int
    name: str
    state: Literal["pending", "good", "failed"]
    job_id: str
    images: tuple[str, ...]
    route_service: str | None = None
    route_port: int | None = None
    published: tuple[Published, ...] = ()
    networks: tuple[NetworkPlan, ...] = ()
    cpu_millis: int
    memory_mb: int
    kind: Kind = "deploy"  # of the job that made it
    changed: tuple[str, ...] = ()  # what an update was to change, in words of its request
    variables: tuple[str, ...] = ()  # their names
    image_ids: dict[str, str] = {}
    containers: dict[str, int] = {}  # of each compose service, as it left them running
    digests: tuple[str, ...] = ()
    commit: str | None = None
    known_hosts: str = ""
    built: str = ""
    made_from: str = ""
    reasons: tuple[str, ...] = ()
    health_check: HealthCheck | None = None
    created_at: str

    @property
    def edge_network(self) -> str | None:
        return next((network.name for network in self.networks if network.edge), None)


class Source(Noun):
    """What a release was made of: the author's text, its variables, and the document that they became."""

    compose: str
    variables: dict[str, str]
    secret_names: tuple[str, ...]
    limits: Limits
    document: dict[str, Any]
    repository: Repository | None = None
    credentials: Credentials = Credentials()
    builds: tuple[Build, ...] = ()
    plan: dict[str, Any] | None = None  # how its repository was planned, for whoever must mend it


class Event(Noun):
    """One line of a service's timeline."""

    id: str
    type: Literal["deploy", "lifecycle", "health", "domain"]
    status: str
    message: str
    timestamp: str
    job_id: str | None = None


class Observation(Noun):
    """What was last measured of one service on its host. Numbers are integers: thousandths of a core, MiB."""

    measured_at: str
    cpu_usage_millis: int | None = None
    cpu_limit_millis: int | None = None
    memory_usage_mb: int | None = None
    memory_limit_mb: int | None = None
    storage_mb: int | None = None
    storage_measured_at: str | None = None
    health: Literal["healthy", "unhealthy", "starting", "stopped", "unknown"] = "unknown"
    health_message: str = ""
    consecutive_failures: int = 0

    def resources(self) -> dict[str, Any]:
        """The seed's `resources` object; `null` stands for what could not be known."""
        return {
            "cpu_usage": _cores(self.cpu_usage_millis),
            "cpu_limit": _cores(self.cpu_limit_millis),
            "memory_usage_mb": self.memory_usage_mb,
            "memory_limit_mb": self.memory_limit_mb,
            "storage_mb": self.storage_mb,
        }


def _cores(millis: int | None) -> float | None:
    return None if millis is None else millis / 1000

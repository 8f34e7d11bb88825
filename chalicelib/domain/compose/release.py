"""Whose release a document is, and what Slipway must know of it beside the document: routes, ports, networks."""

from dataclasses import dataclass

DEFAULT_NETWORK = "default"
OUR_PREFIX = "slipway-"
EDGE_NETWORK = f"{OUR_PREFIX}edge"


@dataclass(frozen=True)
class Defaults:
    """Limits for a service whose author gave none."""

    cpu_millis: int = 500
    memory_mb: int = 512
    pids: int = 512


@dataclass(frozen=True)
class PublishedPort:
    """A fixed port of the host that the release takes. `ip` is empty for all addresses."""

    ip: str
    port: int
    protocol: str


@dataclass(frozen=True)
class Routed:
    """What the edge sends requests to."""

    service: str
    port: int


@dataclass(frozen=True)
class Built:
    """An image to build. The paths are the repository's; an argument without a value has its variable's."""

    service: str
    tag: str
    context: str
    dockerfile: str
    target: str
    args: dict[str, str]


@dataclass(frozen=True)
class Largest:
    """The most that any one container may take: thousandths of a core, MiB. A host must have it, whatever the sums."""

    cpu_millis: int
    memory_mb: int


@dataclass(frozen=True)
class Network:
    """A network to make on the host before Compose runs; the edge joins where `edge` is true."""

    name: str
    edge: bool
    internal: bool = False


@dataclass(frozen=True)
class Release:
    """Whose release the document is, and what it may do."""

    service_id: str
    number: int
    publish_ports: bool
    defaults: Defaults
    expose: tuple[str | None, int] | None = None
    built: str | None = None  # the name of the images that are built for it, without a compose service's

    @property
    def labels(self) -> dict[str, str]:
        return {"slipway.service": self.service_id, "slipway.release": str(self.number)}

    def image_of(self, service: str) -> str:
        """What the image is called that is built for a compose service."""
        return f"{self.built}-{service.lower()}"

    def network_name(self, key: str) -> str:
        return self.service_id if key == DEFAULT_NETWORK else f"{self.service_id}-{key}"

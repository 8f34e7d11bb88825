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

    @property
    def labels(self) -> dict[str, str]:
        return {"slipway.service": self.service_id, "slipway.release": str(self.number)}

    def network_name(self, key: str) -> str:
        return self.service_id if key == DEFAULT_NETWORK else f"{self.service_id}-{key}"

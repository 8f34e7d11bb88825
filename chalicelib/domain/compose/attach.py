"""How a project is attached to its host: the routed port, published ports, networks and the names on them."""

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.domain.compose.findings import Verdict
from chalicelib.domain.compose.policy import Project
from chalicelib.domain.compose.ports import HIGHEST_PORT, Port, exposed_ports
from chalicelib.domain.compose.release import (
    DEFAULT_NETWORK,
    EDGE_NETWORK,
    Network,
    PublishedPort,
    Release,
    Routed,
)

_MOST_PUBLISHED = 400


def route(project: Project, release: Release, verdict: Verdict) -> Routed | None:
    if release.expose is None:
        return _first_http(project)
    name, port = release.expose
    if not 1 <= port <= HIGHEST_PORT:
        verdict.refuse("expose.port", "expose", f"choose a port from 1 to {HIGHEST_PORT}")
    if name is None:
        name = _listener(project, port)
    service = project.services.get(name)
    if service is None:
        verdict.refuse("expose.service", "expose", "name a service of the file that has no profiles")
        return None
    if service.get("network_mode"):
        verdict.refuse("expose.service", "expose", "a service with network_mode none cannot be routed to")
    return Routed(name, port)


def _first_http(project: Project) -> Routed | None:
    for key in ("ports", "expose"):
        for name, service in project.services.items():
            listed = service.get(key, [])
            for port in listed if key == "ports" else exposed_ports(listed, ""):
                if port.looks_http and not service.get("network_mode"):
                    return Routed(name, port.target)
    return None


def _listener(project: Project, port: int) -> str:
    """The service that names this port, else the first that names any, else the first."""
    for name, service in project.services.items():
        if any(known.target == port for known in _known_ports(service)):
            return name
    return next(
        (name for name, service in project.services.items() if service.get("ports")), next(iter(project.services), "")
    )


def _known_ports(service: Mapping[str, Any]) -> Iterator[Port]:
    yield from service.get("ports", [])
    yield from exposed_ports(service.get("expose", []), "")


def with_ports(
    name: str, service: dict[str, Any], release: Release, routed: Routed | None, verdict: Verdict
) -> dict[str, Any]:
    """Fixed ports published where that is allowed, every other one exposed, and said."""
    published: list[dict[str, Any]] = []
    exposed = list(service.get("expose", []))
    for port in service.get("ports", []):
        if release.publish_ports and port.published:
            published.append(_long_form(port))
            continue
        exposed.append(str(port.target) if port.protocol == "tcp" else f"{port.target}/{port.protocol}")
        is_routed = port.protocol == "tcp" and Routed(name, port.target) == routed
        verdict.warn(port.path, "port-not-published", _instead(port, is_routed, release.publish_ports))
    once = [entry for index, entry in enumerate(published) if entry not in published[:index]]
    return {"ports": once, "expose": list(dict.fromkeys(exposed))}


def published_ports(services: Mapping[str, Any]) -> tuple[PublishedPort, ...]:
    return tuple(
        PublishedPort(entry.get("host_ip", ""), int(entry["published"]), entry["protocol"])
        for service in services.values()
        for entry in service.get("ports", [])
    )


def replicas(service: Mapping[str, Any]) -> int:
    return int(service.get("deploy", {}).get("replicas", 1))


def _instead(port: Port, is_routed: bool, may_publish: bool) -> str:
    why = "only a fixed host port can be published" if may_publish else "host ports are not published"
    if is_routed:
        return f"{why}; port {port.target} is reached by the service's name on the web"
    return f"{why}; port {port.target} is reached by the project's own services only"


def _long_form(port: Port) -> dict[str, Any]:
    address = {"host_ip": port.ip} if port.ip else {}
    return {
        "mode": "ingress",
        **address,
        "target": port.target,
        "published": str(port.published),
        "protocol": port.protocol,
    }


def check_host_ports(services: Mapping[str, Any], published: tuple[PublishedPort, ...], verdict: Verdict) -> None:
    if len(published) > _MOST_PUBLISHED:
        verdict.refuse("services", "too-many", f"publish at most {_MOST_PUBLISHED} host ports")
        return
    for index, port in enumerate(published):
        if any(_clash(port, other) for other in published[:index]):
            verdict.refuse("services", "port", f"host port {port.port} is published twice; publish it once")
    for name, service in services.items():
        if service.get("ports") and replicas(service) > 1:
            verdict.refuse(f"services.{name}.ports", "replicas", "run one replica, or publish no fixed host port")


def _clash(one: PublishedPort, other: PublishedPort) -> bool:
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    same_address = one.ip == other.ip or one.ip in everywhere or other.ip in everywhere
    return (one.port, one.protocol) == (other.port, other.protocol) and same_address


def with_networks(
    name: str, service: dict[str, Any], release: Release, routed: Routed | None, aliases: tuple[str, ...]
) -> dict[str, Any]:
    if service.get("network_mode"):
        return {}
    own = service.get("networks") or {DEFAULT_NETWORK: {}}
    networks = {key: list(entry.get("aliases", [])) for key, entry in own.items()}
    for known in networks.values():
        known.extend(aliases)
    if routed is not None and routed.service == name:
        edge = DEFAULT_NETWORK if DEFAULT_NETWORK in networks else EDGE_NETWORK
        networks.setdefault(edge, []).append(release.service_id)
    return {
        "networks": {key: {"aliases": list(dict.fromkeys(known))} if known else None for key, known in networks.items()}
    }


def network_aliases(project: Project) -> dict[str, tuple[str, ...]]:
    """Other names a service is called by: its container_name, which is dropped, and the aliases of links."""
    names: dict[str, list[str]] = {name: [] for name in project.services}
    for name, service in project.services.items():
        if "container_name" in service:
            names[name].append(service["container_name"])
        for link in service.get("links", []):
            target, _, alias = link.partition(":")
            if alias and target in names:
                names[target].append(alias)
    return {name: tuple(aliases) for name, aliases in names.items()}


def networks_of(
    project: Project, release: Release, services: dict[str, Any], routed: Routed | None
) -> tuple[Network, ...]:
    used = dict.fromkeys(key for service in services.values() for key in service.get("networks", {}))
    edge = None
    if routed is not None:
        joined = services.get(routed.service, {}).get("networks", {})
        edge = DEFAULT_NETWORK if DEFAULT_NETWORK in joined else EDGE_NETWORK
    return tuple(
        Network(release.network_name(key), key == edge, bool(project.networks.get(key, {}).get("internal")))
        for key in used
    )

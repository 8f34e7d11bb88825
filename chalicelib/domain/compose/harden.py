"""From a judged project to the document that runs: limits, logs, restarts, labels, networks and routing.

The document is written the way `docker compose config` prints it, so that what the host resolves can be held
against it key by key. `no-new-privileges` is not added where the author did not ask: it breaks images that
start as root through sudo, and a container's root gains nothing from it that the other rules do not already bar.
Docker's default seccomp and AppArmor profiles always stay. Volume labels never change between releases, since
Compose would ask whether to recreate, and so empty, a volume whose definition changed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.compose.findings import Verdict
from chalicelib.domain.compose.interpolate import Interpolation
from chalicelib.domain.compose.policy import DEFAULT_NETWORK, EDGE_NETWORK, Project
from chalicelib.domain.compose.ports import Port, exposed_ports

_MEGABYTE = 2**20


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


@dataclass(frozen=True)
class Hardened:
    """The document with what the rest of Slipway must know of it."""

    document: dict[str, Any]
    images: tuple[str, ...]
    routed: Routed | None
    published: tuple[PublishedPort, ...]
    networks: tuple[Network, ...]
    cpu_millis: int
    memory_mb: int


def hardened(project: Project, release: Release, variables: Interpolation, verdict: Verdict) -> Hardened:
    routed = _routed(project, release, verdict)
    finished = {
        name for service in project.services.values() for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }  # fmt: skip
    aliases = _link_aliases(project)
    published: list[PublishedPort] = []
    services = {}
    for name, service in project.services.items():
        done = _limited(name, service, release, verdict)
        done |= {"environment": _environment(name, service, variables)}
        done |= {"restart": _restart(service, once=name in finished)}
        done |= {"logging": service.get("logging") or {}, "labels": service.get("labels", {}) | release.labels}
        done["logging"] = _rotated(done["logging"])
        done |= _ported(name, service, release, routed, published, verdict)
        done |= _connected(name, service, release, routed, aliases.get(name, ()))
        done |= _given_files(service)
        services[name] = _tidied(service, done, project)
    _check_free(services, published, verdict)
    document = _document(project, release, services, variables, verdict)
    return Hardened(
        document=document,
        images=tuple(dict.fromkeys(service["image"] for service in services.values() if "image" in service)),
        routed=routed,
        published=tuple(published),
        networks=_networks(project, release, services, routed),
        cpu_millis=sum(_cpu_millis(service) for service in services.values()),
        memory_mb=sum(_memory_mb(service) for service in services.values()),
    )


def replicas(service: Mapping[str, Any]) -> int:
    return int(service.get("deploy", {}).get("replicas", 1))


# Routing


def _routed(project: Project, release: Release, verdict: Verdict) -> Routed | None:
    if release.expose is None:
        return _first_http(project)
    name, port = release.expose
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


# Ports


def _ported(
    name: str,
    service: dict[str, Any],
    release: Release,
    routed: Routed | None,
    taken: list[PublishedPort],
    verdict: Verdict,
) -> dict[str, Any]:
    ports: list[Port] = service.get("ports", [])
    kept = []
    inside = list(service.get("expose", []))
    for port in ports:
        if release.publish_ports and port.published:
            if (written := _long_form(port)) not in kept:
                kept.append(written)
                taken.append(PublishedPort(port.ip, port.published, port.protocol))
            continue
        inside.append(str(port.target) if port.protocol == "tcp" else f"{port.target}/{port.protocol}")
        is_routed = (
            routed is not None and (routed.service, routed.port) == (name, port.target) and port.protocol == "tcp"
        )
        verdict.warn(port.path, "port-not-published", _instead(port, is_routed, release.publish_ports))
    return {"ports": kept, "expose": list(dict.fromkeys(inside))}


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


def _check_free(services: Mapping[str, Any], published: list[PublishedPort], verdict: Verdict) -> None:
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


# Limits


def _limited(name: str, service: dict[str, Any], release: Release, verdict: Verdict) -> dict[str, Any]:
    """Limits in one place. Two ways of writing one are accepted when they agree, as in Compose."""
    deploy = service.get("deploy", {})
    limits = dict(deploy.get("resources", {}).get("limits", {}))
    reservations = dict(deploy.get("resources", {}).get("reservations", {}))
    count = dict(deploy)
    path = f"services.{name}"
    for key, place, other in _SAID_TWICE:
        _agree(
            service, key, {"limits": limits, "reservations": reservations, "deploy": count}[place], other, path, verdict
        )
    default = release.defaults
    filled: dict[str, Any] = {
        "cpus": default.cpu_millis / 1000,
        "memory": str(default.memory_mb * _MEGABYTE),
        "pids": default.pids,
    } | limits  # fmt: skip
    resources: dict[str, Any] = {"limits": filled}
    if reservations:
        resources["reservations"] = {"memory": str(min(int(reservations["memory"]), int(filled["memory"])))}
    shown = {"replicas": count["replicas"]} if count.get("replicas", 1) != 1 else {}
    return {"deploy": shown | {"resources": resources}}


_SAID_TWICE = (
    ("cpus", "limits", "cpus"),
    ("mem_limit", "limits", "memory"),
    ("pids_limit", "limits", "pids"),
    ("mem_reservation", "reservations", "memory"),
    ("scale", "deploy", "replicas"),
)


def _agree(service: dict[str, Any], key: str, place: dict[str, Any], other: str, path: str, verdict: Verdict) -> None:
    if key not in service:
        return
    if place.get(other, service[key]) != service[key]:
        verdict.refuse(f"{path}.{key}", "resource-limit", "the same is said under deploy, with another value; keep one")
    place[other] = service[key]


def _cpu_millis(service: Mapping[str, Any]) -> int:
    limit: float = service["deploy"]["resources"]["limits"]["cpus"]
    return round(limit * 1000) * replicas(service)


def _memory_mb(service: Mapping[str, Any]) -> int:
    limit = int(service["deploy"]["resources"]["limits"]["memory"])
    return -(-limit // _MEGABYTE) * replicas(service)


# One service


def _environment(name: str, service: dict[str, Any], variables: Interpolation) -> dict[str, str]:
    """A name without a value takes the variable's; one that has none is left out, as Compose does when it runs."""
    resolved = {}
    for key, written in service.get("environment", {}).items():
        value = variables.value(key, f"services.{name}.environment.{key[:80]}") if written is None else written
        if value is not None:
            resolved[key] = value
    return resolved


def _restart(service: dict[str, Any], *, once: bool) -> str:
    """What another service waits to see finished would never be, if it were started again."""
    if "restart" in service:
        return str(service["restart"])
    policy = service.get("deploy", {}).get("restart_policy", {})
    if policy.get("condition") == "none":
        return "no"
    if policy.get("condition") == "on-failure":
        times = policy.get("max_attempts")
        return f"on-failure:{times}" if times else "on-failure"
    return "no" if once else "unless-stopped"


def _rotated(logging: dict[str, Any]) -> dict[str, Any]:
    options = {"max-size": "10m", "max-file": "3"} | logging.get("options", {})
    return {"driver": logging.get("driver", "json-file"), "options": options}


def _given_files(service: dict[str, Any]) -> dict[str, Any]:
    """Secrets become configs under /run/secrets: Compose reads a secret's text only from files or its own
    environment, and on the host it has neither."""
    given = [{"source": entry["source"]} | _at(entry, "/", entry["source"]) for entry in service.get("configs", [])]
    given += [
        {"source": _secret(entry["source"])} | _at(entry, "/run/secrets/", entry["source"])
        for entry in service.get("secrets", [])
    ]
    return {"configs": given}


def _at(entry: dict[str, Any], folder: str, name: str) -> dict[str, str]:
    target = str(entry.get("target", name))
    return {"target": target if target.startswith("/") else folder + target}


def _secret(name: str) -> str:
    return f"secret-{name}"


def _connected(
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


def _link_aliases(project: Project) -> dict[str, tuple[str, ...]]:
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


_FOLDED = {
    "profiles", "container_name", "links", "secrets", "scale", "cpus", "mem_limit", "mem_reservation", "pids_limit",
}  # fmt: skip


def _tidied(service: dict[str, Any], done: dict[str, Any], project: Project) -> dict[str, Any]:
    """One service in the document: folded keys gone, empty ones too, in the order they were written."""
    merged = {key: value for key, value in {**service, **done}.items() if key not in _FOLDED}
    merged["depends_on"] = _dependencies(service, project)
    # `command: []` and `entrypoint: []` clear the image's own; any other empty value says nothing.
    return {key: value for key, value in merged.items() if key in _CLEARING or value not in ({}, [], None, "")}


_CLEARING = ("command", "entrypoint")


def _dependencies(service: dict[str, Any], project: Project) -> dict[str, Any]:
    linked = {
        link.partition(":")[0]: {"condition": "service_started", "required": True} for link in service.get("links", [])
    }
    named = {name: how for name, how in service.get("depends_on", {}).items() if name in project.services}
    return linked | named


# The document


def _document(
    project: Project, release: Release, services: dict[str, Any], variables: Interpolation, verdict: Verdict
) -> dict[str, Any]:
    used = dict.fromkeys(key for service in services.values() for key in service.get("networks", {}))
    mounted = dict.fromkeys(
        mount["source"] for service in services.values() for mount in service.get("volumes", []) if "source" in mount
    )
    contents = _contents(project, variables, verdict)
    given = dict.fromkeys(entry["source"] for service in services.values() for entry in service.get("configs", []))
    parts = {
        "networks": {key: {"name": release.network_name(key), "external": True} for key in used},
        "volumes": {key: {"labels": {"slipway.service": release.service_id}} for key in mounted},
        "configs": {key: {"content": contents[key]} for key in given if key in contents},
    }
    return {"name": release.service_id, "services": services} | {key: part for key, part in parts.items() if part}


def _contents(project: Project, variables: Interpolation, verdict: Verdict) -> dict[str, str]:
    contents = {}
    for key, files in (("configs", project.configs), ("secrets", project.secrets)):
        for name, entry in files.items():
            path = f"{key}.{name}"
            content = entry.get("content")
            if content is None and "environment" in entry:
                content = variables.value(entry["environment"], f"{path}.environment")
                if content is None:
                    verdict.refuse(f"{path}.environment", "missing-variable", "give the variable named here a value")
            elif not content:
                verdict.refuse(path, "wrong-type", "write some content, or environment with a variable's name")
            contents[name if key == "configs" else _secret(name)] = content or ""
    return contents


def _networks(
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

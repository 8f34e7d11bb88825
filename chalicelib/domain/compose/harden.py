"""From a judged project to the document that runs: limits, logs, restarts, labels, networks and routing.

The document is written the way `docker compose config` prints it, so that what the host resolves can be held
against it key by key. `no-new-privileges` is not added where the author did not ask: it breaks images that
start as root through sudo, and a container's root gains nothing from it that the other rules do not already bar.
Docker's default seccomp and AppArmor profiles always stay. Volume labels never change between releases, since
Compose would ask whether to recreate, and so empty, a volume whose definition changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.compose.attach import (
    check_host_ports,
    network_aliases,
    networks_of,
    published_ports,
    replicas,
    route,
    with_networks,
    with_ports,
)
from chalicelib.domain.compose.findings import Verdict
from chalicelib.domain.compose.interpolate import Interpolation
from chalicelib.domain.compose.policy import Project
from chalicelib.domain.compose.release import OUR_PREFIX, Built, Largest, Network, PublishedPort, Release, Routed

_MEGABYTE = 2**20


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
    largest: Largest
    containers: int
    defaulted: frozenset[str]
    builds: tuple[Built, ...] = ()


def hardened(project: Project, release: Release, variables: Interpolation, verdict: Verdict) -> Hardened:
    routed = route(project, release, verdict)
    services = _services(project, release, routed, variables, verdict)
    published = published_ports(services)
    check_host_ports(services, published, verdict)
    return Hardened(
        document=_document(project, release, services, variables, verdict),
        images=tuple(dict.fromkeys(service["image"] for service in services.values())),
        routed=routed,
        published=published,
        networks=networks_of(project, release, services, routed),
        cpu_millis=sum(_cpu_millis(service) * replicas(service) for service in services.values()),
        memory_mb=sum(_memory_mb(service) * replicas(service) for service in services.values()),
        largest=Largest(
            cpu_millis=max(map(_cpu_millis, services.values()), default=0),
            memory_mb=max(map(_memory_mb, services.values()), default=0),
        ),
        containers=sum(map(replicas, services.values())),
        defaulted=_defaulted(project),
        builds=tuple(
            _built(name, service["build"], release, variables)
            for name, service in project.services.items()
            if "build" in service
        ),
    )


def _built(name: str, build: dict[str, Any], release: Release, variables: Interpolation) -> Built:
    path = f"services.{name}.build.args"
    given = {
        key: variables.value(key, path) if value is None else value for key, value in build.get("args", {}).items()
    }
    return Built(
        service=name,
        tag=release.image_of(name),
        context=build["context"],
        dockerfile=build["dockerfile"],
        target=build.get("target", ""),
        args={key: value for key, value in given.items() if value is not None},
    )


def _services(
    project: Project, release: Release, routed: Routed | None, variables: Interpolation, verdict: Verdict
) -> dict[str, dict[str, Any]]:
    once = _run_once(project)
    aliases = network_aliases(project)
    services = {}
    for name, service in project.services.items():
        done = {
            **_limited(name, service, release, verdict),
            **({"image": release.image_of(name)} if "build" in service else {}),
            "environment": _environment(name, service, variables),
            "restart": _restart(service, once=name in once),
            "logging": _rotated(service.get("logging", {})),
            "labels": service.get("labels", {}) | release.labels,
            "configs": _given_files(service),
            "depends_on": _dependencies(service, project),
            **_named(service),
            **with_ports(name, service, release, routed, verdict),
            **with_networks(name, service, release, routed, aliases[name]),
        }
        services[name] = _tidied({**service, **done})
    return services


def _run_once(project: Project) -> set[str]:
    return {
        name
        for service in project.services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }


def _named(service: dict[str, Any]) -> dict[str, str]:
    """A host name with dots becomes a name and a domain: Docker answers on the network to the name alone, so
    that nobody's container can answer to a public name."""
    if "hostname" not in service:
        return {}
    name, _, domain = service["hostname"].partition(".")
    return {"hostname": name, "domainname": service.get("domainname", domain)}


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


def _defaulted(project: Project) -> frozenset[str]:
    """Which of the release's limits some container takes, because its author gave it none."""
    ways = (("cpu_millis", "cpus", "cpus"), ("memory_mb", "mem_limit", "memory"))
    return frozenset(
        limit
        for limit, key, other in ways
        for service in project.services.values()
        if key not in service and other not in service.get("deploy", {}).get("resources", {}).get("limits", {})
    )


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
    """Of one container."""
    limit: float = service["deploy"]["resources"]["limits"]["cpus"]
    return round(limit * 1000)


def _memory_mb(service: Mapping[str, Any]) -> int:
    """Of one container."""
    limit = int(service["deploy"]["resources"]["limits"]["memory"])
    return -(-limit // _MEGABYTE)


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


def _given_files(service: dict[str, Any]) -> list[dict[str, str]]:
    """Secrets become configs under /run/secrets: Compose reads a secret's text only from files or its own
    environment, and on the host it has neither."""
    given = [{"source": entry["source"]} | _at(entry, "/", entry["source"]) for entry in service.get("configs", [])]
    given += [
        {"source": _secret(entry["source"])} | _at(entry, "/run/secrets/", entry["source"])
        for entry in service.get("secrets", [])
    ]
    return given


def _at(entry: dict[str, Any], folder: str, name: str) -> dict[str, str]:
    target = str(entry.get("target", name))
    return {"target": target if target.startswith("/") else folder + target}


def _secret(name: str) -> str:
    return f"{OUR_PREFIX}secret-{name}"


_FOLDED = {
    "build", "profiles", "container_name", "links", "secrets", "scale", "cpus", "mem_limit", "mem_reservation",
    "pids_limit",
}  # fmt: skip


def _tidied(service: dict[str, Any]) -> dict[str, Any]:
    """One service in the document, without the keys folded into others and those that say nothing."""
    # `command: []` and `entrypoint: []` clear the image's own; any other empty value says nothing.
    return {
        key: value
        for key, value in service.items()
        if key not in _FOLDED and (key in _CLEARING or value not in ({}, [], None, ""))
    }


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

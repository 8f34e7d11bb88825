"""The policy on a whole file: the allow-list at the top, and what only holds between its parts.

Answers a `Project` in normal form with every finding noted. Services with profiles are judged like any other
and then left out, as Compose leaves them out: an `.env` on a host could switch them on otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.domain.compose.findings import Verdict, under
from chalicelib.domain.compose.mounts import VOLUME_NAME
from chalicelib.domain.compose.release import DEFAULT_NETWORK, OUR_PREFIX
from chalicelib.domain.compose.service_keys import read_service
from chalicelib.domain.compose.values import (
    DROP,
    SERVICE_NAME,
    Reader,
    boolean,
    dropped,
    ignored,
    network_name,
    table,
    text,
    wrong,
)

_MOST_SERVICES = 50


@dataclass(frozen=True)
class Project:
    """A judged file. `files` are the configs and secrets by name; a `None` content comes from `variable`."""

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)


def judged(tree: dict[str, Any], verdict: Verdict) -> Project:
    read = _TOP(tree, "", verdict)
    project = Project(**{key: read[key] for key in Project.__dataclass_fields__ if read.get(key)})
    if not project.services and not tree.get("services"):
        verdict.refuse("services", "no-services", "write at least one service")
    project = _without_profiles(project, verdict)
    for name, service in project.services.items():
        _check_references(name, service, project, verdict)
        _check_together(name, service, verdict)
    _check_cycles(project, verdict)
    return project


def _named(reader: Reader, name_rule: str, most: int = 200) -> Reader:
    """A mapping of names to what `reader` reads; the names are judged too."""

    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            return wrong(value, path, verdict, "a mapping of names")
        if len(value) > most:
            verdict.refuse(path, "too-many", f"keep at most {most}")
            return {}
        found = {}
        for name, written in value.items():
            at = under(path, name)
            if name.startswith("x-") and name_rule != "service-name":
                continue
            _check_name(name, at, name_rule, verdict)
            found[name] = reader(written, at, verdict)
        return {name: item for name, item in found.items() if item is not DROP}

    return read


def _check_name(name: str, path: str, rule: str, verdict: Verdict) -> None:
    if rule == "service-name":
        if not SERVICE_NAME.fullmatch(name):
            verdict.refuse(path, rule, "use letters, digits, _ and -, at most 63, beginning with a letter or digit")
        elif not verdict.ours:
            network_name(name, path, verdict)
    elif not VOLUME_NAME.fullmatch(name) or (len(name) == 1 and rule == "volume-name"):
        verdict.refuse(path, rule, "use letters, digits, _, . and -, beginning with a letter or digit, two at least")
    elif name.startswith(OUR_PREFIX) and not verdict.ours:
        verdict.refuse(path, "reserved-name", "choose a name that does not begin with slipway-")


def _external(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, dict) or boolean(value, path, verdict) is True:
        verdict.refuse(path, "external", "remove it; only what this project declares can be used")
    return DROP


def _fixed_name(_value: Any, path: str, verdict: Verdict) -> Any:
    verdict.warn(path, "name-dropped", "the name was left to Slipway, so that it reaches nothing of another customer's")
    return DROP


def _driver(only: str, rule: str) -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if value not in (None, only, "default"):
            verdict.refuse(path, rule, f"remove it; only the driver {only} is used")
        return DROP

    return read


def _no_options(rule: str) -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if value:
            verdict.refuse(path, rule, "remove it; driver options can reach anything of the host")
        return DROP

    return read


def _empty(reader: Reader) -> Reader:
    return lambda value, path, verdict: {} if value is None else reader(value, path, verdict)


_by_host = dropped("removed: the host gives each network its addresses")
_volume = table({
    "driver": _driver("local", "volume-driver"),
    "driver_opts": _no_options("volume-driver"),
    "external": _external,
    "name": _fixed_name,
    "labels": ignored,
})  # fmt: skip
_network = table({
    "driver": _driver("bridge", "network-driver"),
    "driver_opts": _no_options("network-driver"),
    "external": _external,
    "name": _fixed_name,
    "internal": boolean,
    "labels": ignored,
    "attachable": ignored,
    "ipam": _by_host,
    "enable_ipv4": _by_host,
    "enable_ipv6": _by_host,
})  # fmt: skip
_file = table(
    {"content": text, "environment": text, "external": _external, "name": _fixed_name, "labels": ignored},
    {
        "file": ("host-file", "write the text under content, or its variable under environment"),
        "driver": ("provider", "remove it; write the text under content"),
        "driver_opts": ("provider", "remove it; write the text under content"),
        "template_driver": ("provider", "remove it; write the text under content"),
    },
)

_TOP = table(
    {
        "version": ignored,
        "name": ignored,
        "services": _named(read_service, "service-name", _MOST_SERVICES),
        "networks": _named(_empty(_network), "network-driver"),
        "volumes": _named(_empty(_volume), "volume-name"),
        "configs": _named(_file, "undefined"),
        "secrets": _named(_file, "undefined"),
    },
    {
        "include": ("include", "write the other file's services here"),
        "models": ("provider", "remove it; models are not provided"),
        "extends": ("extends", "write the other file's services here"),
    },
)


def _without_profiles(project: Project, verdict: Verdict) -> Project:
    started = {}
    for name, service in project.services.items():
        if service.get("profiles"):
            path = f"services.{name}.profiles"
            verdict.warn(
                path, "profile-left-out", "the service has profiles and is not started; remove them to start it"
            )
        else:
            started[name] = service
    if project.services and not started:
        verdict.refuse("services", "no-services", "every service has profiles; remove them from those to start")
    return replace(project, services=started)


def _check_references(name: str, service: dict[str, Any], project: Project, verdict: Verdict) -> None:
    path = f"services.{name}"
    networks = {DEFAULT_NETWORK, *project.networks}
    for at, key, used in _used(path, service):
        declared = networks if key == "networks" else getattr(project, key)
        if used not in declared:
            verdict.refuse(at, "undefined", f"declare it under the top-level {key}")
    for at, other in _awaited(path, service):
        if other not in project.services:
            verdict.refuse(at, "depends-on", "name a service of this file that has no profiles")


def _used(path: str, service: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for index, mount in enumerate(service.get("volumes", [])):
        if "source" in mount:
            yield f"{path}.volumes[{index}]", "volumes", mount["source"]
    for network in service.get("networks", {}):
        yield under(f"{path}.networks", network), "networks", network
    for key in ("configs", "secrets"):
        for index, given in enumerate(service.get(key, [])):
            yield f"{path}.{key}[{index}]", key, given.get("source", "")


def _awaited(path: str, service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for other, how in service.get("depends_on", {}).items():
        if how["required"]:
            yield under(f"{path}.depends_on", other), other
    for index, link in enumerate(service.get("links", [])):
        yield f"{path}.links[{index}]", link.partition(":")[0]


def _check_together(name: str, service: dict[str, Any], verdict: Verdict) -> None:
    path = f"services.{name}"
    if not service.keys() & {"image", "build"} and not any(found.path.startswith(path) for found in verdict.refused):
        verdict.refuse(path, "image", "name the image to run")
    if service.get("network_mode") and service.get("networks"):
        verdict.refuse(f"{path}.networks", "host-namespace", "list networks or write network_mode none, not both")
    for at in _mounted_twice(path, service):
        verdict.refuse(at, "mount", "mount elsewhere; something is mounted on this target already")
    if service.get("read_only") and (service.get("configs") or service.get("secrets")):
        verdict.refuse(f"{path}.read_only", "read-only-config", "remove read_only, or give the text as a variable")


def _mounted_twice(path: str, service: dict[str, Any]) -> Iterator[str]:
    mounts = [(f"{path}.volumes[{index}]", mount["target"]) for index, mount in enumerate(service.get("volumes", []))]
    mounts += [
        (f"{path}.tmpfs[{index}]", entry.partition(":")[0]) for index, entry in enumerate(service.get("tmpfs", []))
    ]
    seen = set()
    for at, target in mounts:
        if target in seen:
            yield at
        seen.add(target)


def _check_cycles(project: Project, verdict: Verdict) -> None:
    waiting = {name: set(_depended(service)) & project.services.keys() for name, service in project.services.items()}
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    for name in waiting:
        verdict.refuse(f"services.{name}.depends_on", "depends-on", "services that wait for each other never start")


def _depended(service: dict[str, Any]) -> Iterator[str]:
    yield from service.get("depends_on", {})
    yield from (link.partition(":")[0] for link in service.get("links", []))

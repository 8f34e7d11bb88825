"""The host kit's verbs, one function each; what they answer is told in `chalicelib.hostkit`.

The kit is called by its version, so an older one on the host is simply another folder: what is missing is installed,
and nothing is overwritten under a command that is running.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from chalicelib.commands.command import Command
from chalicelib.hostkit import version

PYTHON = ("python3", "-I", "-S")
_ESCAPED_IN_YAML = re.compile("[\x7f-\uffff]")


class Port(TypedDict):
    ip: str
    port: int
    protocol: str


class NetworkWanted(TypedDict, total=False):
    name: str
    edge: bool
    internal: bool


class Upstream(TypedDict):
    network: str
    alias: str
    port: int


class Probe(TypedDict, total=False):
    service: str
    port: int
    path: str


class Sources(TypedDict):
    """What is fetched: the branch's newest commit, unless one is named. Nothing of it becomes a word of a command."""

    url: str
    branch: str | None
    commit: str | None
    submodules: bool
    token: str | None
    deploy_key: str | None
    known_hosts: str
    allowed_networks: list[str]
    max_mb: int
    timeout_s: int


class Image(TypedDict):
    """What is built; `ignore` stands in for the context's `.dockerignore`."""

    service: str
    tag: str
    context: str
    dockerfile: str
    text: str
    ignore: str | None
    target: str
    args: dict[str, str]
    labels: dict[str, str]


class BuildLimits(TypedDict):
    memory_mb: int
    cpu_millis: int


class Building(TypedDict):
    """A release's images, what is pulled before, and how much of the host it may take."""

    builds: list[Image]
    pull: list[str]
    limits: BuildLimits
    min_disk_mb: int
    timeout_s: int


class Login(TypedDict):
    username: str
    password: str


def check(*, installation: str, pool: str, min_disk_mb: int) -> Command:
    return _verb("check", installation=installation, pool=pool, min_disk_mb=min_disk_mb)


def edge(
    *,
    installation: str,
    image: str,
    http_port: int,
    https_port: int | None = None,
    tls: Literal["off", "acme"] = "off",
    email: str | None = None,
    pool: str,
) -> Command:
    asked = {"image": image, "http_port": http_port, "https_port": https_port, "tls": tls, "email": email}
    return _verb("edge", installation=installation, pool=pool, **asked)


def leave(*, installation: str) -> Command:
    return _verb("leave", installation=installation)


def preflight(
    service: str,
    *,
    installation: str,
    ports: Sequence[Port],
    min_disk_mb: int,
    pool: str,
    networks: int,
    images: Sequence[str] = (),
) -> Command:
    """`images` are looked for, not fetched: those that the host does not have are in the answer."""
    needs = {"ports": list(ports), "min_disk_mb": min_disk_mb, "pool": pool, "networks": networks}
    return _verb("preflight", service=service, installation=installation, images=list(images), **needs)


def compose_text(document: Mapping[str, Any]) -> str:
    """The document as JSON that Compose reads too, which takes it for YAML.

    Of what is not ASCII, YAML would break lines at some characters and take others not at all unless they are escaped;
    but those above U+FFFF JSON escapes as two halves, which YAML does not know, so they stand as they are.
    """
    return _ESCAPED_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(document, ensure_ascii=False))


def upload(
    service: str,
    fence: int,
    *,
    release: int,
    document: Mapping[str, Any],
    images: Sequence[str],
    networks: Sequence[NetworkWanted],
    pool: str,
) -> Command:
    return _verb(
        "upload",
        service=service,
        fence=fence,
        release=release,
        compose=compose_text(document),
        images=list(images),
        networks=list(networks),
        pool=pool,
    )


def start_up(
    service: str,
    fence: int,
    *,
    job: str,
    release: int,
    images: Mapping[str, str] | None = None,
    wait_s: float = 20,
    timeout_s: float = 600,
) -> Command:
    """`images` pins compose services to image ids, whatever their tags mean by now."""
    asked = {"job": job, "kind": "up", "release": release, "images": images and dict(images)}
    return _verb("start", service=service, fence=fence, wait_s=wait_s, timeout_s=timeout_s, **asked)


def start_pull(
    service: str,
    fence: int,
    *,
    job: str,
    release: int,
    images: Sequence[str],
    logins: Mapping[str, Login] | None = None,
    wait_s: float = 20,
) -> Command:
    """`logins` are by registry, `docker.io` for images that name none."""
    asked = {"job": job, "kind": "pull", "release": release, "pull": list(images)}
    return _verb("start", service=service, fence=fence, wait_s=wait_s, registry_auth=logins and dict(logins), **asked)


def start_fetch(service: str, fence: int, *, job: str, release: int, sources: Sources, wait_s: float = 20) -> Command:
    """Credentials go by stdin, as everything does."""
    asked = {"job": job, "kind": "fetch", "release": release, "git": dict(sources)}
    return _verb("start", service=service, fence=fence, wait_s=wait_s, **asked)


def start_build(
    service: str,
    fence: int,
    *,
    job: str,
    release: int,
    building: Building,
    logins: Mapping[str, Login] | None = None,
    wait_s: float = 20,
) -> Command:
    """`logins` are for what is pulled first and for what the images begin from."""
    asked = {"job": job, "kind": "build", "release": release, **building}
    known = logins and dict(logins)
    return _verb("start", service=service, fence=fence, wait_s=wait_s, registry_auth=known, **asked)


def tree(service: str, *, wanted: Sequence[str], path: str = "", paths: Sequence[str] = ()) -> Command:
    """What was fetched: every name, and the texts of files called as `wanted`, near to `path`, or lying at `paths`."""
    return _verb("tree", service=service, wanted=list(wanted), path=path, paths=list(paths))


def listening(service: str) -> Command:
    return _verb("listening", service=service)


def forget_images(service: str, fence: int, *, keep: Sequence[str]) -> Command:
    return _verb("forget_images", service=service, fence=fence, keep=list(keep))


def job(name: str, *, wait_s: float = 20, tail_lines: int = 50) -> Command:
    return _verb("job", job=name, wait_s=wait_s, tail_lines=tail_lines)


def cancel(name: str, *, tail_lines: int = 50) -> Command:
    return _verb("cancel", job=name, tail_lines=tail_lines)


def observe(
    services: Sequence[str],
    *,
    window_ms: int = 0,
    storage: bool = False,
    probe: Mapping[str, Probe] | None = None,
    installation: str | None = None,
) -> Command:
    """With an `installation`, whether the host's edge runs and is its own is answered too."""
    wanted = {"window_ms": window_ms, "storage": storage, "probe": dict(probe or {}), "installation": installation}
    return _verb("observe", services=list(services), **wanted)


def lifecycle(
    service: str, fence: int, action: Literal["start", "stop", "restart"], *, release: int, timeout_s: int | None = None
) -> Command:
    return _verb("lifecycle", service=service, fence=fence, action=action, release=release, timeout_s=timeout_s)


def logs(service: str, *, tail: int = 100, since: str | None = None, limit_bytes: int = 4_000_000) -> Command:
    return _verb("logs", service=service, tail=tail, since=since, limit_bytes=limit_bytes)


def route(service: str, fence: int, *, hosts: Sequence[str], upstream: Upstream, check_path: str = "/") -> Command:
    return _verb(
        "route", service=service, fence=fence, hosts=list(hosts), upstream=upstream, check={"path": check_path}
    )


def unroute(service: str, fence: int) -> Command:
    return _verb("unroute", service=service, fence=fence)


def remove(service: str, fence: int) -> Command:
    return _verb("remove", service=service, fence=fence)


def inventory() -> Command:
    return _verb("inventory")


def agent(action: Literal["ensure", "stop", "status"]) -> Command:
    """Its program and configuration are put there before, by SFTP."""
    return _verb("agent", action=action)


def authorize(host: str, fence: int, *, like: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Command:
    """Whom sshd lets in: public keys without comments; a line that is added has the options of `like`'s."""
    return _verb("authorize", host=host, fence=fence, like=like, add=list(add), remove=list(remove))


def authorized(keys: Sequence[str]) -> Command:
    """Which of these public keys have a line."""
    return _verb("authorized", keys=list(keys))


def serving() -> Command:
    """The kit's process that answers verbs one after the other, and several at a time, until its stdin ends."""
    return _program("serve", b"")


def install() -> Command:
    """Put this version of the kit on the host, whole or not at all; already there is fine."""
    program = Path(version.FOLDER, "install.py").read_text(encoding="utf-8")
    kit = json.dumps({"version": kit_version(), "files": version.files()})
    return Command((*PYTHON, "-c", program), kit.encode())


@cache
def kit_version() -> str:
    return version.version()


def _verb(name: str, **request: Any) -> Command:
    return _program(name, json.dumps(request).encode())


def _program(name: str, stdin: bytes) -> Command:
    # Imported, not run as a script: Python then keeps its bytecode, and a verb starts 15 ms sooner.
    program = f'import sys; sys.path.insert(0, ".slipway/kit-{kit_version()}"); from hostkit.main import main; main()'
    return Command((*PYTHON, "-c", program, name), stdin)

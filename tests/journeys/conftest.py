"""One control plane and two Docker hosts for all journeys; each journey deletes what it made and is looked after."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
import pytest
import requests

from infra.local import images
from tests.journeys.plane import Client, Plane
from tests.lab.hosts import Lab, LabHost


@dataclass(frozen=True)
class DockerHost:
    """A lab host as the control plane knows it, and as its visitors and its root see it."""

    id: str
    lab: LabHost

    def visit(self, url: str, path: str = "/") -> requests.Response:
        """What a visitor gets. Python does not resolve `<name>.localhost`, so the host is asked by its address."""
        with requests.Session() as session:
            session.trust_env = False
            name = {"Host": url.removeprefix("http://")}
            return session.get(f"http://{self.lab.address}{path}", headers=name, timeout=10)

    def ps(self, service_id: str, *options: str) -> list[str]:
        """The service's running containers."""
        listed = self.lab.docker(
            "ps", "--quiet", "--no-trunc", f"--filter=label=slipway.service={service_id}", *options
        )
        return listed.split()

    def container(self, service_id: str, compose_service: str = "web") -> str:
        (found,) = self.ps(service_id, f"--filter=label=com.docker.compose.service={compose_service}")
        return found

    def inspect(self, container: str, template: str) -> str:
        return self.lab.docker("inspect", "--format", template, container)

    def lets_in(self, private_key: str) -> bool:
        """Whether its sshd does, by this key."""
        key = paramiko.Ed25519Key.from_private_key(io.StringIO(private_key))
        with paramiko.Transport((self.lab.address, self.lab.port)) as transport:
            transport.start_client(timeout=10)
            try:
                transport.auth_publickey(self.lab.user, key)
            except paramiko.AuthenticationException:
                return False
            return transport.is_authenticated()

    def held(self, service_id: str) -> list[str]:
        """All that root finds of a service on the host, but the lock that refuses what comes too late."""
        found = []
        for kind, every in (("container", ("--all",)), ("volume", ()), ("network", ())):
            for what in (f"label=slipway.service={service_id}", f"label=com.docker.compose.project={service_id}"):
                listed = self.lab.docker(kind, "ls", "--quiet", *every, "--filter", what)
                found += [f"{kind} {name}" for name in listed.split()]
        kept = f"/home/{self.lab.user}/.slipway"
        files = self.lab.exec("sh", "-c", 'find "$0" -name "*$1*"; grep -rl "$1" "$0"; true', kept, service_id)
        lock = f"{kept}/services/{service_id}.lock"
        return found + sorted(set(files.split()) - {lock})


@dataclass(frozen=True)
class Stage:
    plane: Plane
    hosts: tuple[DockerHost, DockerHost]


@pytest.fixture(scope="session")
def stage(lab: Lab, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stage]:
    first, second = lab.hosts("east", "west")
    for host in (first, second):
        host.load(images.BUSYBOX, images.EDGE, images.DEMO)
    # the hosts' agents call it on their side of the switch
    addresses = ("127.0.0.1", lab.address)
    with _plane(pytestconfig.getoption("--plane"), tmp_path_factory.mktemp("plane"), addresses) as plane:
        yield Stage(plane, (ready(plane, first), ready(plane, second)))


@pytest.fixture
def plane(stage: Stage) -> Plane:
    return stage.plane


@pytest.fixture
def process(pytestconfig: pytest.Config) -> None:
    """For journeys that kill the control plane, or count what one process of it does."""
    if pytestconfig.getoption("--plane") == "packaged":
        pytest.skip("Lambda has no process to kill, and more than one")


@pytest.fixture
def hosts(stage: Stage) -> tuple[DockerHost, DockerHost]:
    """Both hosts, sound, and known to be: what a journey before did to one is told by a look up to a minute later."""
    caller = stage.plane.client()
    for host in stage.hosts:
        host.lab.mend()
        if caller.get(f"hosts/{host.id}")["status"] != "ready":
            assert caller.post(f"hosts/{host.id}/check")["status"] == "ready"
    return stage.hosts


@pytest.fixture
def host(hosts: tuple[DockerHost, DockerHost]) -> DockerHost:
    return hosts[0]


@pytest.fixture
def admin(stage: Stage, hosts: tuple[DockerHost, DockerHost]) -> Iterator[Client]:
    """The first admin. What it made is deleted afterwards, and nothing of it may be left on its host."""
    caller = stage.plane.client()
    yield caller
    clean_up(caller, stage)


def clean_up(caller: Client, stage: Stage) -> None:
    for host in stage.hosts:
        host.lab.mend()
    leaving = {service_id: _leaving(caller, service_id) for service_id in caller.made}
    for job_id in filter(None, leaving.values()):
        caller.succeeded(job_id)
    left = {service_id: host.held(service_id) for service_id in caller.made for host in stage.hosts}
    assert not any(left.values()), left


def register(caller: Client, lab: LabHost, name: str, **changes: Any) -> Any:
    """A lab host made known with its own keys, unless a journey gives others."""
    wanted = {
        "name": name,
        "address": lab.address,
        "port": lab.port,
        "user": lab.user,
        "private_key": lab.private_key,
        "host_key": lab.host_key,
    }
    return caller.post("hosts", wanted | changes)


def publish(lab: Lab, host: DockerHost, recipe: images.Recipe) -> None:
    """What this tag is on Docker Hub from now on, as far as the lab knows; on no host until it is pulled."""
    host.lab.load(recipe)
    lab.registry_push(
        host.lab, recipe.reference, recipe.reference if "/" in recipe.reference else f"library/{recipe.reference}"
    )
    host.lab.docker("rmi", recipe.reference)


def _plane(kind: str, folder: Path, addresses: Sequence[str]) -> Plane:
    if kind == "packaged":
        from tests.acceptance.plane import Packaged  # noqa: PLC0415  it takes this module's client

        return Packaged(folder, addresses)
    return Plane(folder, addresses=addresses)


def ready(plane: Plane, lab: LabHost) -> DockerHost:
    """A lab host made known, checked and found in order."""
    caller = plane.client()
    host = register(caller, lab, lab.name)
    checked = caller.post(f"hosts/{host['id']}/check")
    assert (checked["status"], checked["problems"]) == ("ready", []), checked
    return DockerHost(host["id"], lab)


def _leaving(caller: Client, service_id: str) -> str | None:
    """The job that deletes the service; None where it is deleted already."""
    asked = caller.ask("DELETE", f"services/{service_id}")
    if asked.status_code == requests.codes.conflict:
        caller.ended(asked.json()["error"]["details"]["job_id"])
        asked = caller.ask("DELETE", f"services/{service_id}")
    return asked.headers.get("X-Job-Id")

"""A lab host with the kit and the edge on it, and a service to deploy there."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.commands import kit
from chalicelib.domain.words import new_id
from chalicelib.ssh import HostAddress, RemoteHost, close_all, connected
from infra.local import images
from tests.lab.hosts import LabHost

POOL = "10.201.0.0/16"
EDGE_PORT = 8080
INSTALLATION = "ins_hostkit"
IMAGE = images.BUSYBOX.reference
SERVE = "mkdir -p /www && echo hello from $$0 >/www/index.html && exec httpd -f -p 8000 -h /www"


@dataclass
class Deployed:
    """A service on a lab host, driven by the kit's own verbs."""

    remote: RemoteHost
    id: str = field(default_factory=lambda: new_id("svc"))
    fence: int = 1

    def document(self, *words: str, **more: Any) -> dict[str, Any]:
        web = {
            "image": IMAGE,
            "command": list(words) or ["sh", "-c", SERVE, self.id],
            "labels": {"slipway.service": self.id, "slipway.release": "1"},
            "stop_signal": "SIGKILL",
            "networks": {"default": {"aliases": [self.id]}},
            **more,
        }
        return {"name": self.id, "services": {"web": web}, "networks": {"default": {"name": self.id, "external": True}}}

    def upload(self, document: dict[str, Any] | None = None, release: int = 1, **changes: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "document": document or self.document(),
            "images": [IMAGE],
            "networks": [{"name": self.id, "edge": True}],
            "pool": POOL,
            **changes,
        }
        return self.remote.kit(kit.upload(self.id, self.fence, release=release, **asked), 30)

    def up(self, release: int = 1, **changes: Any) -> dict[str, Any]:
        job = changes.pop("job", f"{new_id('job')}.up.1")
        return self.remote.kit(kit.start_up(self.id, self.fence, job=job, release=release, **changes), 60)

    def deploy(self, document: dict[str, Any] | None = None, release: int = 1) -> None:
        self.upload(document, release)
        answer = self.up(release)
        assert (answer["state"], answer["rc"]) == ("done", 0), answer["output"]

    def observe(self, **asked: Any) -> dict[str, Any]:
        seen: dict[str, Any] = self.remote.kit(kit.observe([self.id], **asked), 30)["services"][self.id]
        return seen

    def route(self, host: str) -> dict[str, Any]:
        upstream = kit.Upstream(network=self.id, alias=self.id, port=8000)
        return self.remote.kit(kit.route(self.id, self.fence, hosts=[host], upstream=upstream), 30)

    def logs(self, **asked: Any) -> dict[str, Any]:
        return self.remote.kit(kit.logs(self.id, **asked), 30)

    def remove(self) -> dict[str, Any]:
        return self.remote.kit(kit.remove(self.id, self.fence), 60)


def address(host: LabHost) -> HostAddress:
    return HostAddress(
        id="host_abcdefgh12345678",
        address=host.address,
        port=host.port,
        user=host.user,
        private_key=host.private_key,
        host_key=host.host_key,
    )


@pytest.fixture
def remote(lab_host: LabHost) -> RemoteHost:
    host = connected(address(lab_host))
    host.kit(kit.edge(installation=INSTALLATION, image=images.EDGE.reference, http_port=EDGE_PORT, pool=POOL), 60)
    return host


@pytest.fixture
def service(remote: RemoteHost, lab_host: LabHost) -> Iterator[Deployed]:
    deployed = Deployed(remote)
    yield deployed
    lab_host.mend()
    deployed.remote = connected(address(lab_host))
    deployed.fence = 2**52
    left = deployed.remove()["left"]
    assert not any(left.values()), left


@pytest.fixture(scope="session", autouse=True)
def _no_connection_outlives_the_tests() -> Iterator[None]:
    yield
    close_all()


def eventually(condition: Any, seconds: float = 40) -> Any:
    """The condition's first true value, asked often until the time is over."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return value

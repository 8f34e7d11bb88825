"""Where the edge container is plugged in: its own network, and one network of each service it routes to."""

from __future__ import annotations

from typing import Any

from . import engine
from .refusals import Refused

CONTAINER = "slipway-edge"
# Docker publishes a container's ports on the network whose name sorts first; ours must stay before every `svc_`,
# or plugging in a service's network would move the published ports and cut the connections open on them.
NETWORK = "slipway-edge"


# A label of the edge: whoever has the edge on a host has the host.
INSTALLATION = "slipway.installation"


def installation() -> str | None:
    """Whose host this is; None while it has no edge."""
    return _installation_of(engine.found(f"/containers/{CONTAINER}/json"))


def serves(ours: str) -> bool:
    """Whether the edge is there, runs, and is ours."""
    edge = engine.found(f"/containers/{CONTAINER}/json")
    return edge is not None and bool(edge["State"]["Running"]) and _installation_of(edge) == ours


def belongs_to_another(ours: str) -> str | None:
    """Why we keep off this host, if we must: two control planes on one take its ports and memory twice over, and each
    other's services for leftovers."""
    other = installation()
    if other in (None, ours):
        return None
    return (
        f"this machine is a host of another installation of Slipway ({other}). Delete it there, or "
        f"if that installation is gone, `docker rm --force {CONTAINER}` on it, and check it again"
    )


def expect_ours(ours: str) -> None:
    trouble = belongs_to_another(ours)
    if trouble:
        raise Refused("HostNotReady", trouble)


def expect() -> None:
    """A service that is to be routed needs the edge: better said before its containers are touched than after."""
    if engine.found(f"/containers/{CONTAINER}/json") is None:
        raise Refused("HostNotReady", "the edge proxy is not on this host; check the host to bring it back")


def connect_service(service: str) -> None:
    for network in engine.get("/networks", filters={"label": [f"slipway.service={service}", "slipway.edge=1"]}):
        connect(network["Name"])


def connect(network: str) -> None:
    try:
        engine.post(f"/networks/{network}/connect", {"Container": CONTAINER})
    except engine.EngineError as error:
        if "already exists" in error.message:
            return
        if "No such container" in error.message:
            expect()
        raise


def disconnect(network: str, container: str = CONTAINER) -> None:
    try:
        engine.post(f"/networks/{network}/disconnect", {"Container": container, "Force": True})
    except engine.EngineError as error:
        if error.status != engine.NOT_FOUND and "is not connected" not in error.message:
            raise


def _installation_of(edge: dict[str, Any] | None) -> str | None:
    return edge["Config"]["Labels"].get(INSTALLATION) if edge else None

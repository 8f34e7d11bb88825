"""Where the edge container is plugged in: its own network, and one network of each service it routes to."""

from __future__ import annotations

from . import engine
from .refusals import Refused

CONTAINER = "slipway-edge"
# Docker publishes a container's ports on the network whose name sorts first; ours must stay before every `svc_`,
# or plugging in a service's network would move the published ports and cut the connections open on them.
NETWORK = "slipway-edge"


def connect(network: str) -> None:
    try:
        engine.post(f"/networks/{network}/connect", {"Container": CONTAINER})
    except engine.EngineError as error:
        if "already exists" in error.message:
            return
        if "No such container" in error.message:
            raise Refused("HostNotReady", "the edge proxy is not on this host; check the host to bring it back") from error
        raise


def disconnect(network: str, container: str = CONTAINER) -> None:
    try:
        engine.post(f"/networks/{network}/disconnect", {"Container": container, "Force": True})
    except engine.EngineError as error:
        if error.status != 404 and "is not connected" not in error.message:
            raise

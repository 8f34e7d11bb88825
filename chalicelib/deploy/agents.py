"""The agent of a host: put there, given its token, and kept running, each time the host is checked."""

import json
from typing import TYPE_CHECKING

from chalicelib.commands import kit
from chalicelib.domain.errors import Conflict, SlipwayError
from chalicelib.domain.panel import Host, new_agent_token
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.ssh import RemoteHost

_FOLDER = ".slipway/agent"
_SECONDS = 30.0
_RUNNING = "running"


def ensure_agent(host: Host, remote: "RemoteHost") -> str:
    """`running`, or what is the matter. Without an agent a host runs services all the same; nobody sees them live."""
    try:
        seen = remote.kit(kit.agent("status"), _SECONDS)
        _put_program(remote, seen["sha256"])
        if not _knows_us(host, seen):
            _give_token(host, remote)
        seen = remote.kit(kit.agent("ensure"), _SECONDS)
        if not _knows_us(host, seen):
            raise Conflict("another check gave it another token at the same time")
    except SlipwayError as error:
        return error.message
    return _RUNNING if seen["running"] else "it does not start; .slipway/agent/agent.log on the host may say why"


def _put_program(remote: "RemoteHost", there: str | None) -> None:
    # What it is packed with takes a cold start longer to import than a check without an agent takes.
    from chalicelib.commands import agent  # noqa: PLC0415

    if there != agent.sha256():
        remote.put(f"{_FOLDER}/agent.pyz", agent.package(), _SECONDS)


def _knows_us(host: Host, seen: dict[str, str | None]) -> bool:
    """Whether its configuration is for this control plane, with the token that counts."""
    settings, known = adapters().settings, adapters().agents.get(host.id)
    if known is None or known.revoked_at:
        return False
    told = (seen["url"], seen["websocket_url"], seen["token_id"])
    return told == (settings.public_url, _socket_url(), known.token_id)


def _socket_url() -> str:
    return f"{adapters().settings.websocket_url}/api/agent/socket"


def _give_token(host: Host, remote: "RemoteHost") -> None:
    settings = adapters().settings
    text, token_hash = new_agent_token(host.id)
    config = {
        "url": settings.public_url,
        "websocket_url": _socket_url(),
        "token": text,
        "host_id": host.id,
    }
    remote.put(f"{_FOLDER}/config.json", json.dumps(config).encode(), _SECONDS)
    adapters().agents.set_token(host.id, token_hash)

"""The verb `leave`: this host serves the installation no more.

Its agent ends and its edge goes, with all they kept. The kit stays, for whoever asks again.
"""

from __future__ import annotations

import shutil
from typing import Any

from . import agent_service, edge_network, engine, places
from .fence import whole_host


def leave(request: dict[str, Any]) -> dict[str, Any]:
    edge_network.expect_ours(request["installation"])
    agent_service.agent({"action": "stop"})
    with whole_host("edge"):
        _gone(f"/containers/{edge_network.CONTAINER}", force=1)
        _gone(f"/networks/{edge_network.NETWORK}")
        for folder in (agent_service.FOLDER, places.EDGE):
            shutil.rmtree(folder, ignore_errors=True)
    return {}


def _gone(path: str, **query: int) -> None:
    try:
        engine.delete(path, **query)
    except engine.EngineError as error:
        if error.status != engine.NOT_FOUND:
            raise

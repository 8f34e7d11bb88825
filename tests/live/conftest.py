"""A host with an agent, a service on it, and those who follow it."""

from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.domain.following import Follower
from chalicelib.domain.panel import Caller, Host, new_agent_token
from chalicelib.domain.service import Service
from chalicelib.domain.words import new_id, now
from chalicelib.live import following
from tests.emulator import Panel
from tests.live.fakes import Gateway

CALLER = Caller(token_id="tok_1", role="viewer", customer_id=None)


@dataclass
class Scene:
    panel: Panel
    host: Host
    service: Service

    @property
    def gateway(self) -> Gateway:
        return self.panel.gateway  # type: ignore[no-any-return]

    def follow(self, connection_id: str, **more: Any) -> Follower:
        form = more.pop("form", "entry")
        return following.begin(more.pop("subject", self.service), CALLER, connection_id, {"tail": 10}, form)


def a_service(host_id: str, name: str = "app") -> Service:
    return Service(
        id=new_id("svc"),
        name=name,
        status="running",
        customer_id="cust_1",
        host_id=host_id,
        deploy_method="compose",
        compose="",
        sealed_variables=b"",
        created_at=now(),
        updated_at="2026-01-01T00:00:00.000Z",
    )


@pytest.fixture
def scene(panel: Panel) -> Scene:
    host = panel.a_host()
    panel.agents.set_token(host.id, new_agent_token(host.id)[1])
    return Scene(panel, host, a_service(host.id))

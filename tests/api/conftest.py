"""A client of the API: the real app over the real store, with calls on hosts answered by the test."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from chalice.test import Client

import app
from chalicelib.api import auth, rates
from tests.contract import oracle
from tests.emulator import Panel

COMPOSE = """\
version: '3.8'
services:
  app:
    image: myapp:latest
    ports: ["8080:80"]
"""


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """The error, after a look that it has the one shape."""
        assert self.body.keys() == {"error"}
        error = self.body["error"]
        assert error.keys() == {"code", "message", "details", "request_id"}
        assert error["message"]
        assert error["request_id"]
        return error


class Api:
    """Speaks as the token it holds; `as_(token)` speaks as another. Every answer is held to the contract."""

    def __init__(self, client: Client, token: str | None) -> None:
        self._client = client
        self._token = token

    def as_(self, token: str | None) -> "Api":
        return Api(self._client, token)

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return self.send("POST", path, body, headers=headers)

    def patch(self, path: str, body: Any, **headers: str) -> Reply:
        return self.send("PATCH", path, body, headers=headers)

    def delete(self, path: str, **headers: str) -> Reply:
        return self.send("DELETE", path, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """`headers` are named as Python names: `if_match` is If-Match."""
        headers = {"Content-Type": content_type} | {
            name.replace("_", "-"): value for name, value in (headers or {}).items()
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        response = self._client.http.request(method, f"/api{path}", headers=headers, body=data)
        reply = Reply(response.status_code, dict(response.headers), response.body.decode())
        oracle.hold(method, f"/api{path}", data, reply.status, reply.headers, reply.text)
        return reply


@pytest.fixture
def api(panel: Panel) -> Iterator[Api]:
    auth._remembered.clear()
    rates.forget()
    with Client(app.app) as client:
        yield Api(client, panel.a_token("admin"))


@pytest.fixture
def customer_id(panel: Panel) -> str:
    return panel.a_customer().id


@pytest.fixture
def host_id(panel: Panel) -> str:
    return panel.a_host().id


@pytest.fixture
def wanted(customer_id: str, host_id: str) -> dict[str, Any]:
    """The seed's compose deploy."""
    return {"name": "custom-app", "customer_id": customer_id, "deploy_method": "compose", "compose": COMPOSE}

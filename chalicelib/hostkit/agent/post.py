"""HTTP to the control plane: one connection a lane, kept open, noticed within ten seconds when the network is gone."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

DEADLINE_S = 40.0
CONNECT_S = 10.0
DEAD_LINK_MS = 10_000
QUIET_S, AGAIN_S = 4, 2  # when a quiet connection is asked whether it still is one
MOST = 32 << 20
STALE_S = 3.0  # servers end what is idle for some seconds, and a request may be on its way just then


class Config(NamedTuple):
    url: str
    websocket_url: str
    token: str
    host_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Unanswered(Exception):
    """The request may or may not have been heard."""


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            told = json.loads(self.body)
        except ValueError as error:  # something on the way that is not the control plane
            raise Unanswered(f"the answer with status {self.status} is not JSON") from error
        if not isinstance(told, dict):
            raise Unanswered(f"the answer with status {self.status} is not an object")
        return told


class Connection:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._open: http.client.HTTPConnection | None = None
        self._used = 0.0

    def post(self, path: str, body: bytes) -> Answer:
        return self._ask("POST", path, body, {"Content-Type": "application/octet-stream"})

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, {})

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        base = urlsplit(self._config.url)
        try:
            connection = self._opened()
            connection.request(method, base.path.rstrip("/") + path, body, {**self._config.headers, **headers})
            response = connection.getresponse()
            answer = Answer(response.status, response.read(MOST))
            self._used = time.monotonic()
            return answer  # noqa: TRY300  what is above may raise all that is told below
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(f"{type(error).__name__}: {error}") from error

    def _opened(self) -> http.client.HTTPConnection:
        if time.monotonic() - self._used > STALE_S:
            self.close()
        if self._open is None:
            base = urlsplit(self._config.url)
            host, port = base.hostname or "", base.port
            if base.scheme == "https":
                context = ssl.create_default_context()
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=CONNECT_S, context=context
                )
            else:
                connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
            connection.connect()
            watched(connection.sock)
            connection.sock.settimeout(DEADLINE_S)
            self._open = connection
        return self._open


def watched(connection: socket.socket) -> None:
    """Have the kernel end it when the other side is gone without a word."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINK_MS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, AGAIN_S)

"""The WebSocket on which the control plane rings when something changed. Without it everything works, only later."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import websocket

from .lanes import Pauses
from .post import Config, watched

PING_S = 60.0
ANSWER_S = 20.0
RENEW_S = 100 * 60.0  # a connection may live for two hours
STABLE_S = 30.0
# Who is refused waits longer and longer. Who was let in and then cut off comes back soon, since new followers wait for
# the bell; should a thousand agents do so at once, the gateway refuses some of them, and those wait.
LONGEST_REFUSED_S, LONGEST_CUT_S = 30.0, 2.0

_log = logging.getLogger("agent")


class Bell(threading.Thread):
    def __init__(self, config: Callable[[], Config], ring: Callable[[], None]) -> None:
        super().__init__(name="bell", daemon=True)
        self._config, self._ring = config, ring

    def run(self) -> None:
        refused, cut = Pauses(0.5, LONGEST_REFUSED_S), Pauses(0.5, LONGEST_CUT_S)
        while True:
            pauses = refused
            try:
                connection = self._connected()
                pauses, began = cut, time.monotonic()
                self._listen(connection)
            except (OSError, websocket.WebSocketException, ValueError) as trouble:
                _log.info("no socket: %s", str(trouble)[:200])
            if pauses is cut:
                refused.reset()
                if time.monotonic() - began > STABLE_S:
                    cut.reset()
            time.sleep(pauses.next())

    def _connected(self) -> Any:
        config = self._config()
        return websocket.create_connection(
            config.websocket_url,
            timeout=ANSWER_S,
            header=[f"{name}: {value}" for name, value in config.headers.items()],
            http_no_proxy=["*"],
            suppress_origin=True,
        )

    def _listen(self, connection: Any) -> None:
        try:
            watched(connection.sock)
            self._ring()  # what was rung before this connection was there
            self._hear(connection)
        finally:
            with suppress(OSError, websocket.WebSocketException):
                connection.close(timeout=1)

    def _hear(self, connection: Any) -> None:
        ends, ping_at, answered_by = time.monotonic() + RENEW_S, time.monotonic() + PING_S, None
        while time.monotonic() < ends:
            now = time.monotonic()
            if answered_by is not None and now > answered_by:
                raise OSError("no answer to a ping")
            if now >= ping_at:
                connection.send(json.dumps({"type": "ping"}))
                ping_at, answered_by = now + PING_S, now + ANSWER_S
            connection.settimeout(max(0.05, min(ping_at, answered_by or ping_at) - now))
            try:
                told = json.loads(connection.recv() or "null")
            except websocket.WebSocketTimeoutException:
                continue
            if told is None:
                raise OSError("the connection was closed")
            answered_by = None
            if isinstance(told, dict) and told.get("type") == "sync":
                self._ring()

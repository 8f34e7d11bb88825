"""API Gateway's open sockets and its @connections API: posts from any thread, in order, never waiting for a reader.

A post is accepted once it is in its connection's buffer, and that is all it waits for: the event loop writes it to the
socket when the client takes it. A client that does not read fills its own buffer, after which posts to it are answered
429, and holds up nobody else.
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from infra.local.asgi import Send
from infra.local.wire import Answer, Call, refusal

CONNECTIONS_PATH = "/@connections/"
MESSAGE_LIMIT = 128 * 1024
_BUFFER_LIMIT = 1024 * 1024
_FAREWELL_S = 10
_GONE = refusal(410, "GoneException", "the connection is gone")


class Gone(Exception):
    """The connection is closed, or not accepted yet."""


class Behind(Exception):
    """The client does not read, and its buffer is full."""


@dataclass(frozen=True)
class Client:
    """Who is at the other end."""

    address: str
    user_agent: str


class Connection:
    """One accepted socket. `post` and `close` may be called by any thread, `deliver` runs in the event loop."""

    def __init__(self, connection_id: str, client: Client, abort: Callable[[], None]) -> None:
        self.id = connection_id
        self.client = client
        self.opened = self.active = time.time()
        self._abort = abort
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._closing: tuple[int, str] | None = None
        self._news = asyncio.Event()
        self._told = False  # the loop has been told of news and has not looked yet

    def post(self, message: bytes) -> None:
        """Accept it for delivery. Raise `Gone`, `Behind`, or `UnicodeDecodeError` for what is not text."""
        text = message.decode()
        with self._lock:
            if self._closing:
                raise Gone
            if self._waiting_bytes + len(message) > _BUFFER_LIMIT:
                raise Behind
            self._waiting.append(text)
            self._waiting_bytes += len(message)
            self.active = time.time()
            self._tell()

    def close(self, code: int, reason: str) -> None:
        """End it, once what was accepted before is written or the client had time enough to read it."""
        with self._lock:
            if not self._closing:
                self._closing = (code, reason)
                self._tell()

    def touch(self) -> None:
        """The client said something."""
        self.active = time.time()

    def ended(self) -> None:
        """No more posts; a client that does not even read the end is left to itself after a while."""
        with self._lock:
            self._closing = self._closing or (1006, "")
        self._loop.call_later(_FAREWELL_S, self._abort)

    async def deliver(self, send: Send) -> None:
        """Write what is posted, in its order, until closed."""
        while True:
            await self._news.wait()
            with self._lock:
                self._news.clear()
                self._told = False
                messages, self._waiting = self._waiting, deque()
                closing = self._closing
            if closing:
                self._loop.call_later(_FAREWELL_S, self._abort)
            for text in messages:
                await send({"type": "websocket.send", "text": text})
                with self._lock:
                    self._waiting_bytes -= len(text) if text.isascii() else len(text.encode())
            if closing:
                await send({"type": "websocket.close", "code": closing[0], "reason": closing[1]})
                return

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._news.set)


class Connections:
    """Those open now, by id; answers `POST`, `GET` and `DELETE /@connections/{id}`, whoever asks."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}

    def add(self, connection: Connection) -> None:
        self._open[connection.id] = connection

    def remove(self, connection: Connection) -> None:
        self._open.pop(connection.id, None)

    def answer(self, call: Call) -> Answer:
        connection = self._open.get(unquote(call.path.partition(CONNECTIONS_PATH)[2]))
        if call.method == "POST" and len(call.body) > MESSAGE_LIMIT:
            return refusal(413, "PayloadTooLargeException", "a message ends at 128 KB")
        if connection is None:
            return _GONE
        try:
            return _asked(call, connection)
        except Gone:
            return _GONE
        except Behind:
            return refusal(429, "LimitExceededException", "the client does not read what it is sent")
        except UnicodeDecodeError:
            return refusal(400, "BadRequestException", "a message is UTF-8 text")


def _asked(call: Call, connection: Connection) -> Answer:
    if call.method == "POST":
        connection.post(call.body)
        return Answer(200, b"")
    if call.method == "DELETE":
        connection.close(1000, "Connection Closed Normally")
        return Answer(204, b"")
    if call.method == "GET":
        told = {
            "connectedAt": _written(connection.opened),
            "lastActiveAt": _written(connection.active),
            "identity": {"sourceIp": connection.client.address, "userAgent": connection.client.user_agent},
        }
        return Answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
    return refusal(501, "NotImplementedException", f"the local API Gateway does not offer {call.method} {call.path}")


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

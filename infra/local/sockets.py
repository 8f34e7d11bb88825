"""API Gateway's WebSocket API for one machine, and what CloudFront does in front of it.

A path becomes query parameters, as an edge function makes them of it, since a WebSocket API has no paths. Then
`$connect` decides; each message is an invocation of `$default` of its own, so several of one connection run at once and
in no order; `$disconnect` comes once, after the end. Limits are API Gateway's: frames of 32 KB, messages of 128 KB, ten
minutes without a message either way (pings are none), two hours in all.
"""

import asyncio
import base64
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from infra.local.asgi import Message, Receive, Scope, Send, client_of, respond
from infra.local.connections import MESSAGE_LIMIT, Client, Connection, Connections
from infra.local.gateway import Response, refused
from infra.local.lambdas import SOCKET_FUNCTIONS, Outcome
from infra.local.workers import Workers

log = logging.getLogger(__name__)

FRAME_LIMIT = 32 * 1024
RECEIVE_LIMITS = (MESSAGE_LIMIT, FRAME_LIMIT)

_PATHS = {
    re.compile(r"/api/services/([^/]+)/logs"): "service_id",
    re.compile(r"/api/jobs/([^/]+)/logs"): "job_id",
    re.compile(r"/api/agent/socket"): "agent",
}
_INTEGRATION_SECONDS = 29
_WORKERS = 64
_AT_ONCE_PER_CONNECTION = 32
_OURS = "slipway.abort"
_OK = range(200, 300)
_WORDS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited", 503: "unavailable"}

Query = dict[str, list[str]]


class Invoking(Protocol):
    def knows(self, name: str) -> bool: ...

    def invoke(self, name: str, payload: bytes) -> Outcome: ...


@dataclass(frozen=True)
class Limits:
    """How long a connection may be quiet, and how long it may last."""

    idle_seconds: float = 600
    lifetime_seconds: float = 7200

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Limits":
        """Raise `ValueError`, naming the variable, where a number is none."""
        given = {}
        for field in cls.__dataclass_fields__:
            variable = f"SLIPWAY_LOCAL_SOCKET_{field.upper()}"
            if variable in environment:
                given[field] = _seconds(variable, environment[variable])
        return cls(**given)


class Sockets:
    """ASGI for `websocket` scopes; `functions` has the app's handlers."""

    def __init__(self, functions: Invoking, connections: Connections, limits: Limits, stage: str) -> None:
        self._functions = functions
        self._connections = connections
        self._limits = limits
        self._stage = stage
        self._workers = Workers(_WORKERS, "socket")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        query = query_behind(scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1"))
        if query is None:
            await respond(refused(403, "forbidden", "there is no socket here"), send, "websocket.http")
            return
        caller = _Caller(scope, query, self._stage)
        outcome = await self._invoked("$connect", caller.connects())
        if isinstance(outcome, Response):
            await respond(outcome, send, "websocket.http")
            return
        accepted = _subprotocol(outcome)
        connection = Connection(caller.id, caller.client, scope["extensions"][_OURS])
        try:
            await send({"type": "websocket.accept", "subprotocol": accepted})
            self._connections.add(connection)
            await self._talk(connection, caller, receive, send)
        except ClientDisconnected:
            log.debug("%s went away", caller.id)
        finally:
            self._connections.remove(connection)
            connection.ended()
            # This one is told even if the front ends meanwhile: its worker goes on.
            await self._invoked("$disconnect", caller.disconnects())

    async def _talk(self, connection: Connection, caller: "_Caller", receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(_undisturbed(connection, send))
        watching = asyncio.create_task(self._watch(connection))
        turns = asyncio.Semaphore(_AT_ONCE_PER_CONNECTION)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                await turns.acquire()  # a client that says more than is done waits, as its socket is not read
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    caller.left(message)
                    return
                connection.touch()
                task = asyncio.create_task(self._message(connection, caller.says(message), turns))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            sending.cancel()
            watching.cancel()

    async def _message(self, connection: Connection, event: dict[str, Any], turns: asyncio.Semaphore) -> None:
        try:
            outcome = await self._invoked("$default", event)
        finally:
            turns.release()
        if isinstance(outcome, Response):
            _tell_of_failure(connection, event["requestContext"]["requestId"])

    async def _watch(self, connection: Connection) -> None:
        """Close it when its time is over."""
        while True:
            now = time.time()
            idle, old = connection.active + self._limits.idle_seconds, connection.opened + self._limits.lifetime_seconds
            if now >= min(idle, old):
                connection.close(1001, "Going away")
                return
            await asyncio.sleep(min(idle, old) - now)

    async def _invoked(self, route: str, event: dict[str, Any]) -> dict[str, Any] | Response:
        """What the handler answered; a `Response` is its refusal, or its failure."""
        name = SOCKET_FUNCTIONS[route]
        if not self._functions.knows(name):
            return {"statusCode": 200}
        payload = json.dumps(event).encode()
        request_id = event["requestContext"]["requestId"]
        try:
            async with asyncio.timeout(_INTEGRATION_SECONDS):
                outcome = await self._workers.run(lambda: self._functions.invoke(name, payload))
        except TimeoutError:
            log.warning("%s did not answer within %s s", route, _INTEGRATION_SECONDS)
            return refused(504, "host_timeout", f"no answer within {_INTEGRATION_SECONDS} seconds", request_id)
        answer = json.loads(outcome.payload)
        if outcome.failed:
            log.error("%s failed: %s: %s", route, answer.get("errorType"), answer.get("errorMessage"))
            return refused(502, "internal_error", "something went wrong here; the log says what", request_id)
        return _judged(answer, route, request_id)


class Transport(WebSocketsSansIOProtocol):
    """uvicorn's, but it can be ended though the client does not read, and lets a client read why it was ended."""

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[_OURS] = self.transport.abort
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # refused is answered, else uvicorn logs an error

    def handle_parser_exception(self) -> None:
        # Closing a socket with bytes unread resets it, and the reset would overtake the close frame: what still comes
        # is read and dropped until the client has closed its side.
        if self.close_sent:
            return
        close = self.conn.close_sent
        assert close is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)


class _Caller:
    """One client from its handshake on; makes the events its handlers get."""

    def __init__(self, scope: Scope, query: Query, stage: str) -> None:
        self.id = base64.urlsafe_b64encode(os.urandom(11)).decode()
        self._query = query
        self._stage = stage
        self._connected_at = _milliseconds()
        self._left: dict[str, Any] = {"disconnectStatusCode": 1006, "disconnectReason": ""}
        self._headers: Query = {}
        for name, value in scope["headers"]:
            if name.lower() not in (b"x-forwarded-for", b"x-forwarded-proto"):
                self._headers.setdefault(_as_clients_write(name.decode("latin-1")), []).append(value.decode("latin-1"))
        named = {name.lower(): values[-1] for name, values in self._headers.items()}
        self.client = Client(client_of(scope), named.get("user-agent", ""))
        self._domain = named.get("host", "")
        self._headers |= {"X-Forwarded-For": [self.client.address], "X-Forwarded-Proto": ["http"]}

    def connects(self) -> dict[str, Any]:
        return {
            **self._event("$connect", "CONNECT"),
            "headers": _last(self._headers),
            "multiValueHeaders": self._headers,
            "queryStringParameters": _last(self._query),
            "multiValueQueryStringParameters": self._query,
        }

    def says(self, message: Message) -> dict[str, Any]:
        text, data = message.get("text"), message.get("bytes")
        event = self._event("$default", "MESSAGE", {"messageId": _id()})
        if text is None:
            return {**event, "body": base64.b64encode(data or b"").decode(), "isBase64Encoded": True}
        return {**event, "body": text}

    def left(self, message: Message) -> None:
        self._left = {
            "disconnectStatusCode": message.get("code", 1005),
            "disconnectReason": message.get("reason") or "",
        }

    def disconnects(self) -> dict[str, Any]:
        return self._event("$disconnect", "DISCONNECT", self._left)

    def _event(self, route: str, kind: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request_id = _id()
        context = {
            "routeKey": route,
            "eventType": kind,
            "connectionId": self.id,
            "messageDirection": "IN",
            "apiId": "local",
            "stage": self._stage,
            "domainName": self._domain,
            "connectedAt": self._connected_at,
            "requestId": request_id,
            "extendedRequestId": request_id,
            "requestTime": datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": _milliseconds(),
            "identity": {"sourceIp": self.client.address, "userAgent": self.client.user_agent},
            **(more or {}),
        }
        return {"requestContext": context, "isBase64Encoded": False}


def query_behind(path: str, query: str) -> Query | None:
    """The query parameters that API Gateway gets; None where there is no socket."""
    for pattern, name in _PATHS.items():
        matched = pattern.fullmatch(path)
        if matched:
            kept: Query = {}
            for key, value in parse_qsl(query, keep_blank_values=True):
                if key not in _PATHS.values():
                    kept.setdefault(key, []).append(value)
            return {**kept, name: [unquote(matched[1]) if pattern.groups else "1"]}
    return None


async def _undisturbed(connection: Connection, send: Send) -> None:
    try:
        await connection.deliver(send)
    except ClientDisconnected:
        log.debug("%s went away before it got everything", connection.id)


def _tell_of_failure(connection: Connection, request_id: str) -> None:
    told = {"message": "Internal server error", "connectionId": connection.id, "requestId": request_id}
    try:
        connection.post(json.dumps(told).encode())
    except Exception as error:
        log.debug("%s was not told of a failure: %r", connection.id, error)


def _judged(answer: Any, route: str, request_id: str) -> dict[str, Any] | Response:
    status = answer.get("statusCode") if isinstance(answer, dict) else None
    if not isinstance(status, int) or not 100 <= status < 600:  # noqa: PLR2004
        log.error("%s answered what is no answer: %.200r", route, answer)
        return refused(502, "internal_error", "something went wrong here; the log says what", request_id)
    if route != "$connect" or status in _OK:
        return dict(answer)
    body = answer.get("body")
    if not body:
        return refused(status, _WORDS.get(status, "internal_error"), "this socket was refused", request_id)
    text = body if isinstance(body, str) else json.dumps(body)
    return Response(status, (("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)), text.encode())


def _as_clients_write(name: str) -> str:
    """API Gateway passes names as they were sent; uvicorn has only lower-case ones, which few clients send."""
    return name.title().replace("Websocket", "WebSocket")


def _subprotocol(answer: Mapping[str, Any]) -> str | None:
    headers = answer.get("headers") or {}
    return next((str(value) for name, value in headers.items() if name.lower() == "sec-websocket-protocol"), None)


def _last(values: Query) -> dict[str, str]:
    return {name: several[-1] for name, several in values.items()}


def _id() -> str:
    return str(uuid.uuid4())


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{variable} must be a number of seconds, not {text!r}")
    return seconds

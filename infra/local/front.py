"""The one public port: uvicorn in front, threads that run the app behind."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

import uvicorn

from infra.local.asgi import Receive, Scope, Send, body_of, request_of, respond
from infra.local.gateway import Request, Response, refused, too_large
from infra.local.sockets import RECEIVE_LIMITS, Transport
from infra.local.workers import Workers

log = logging.getLogger(__name__)

REQUEST_SECONDS = 29  # API Gateway's patience
_WORKERS = 128

Talking = Callable[[Scope, Receive, Send], Awaitable[None]]


class Answering(Protocol):
    def answer(self, request: Request) -> Response: ...


class Front:
    """Serves `gateway` and `sockets` on already bound sockets while the context lasts."""

    def __init__(self, listeners: Sequence[socket.socket], gateway: Answering, sockets: Talking | None = None) -> None:
        for listener in listeners:
            # Connections inherit it. asyncio sets it, but not on a socket it did not make: 44 ms an answer without.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listeners = list(listeners)
        limits: Any = RECEIVE_LIMITS  # the WebSocket library takes both of them, uvicorn passes on what it gets
        config = uvicorn.Config(
            _Application(gateway, sockets or _no_sockets),
            http="httptools",
            loop="asyncio",
            ws=Transport,
            ws_max_size=limits,
            ws_per_message_deflate=False,  # API Gateway compresses nothing, and pings nobody
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who calls is whose connection it is, whatever a header says
            backlog=1024,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, daemon=True, name="front")

    def __enter__(self) -> "Front":
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._server.started:
            raise RuntimeError("the front ended before it served; its log says why")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _serve(self) -> None:
        self._server.run(sockets=self._listeners)


class _Application:
    """ASGI: gathers a request, has it answered in a thread, sends the answer."""

    def __init__(self, gateway: Answering, sockets: Talking) -> None:
        self._gateway = gateway
        self._sockets = sockets
        self._workers = Workers(_WORKERS, "request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        else:
            await respond(await self._answer(scope, receive), send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        body = await body_of(receive)
        if body is None:
            return too_large()
        request = request_of(scope, body)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._workers.run(lambda: self._gateway.answer(request))
        except TimeoutError:
            return refused(504, "host_timeout", f"no answer within {REQUEST_SECONDS} seconds")


async def _no_sockets(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await respond(refused(503, "unavailable", "no sockets are offered here"), send, "websocket.http")

"""The one public port: uvicorn in front, threads that run the app behind.

The threads are daemons: a request that waits for a job must not hold up the end of the process.
"""

import asyncio
import logging
import queue
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

import uvicorn

from infra.local.gateway import BODY_LIMIT, Request, Response, refused, too_large

log = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

REQUEST_SECONDS = 29  # API Gateway's patience
_WORKERS = 128


class Answering(Protocol):
    def answer(self, request: Request) -> Response: ...


class Front:
    """Serves `gateway` on an already bound socket while the context lasts."""

    def __init__(self, listener: socket.socket, gateway: Answering) -> None:
        # Connections inherit it. asyncio would set it, but not on a socket it did not make: 44 ms an answer without.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener = listener
        config = uvicorn.Config(
            _Application(gateway),
            http="httptools",
            loop="asyncio",
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
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
        self._server.run(sockets=[self._listener])


class _Application:
    """ASGI: gathers a request, has it answered in a thread, sends the answer."""

    def __init__(self, gateway: Answering) -> None:
        self._gateway = gateway
        self._workers = _Workers(_WORKERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await _deny(scope, receive, send)
        else:
            await _send(await self._answer(scope, receive), send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        body = await _body(receive)
        if body is None:
            return too_large()
        request = _request(scope, body)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._workers.run(lambda: self._gateway.answer(request))
        except TimeoutError:
            return refused(504, "host_timeout", f"no answer within {REQUEST_SECONDS} seconds")


class _Workers:
    """Threads that take work in turn; a new one is made only when all are busy."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0  # both counts belong to the event loop

    async def run(self, work: Callable[[], Response]) -> Response:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        self._busy += 1
        if self._busy > self._threads < self._limit:
            self._threads += 1
            threading.Thread(target=self._take_turns, daemon=True, name=f"request-{self._threads}").start()

        def settle(result: Response | Exception) -> None:
            self._busy -= 1
            if answer.done():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        def turn() -> None:
            try:
                result: Response | Exception = work()
            except Exception as error:
                result = error
            try:
                loop.call_soon_threadsafe(settle, result)
            except RuntimeError:
                log.debug("answered after the end")

        self._work.put(turn)
        return await answer

    def _take_turns(self) -> None:
        while True:
            self._work.get()()


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is over the limit, read to the end so that the client gets to read the answer."""
    parts: list[bytes] = []
    length = 0
    more = True
    while more:
        message = await receive()
        part: bytes = message.get("body", b"")
        length += len(part)
        if length <= BODY_LIMIT:
            parts.append(part)
        more = message.get("more_body", False) and length <= 4 * BODY_LIMIT
    return b"".join(parts) if length <= BODY_LIMIT else None


def _request(scope: Scope, body: bytes) -> Request:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    client = scope["client"][0] if scope.get("client") else "127.0.0.1"
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        headers,
        body,
        client,
    )


async def _send(response: Response, send: Send, prefix: str = "http") -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
    if response.status >= 200 and response.status not in {204, 304}:  # noqa: PLR2004
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": f"{prefix}.response.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": response.body})


async def _deny(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        refusal = refused(503, "unavailable", "live logs are not offered here yet")
        await _send(refusal, send, "websocket.http")
    else:
        await send({"type": "websocket.close", "code": 1013})

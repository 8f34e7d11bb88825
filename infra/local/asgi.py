"""What uvicorn hands over, in our words: requests come as `Request`, answers go as `Response`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from infra.local.gateway import BODY_LIMIT, Request, Response

Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def body_of(receive: Receive) -> bytes | None:
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


def request_of(scope: Scope, body: bytes) -> Request:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        headers,
        body,
        client_of(scope),
    )


def client_of(scope: Scope) -> str:
    client: str = scope["client"][0] if scope.get("client") else "127.0.0.1"
    return client


async def respond(response: Response, send: Send, prefix: str = "http") -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
    if response.status >= 200 and response.status not in {204, 304}:  # noqa: PLR2004
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": f"{prefix}.response.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": response.body})

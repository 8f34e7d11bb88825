"""One HTTP request to something on this host, a container or the edge; HTTP/1.0, so that the answer ends by itself."""

from __future__ import annotations

import socket
from typing import Union

Address = Union[tuple[str, int], str]  # noqa: UP007 - python 3.9 evaluates this line
MOST = 1 << 20


def status(address: Address, path: str, host: str, timeout: float) -> int | None:
    """The status a GET is answered with; None where nothing answers, or what answers is not HTTP."""
    try:
        return exchange(address, "GET", path, host, b"", timeout, most=64)[0]
    except (OSError, ValueError, IndexError):
        return None


def listens(address: Address, timeout: float) -> bool:
    try:
        _connected(address, timeout).close()
    except OSError:
        return False
    return True


def exchange(
    address: Address, method: str, path: str, host: str, body: bytes, timeout: float, most: int = MOST
) -> tuple[int, bytes]:
    lines = (
        f"{method} {path} HTTP/1.0",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    head = "\r\n".join(lines) + "\r\n\r\n"
    with _connected(address, timeout) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while len(answer) < most and (part := connection.recv(1 << 16)):
            answer += part
    first, _, rest = answer.partition(b"\r\n")
    if not first.startswith(b"HTTP/"):
        raise ValueError("the answer is not HTTP")
    return int(first.split(b" ")[1]), rest.partition(b"\r\n\r\n")[2]


def _connected(address: Address, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection

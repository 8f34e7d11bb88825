"""The Docker Engine, by its HTTP API over its unix socket.

The `docker` command takes 20 ms to start and the API answers in one; and what we need is six kinds of request, so the
client is HTTP/1.0 by hand: an answer then is never chunked and ends when the connection does.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .refusals import Refused

NEWEST_API = (1, 51)  # the newest this kit was written against; an older engine is spoken to in its own
NOT_FOUND, CONFLICT, FIRST_ERROR = 404, 409, 400
_api: list[str] = []


class EngineError(Refused):
    """The engine answered with a status of 400 or more; whoever does not expect it passes it on as a refusal."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__("CommandFailed", f"Docker: {message}")
        self.status = status


def get(path: str, **query: Any) -> Any:
    return request("GET", path, query=query)


def post(path: str, body: Any = None, **query: Any) -> Any:
    return request("POST", path, body, query=query)


def delete(path: str, **query: Any) -> Any:
    return request("DELETE", path, query=query)


def request(method: str, path: str, body: Any = None, query: dict[str, Any] | None = None, timeout: float = 60) -> Any:
    with Stream(method, f"/v{api()}{path}", body, query, timeout=timeout) as stream:
        text = stream.rest()
    return json.loads(text) if text else None


def found(path: str, **query: Any) -> Any:
    """What is there, or None where the engine says it is not."""
    try:
        return get(path, **query)
    except EngineError as error:
        if error.status != NOT_FOUND:
            raise
        return None


def api() -> str:
    """The API version spoken: the engine's own, at most the newest we know. Asked once a process."""
    if not _api:
        with Stream("GET", "/_ping") as stream:
            offered = stream.headers.get("api-version", "1.41")
            stream.rest()
        _api.append(min(offered, "{}.{}".format(*NEWEST_API), key=_number))
    return _api[0]


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


class Stream:
    """One request and its answer's body, read as it comes."""

    def __init__(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> None:
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path}{_encoded(query)} HTTP/1.0", "Host: docker", f"Content-Length: {len(payload)}"]
        lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        self._socket = _connected(timeout)
        self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        self._file: Any = self._socket.makefile("rb", 1 << 16)
        self.status = int(self._status_line().split(b" ", 2)[1])
        self.headers = dict(self._header_lines())
        if self.status >= FIRST_ERROR:
            with self:
                raise EngineError(self.status, _message(self.rest()))

    def _status_line(self) -> bytes:
        try:
            line = bytes(self._file.readline())
        except OSError as error:
            raise Refused("HostNotReady", f"Docker stopped answering: {error}") from error
        if not line:
            raise Refused("HostNotReady", "Docker closed the connection without an answer")
        return line

    def _header_lines(self) -> Iterator[tuple[str, str]]:
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            yield name.lower(), value.strip()

    def read(self, size: int) -> bytes:
        return bytes(self._file.read(size))

    def some(self, size: int) -> bytes:
        """What has come, at least one byte of it; nothing at the end."""
        return bytes(self._file.read1(size))

    def rest(self) -> bytes:
        return bytes(self._file.read())

    def lines(self) -> Iterator[bytes]:
        return iter(self._file)

    def without_end(self) -> Stream:
        """From here on it may be quiet for as long as it likes."""
        self._socket.settimeout(None)
        return self

    def interrupt(self) -> None:
        """Whoever reads it, in another thread, finds it ended."""
        with suppress(OSError):  # it has ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()


def _connected(timeout: float) -> socket.socket:
    path = socket_path()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except PermissionError as error:
        connection.close()
        raise Refused("HostNotReady", f"Docker: this user may not use {path}; add it to the group docker") from error
    except OSError as error:
        connection.close()
        raise Refused("HostNotReady", f"Docker does not answer at {path}: {error.strerror}") from error
    return connection


def socket_path() -> str:
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        raise Refused("HostNotReady", f"DOCKER_HOST is {address}; only a unix:// socket is supported")
    return address[len("unix://") :]


def _encoded(query: dict[str, Any] | None) -> str:
    if not query:
        return ""
    words = [
        f"{name}={_quoted(value if isinstance(value, str) else json.dumps(value))}" for name, value in query.items()
    ]
    return "?" + "&".join(words)


def _quoted(text: str) -> str:
    # urllib.parse would cost every verb 8 ms of imports
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()

"""The verb `logs`: the last lines of all of a service's containers, as one.

The engine sends frames: eight bytes of header, then a time and up to 16 KiB of a line. A longer line comes in pieces,
each with its own time. A container with a terminal sends the same without headers.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from . import clock, engine, places
from .together import together

PIECE = 16384  # what the engine's log driver cuts lines at
STREAMS = {1: "stdout", 2: "stderr"}
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d) ")

Entry = dict[str, str]


def logs(request: dict[str, Any]) -> dict[str, Any]:
    service = places.service_id(request["service"])
    rows = engine.get("/containers/json", all=1, filters={"label": [f"slipway.service={service}"]})
    share = int(request.get("limit_bytes") or 4_000_000) // max(1, len(rows))
    read = together(*(partial(_of_container, row["Id"], request, share) for row in rows))
    merged = sorted((entry for entries, _ in read for entry in entries), key=lambda entry: entry["timestamp"])
    tail = _tail(request)
    return {
        "entries": merged[len(merged) - min(tail, len(merged)) :],
        "truncated": any(cut for _, cut in read),
        "containers": [row["Id"][:12] for row in rows],
    }


def _tail(request: dict[str, Any]) -> int:
    tail = request.get("tail")
    return 100 if tail is None else int(tail)


def _of_container(container: str, request: dict[str, Any], most: int) -> tuple[list[Entry], bool]:
    detail = engine.found(f"/containers/{container}/json")
    if detail is None:
        return [], False
    name = detail["Config"]["Labels"].get("com.docker.compose.service") or detail["Name"].lstrip("/")
    query: dict[str, Any] = {
        "stdout": "true",
        "stderr": "true",
        "timestamps": "true",
        "tail": str(_tail(request)),
    }
    if request.get("since"):
        query["since"] = "{}.{:09d}".format(*divmod(clock.nanoseconds(request["since"]), 10**9))
    try:
        with engine.Stream("GET", f"/v{engine.api()}/containers/{container}/logs", None, query) as stream:
            lines = terminal_lines(stream) if detail["Config"]["Tty"] else framed_lines(stream)
            return _last(lines, name, most)
    except engine.EngineError as error:  # a log driver that cannot be read, or a container that has just gone
        return [{"timestamp": clock.now(), "stream": "system", "message": error.message, "container": name}], False


def _last(lines: Iterable[tuple[str, bytes, bytes]], container: str, most: int) -> tuple[list[Entry], bool]:
    """The last lines that fit into `most` bytes, and whether any did not."""
    kept: deque[tuple[str, bytes, bytes]] = deque()
    size, cut = 0, False
    for line in lines:
        kept.append(line)
        size += len(line[2])
        while size > most and kept:
            size -= len(kept.popleft()[2])
            cut = True
    return [_entry(*line, container) for line in kept], cut


def _entry(stream: str, stamp: bytes, message: bytes, container: str) -> Entry:
    text = message.decode("utf-8", "replace")
    return {"timestamp": stamp.decode(), "stream": stream, "message": text, "container": container}


def framed_lines(stream: Any) -> Iterator[tuple[str, bytes, bytes]]:
    """(stream, time, line) of a container without a terminal."""
    unfinished: dict[str, tuple[bytes, list[bytes]]] = {}
    while len(header := stream.read(8)) == 8:  # noqa: PLR2004 - the frame's header
        name = STREAMS.get(header[0], "stdout")
        stamp, _, text = stream.read(int.from_bytes(header[4:], "big")).partition(b" ")
        first, pieces = unfinished.pop(name, (stamp, []))
        pieces.append(text)
        if text.endswith(b"\n"):
            yield name, first, b"".join(pieces).rstrip(b"\r\n")
        else:
            unfinished[name] = (first, pieces)
    for name, (first, pieces) in unfinished.items():
        yield name, first, b"".join(pieces)


def terminal_lines(stream: Any) -> Iterator[tuple[str, bytes, bytes]]:
    """The same of a container with a terminal, whose long lines have a time in their middle every 16 KiB."""
    for line in stream.lines():
        match = _STAMP.match(line)
        if match is None:
            continue
        yield "stdout", match.group()[:-1], _joined(line[match.end() :]).rstrip(b"\r\n")


def _joined(line: bytes) -> bytes:
    pieces = [line[:PIECE]]
    rest = line[PIECE:]
    while match := _STAMP.match(rest):
        pieces.append(rest[match.end() :][:PIECE])
        rest = rest[match.end() :][PIECE:]
    return b"".join([*pieces, rest])

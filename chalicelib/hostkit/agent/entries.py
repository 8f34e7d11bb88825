"""Lines as followers get them: made once, as JSON text, however many follow."""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import NamedTuple

from .. import clock
from .cursor import Mark, Pair
from .lines import Line

_NAMES = {1: '"stdout"', 2: '"stderr"'}
_SECONDS = 19  # characters of a time up to its seconds
_NINE = 9


class Entry(NamedTuple):
    text: bytes
    cursor: str
    pair: Pair | None = None  # none: it is no line of a container
    mark: Mark = (0, 0)
    partial: bool = False


class Times:
    """Times as numbers. Lines come many to the second, and the second is the dear part."""

    def __init__(self) -> None:
        self._second, self._nanoseconds = b"", 0

    def of(self, stamp: bytes) -> int:
        if not stamp.endswith(b"Z"):
            return clock.nanoseconds(stamp.decode())
        if stamp[:_SECONDS] != self._second:
            self._second = stamp[:_SECONDS]
            self._nanoseconds = clock.nanoseconds(self._second.decode() + "Z")
        decimals = stamp[_SECONDS + 1 : -1]
        return self._nanoseconds + int(decimals if len(decimals) == _NINE else decimals.ljust(_NINE, b"0"))


def beginning(line: Line, name: str) -> str:
    """A line's entry up to its cursor. `name` is the container's, as JSON."""
    message = encode_basestring(line.text.decode("utf-8", "replace"))
    partial = ',"partial":true' if line.partial else ""
    return (
        f'{{"timestamp":"{line.stamp.decode()}","stream":{_NAMES[line.stream]},"message":{message}'
        f',"container":{name}{partial}'
    )


def ended(beginning: str, cursor: str) -> bytes:
    return f'{beginning},"cursor":"{cursor}"}}'.encode()


def named(container: str) -> str:
    return encode_basestring(container)


def system(message: str, container: str, cursor: str) -> bytes:
    """What we say ourselves in a stream of lines."""
    fields = {"timestamp": clock.now(), "stream": "system", "message": message, "container": container}
    return json.dumps({**fields, "cursor": cursor}, separators=(",", ":"), ensure_ascii=False).encode()


def lost(pair: Pair, since: int, until: int, name: str, cursor: str) -> Entry:
    message = (
        f"lines of {json.loads(name)} may be lost here: its log was rotated before it could be read, "
        f"from {moment(since)} to {moment(until)}"
    )
    return Entry(system(message, json.loads(name), cursor), cursor, pair, (until, 0))


def moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return clock.rfc3339(seconds)[:_SECONDS] + f".{rest:09d}Z"

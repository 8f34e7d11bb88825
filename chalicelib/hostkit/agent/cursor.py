"""Where a follower is: how far each stream of each container has been delivered, and its text, the cursor.

Times never go backwards within one stream of one container, but they do between its stdout and its stderr, so a single
time would lose lines. A mark is a time and how many lines of exactly that time were delivered.
"""

from __future__ import annotations

import binascii
import struct

Pair = tuple[str, int]  # the first 12 digits of a container's id, and 1 for stdout or 2 for stderr
Mark = tuple[int, int]  # nanoseconds, and how many lines of that very time

WHOLE = 0xFFFF  # every line of that time
LONGEST = 4096  # characters, as the control plane checks
# The engine writes a line some milliseconds after it looked at the clock; seen at most 18 ms.
OVERLAP_NS = 2_000_000_000

_NONE: Mark = (0, 0)
_SERVICE, _JOB = 1, 2
_HEAD = struct.Struct(">BQ")
_PAIR = struct.Struct(">6sBQH")
_MOST_PAIRS = (LONGEST * 3 // 4 - _HEAD.size - 3) // _PAIR.size


class Unreadable(ValueError):
    """This text is no cursor of ours."""


class Position:
    """How far each pair has come. One that is not listed: to the floor, all of its lines up to that time."""

    __slots__ = ("_packed", "floor", "pairs")

    def __init__(self, floor: int = 0, pairs: dict[Pair, Mark] | None = None) -> None:
        self.floor = max(0, floor)
        self.pairs: dict[Pair, Mark] = {}
        self._packed: dict[Pair, bytes] = {}
        for pair, mark in (pairs or {}).items():
            self.put(pair, mark)

    def put(self, pair: Pair, mark: Mark) -> None:
        self.pairs[pair] = mark
        self._packed[pair] = _PAIR.pack(bytes.fromhex(pair[0]), pair[1], mark[0], min(mark[1], WHOLE))

    def mark(self, pair: Pair) -> Mark:
        return self.pairs.get(pair) or (self.floor, WHOLE)

    def covers(self, pair: Pair, mark: Mark) -> bool:
        """Whether that line of the pair has been delivered."""
        return mark <= (self.pairs.get(pair) or (self.floor, WHOLE))

    def reaches(self, other: Position) -> bool:
        """Whether everything that `other` covers is covered here."""
        return self.floor >= other.floor and all(self.covers(pair, mark) for pair, mark in other.pairs.items())

    def joined(self, other: Position) -> Position:
        """What either covers. What the higher floor covers is listed no more."""
        joined = Position(max(self.floor, other.floor))
        for pair in self.pairs.keys() | other.pairs.keys():
            mark = max(self.pairs.get(pair, _NONE), other.pairs.get(pair, _NONE))
            if not joined.covers(pair, mark):
                joined.put(pair, mark)
        return joined

    def only(self, containers: set[str]) -> Position:
        """Without the pairs of containers that are gone."""
        return Position(self.floor, {pair: mark for pair, mark in self.pairs.items() if pair[0] in containers})

    def since(self, container: str) -> int:
        """From when on a container's log must be read, that time included, so that no line is missed."""
        times = [self.mark((container, stream))[0] for stream in (1, 2)]
        return max(min(times), max(times) - OVERLAP_NS, 0)

    def text(self) -> str:
        raw = _HEAD.pack(_SERVICE, self.floor) + b"".join(self._packed.values())
        if len(self._packed) > _MOST_PAIRS:
            return self._newest().text()
        return _text_of(raw)

    def _newest(self) -> Position:
        """What fits into a cursor: the pairs that moved last, the floor where the others are."""
        ordered = sorted(self.pairs.items(), key=lambda item: item[1])
        dropped, kept = ordered[: len(ordered) - _MOST_PAIRS], ordered[len(ordered) - _MOST_PAIRS :]
        return Position(max(self.floor, dropped[-1][1][0]), dict(kept))


def read(text: str) -> Position:
    raw = _raw(text, _SERVICE)
    if len(raw) < _HEAD.size or (len(raw) - _HEAD.size) % _PAIR.size:
        raise Unreadable(text)
    position = Position(_HEAD.unpack_from(raw)[1])
    for container, stream, time, count in _PAIR.iter_unpack(raw[_HEAD.size :]):
        if stream not in (1, 2):
            raise Unreadable(text)
        position.put((container.hex(), stream), (time, count))
    return position


def of_file(name: str, offset: int) -> str:
    """The cursor of a job's output: a file of it, and how many bytes of that were delivered."""
    return _text_of(_HEAD.pack(_JOB, offset) + name.encode())


def read_file(text: str) -> tuple[str, int]:
    raw = _raw(text, _JOB)
    try:
        return raw[_HEAD.size :].decode("ascii"), int(_HEAD.unpack_from(raw)[1])
    except (UnicodeDecodeError, struct.error) as error:
        raise Unreadable(text) from error


def _text_of(raw: bytes) -> str:
    # base64.urlsafe_b64encode does this and three things more; it is asked for every line
    return binascii.b2a_base64(raw, newline=False).decode().rstrip("=").replace("+", "-").replace("/", "_")


def _raw(text: str, kind: int) -> bytes:
    try:
        padded = text.replace("-", "+").replace("_", "/").encode("ascii") + b"=" * (-len(text) % 4)
        raw = binascii.a2b_base64(padded)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Unreadable(text) from error
    if not raw or raw[0] != kind or len(text) > LONGEST:
        raise Unreadable(text)
    return raw

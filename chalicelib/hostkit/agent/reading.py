"""What is new in a log that is read again from a time on: duplicates are dropped, what is missing is noticed."""

from __future__ import annotations

from typing import NamedTuple

from .cursor import Mark, Pair, Position
from .lines import Line

_NOTHING: tuple[Mark, bytes] = ((0, 0), b"")


class Gap(NamedTuple):
    pair: Pair
    since: int
    until: int


class Sieve:
    """One reading of one container's log, from `position.since(container)` on.

    Docker 20.10 sends lines twice when a log is rotated under its reader; as times never go backwards within a stream,
    those are known by their time, as the overlap of two readings is. The very last line again is known by its text.
    """

    def __init__(self, container: str, position: Position) -> None:
        self._container = container
        since = position.since(container)
        marks = {stream: position.pairs.get((container, stream)) for stream in (1, 2)}
        # The last line delivered comes again; where it does not, the log no longer reaches back to it.
        self._expected = {stream: mark[0] for stream, mark in marks.items() if mark and mark[1] and mark[0] >= since}
        self._last: dict[int, tuple[Mark, bytes]] = {}
        self._continued: dict[int, Mark] = {}  # of a line that comes in parts

    def mark(self, time: int, line: Line) -> Mark:
        """Where this line is: the next one read of its stream."""
        stream = line.stream
        mark = self._continued.pop(stream, None) or self._next(stream, time, line.text)
        if line.partial:
            self._continued[stream] = mark
        return mark

    def gap(self, stream: int, time: int) -> Gap | None:
        """What is missing before this line, which is new."""
        expected = self._expected.pop(stream, None)
        return None if expected is None else Gap((self._container, stream), expected, time)

    def _next(self, stream: int, time: int, text: bytes) -> Mark:
        (before, count), last = self._last.get(stream, _NOTHING)
        mark = (time, count + (text != last) if time == before else 1)
        self._last[stream] = (mark, text)
        if self._expected.get(stream) == time:
            del self._expected[stream]
        return mark

"""What is new in a log that is read again from a time on: duplicates are dropped, what is missing is noticed."""

from __future__ import annotations

from typing import NamedTuple

from .cursor import Mark, Pair, Position
from .lines import Line

BEHIND_NS = 50_000_000
HOLE_NS = 5_000_000
NEVER = 1 << 62
FASTEST = 60_000_000  # bytes a second; 30 million were seen
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


class Holes:
    """Finds the places where the engine may have skipped a file that was rotated away under a reader.

    It does so without a word, and only to one who is behind; it leaves a hole in the times. Whether lines are missing
    there is told by reading on from the line before in a new request. Where they are not, whoever writes pauses like
    that, and only longer pauses are looked into until the reader has caught up. `file_bytes`: a hole in which no
    engine could fill a file is none.
    """

    def __init__(self, file_bytes: int | None) -> None:
        self._shortest = max(HOLE_NS, file_bytes * 10**9 // FASTEST) if file_bytes else NEVER
        self._late = min(BEHIND_NS, self._shortest)  # small files are passed by in little time
        self.behind = False
        self._before = 0  # the time of the last line that is new, if that was the last one read
        self._least = self._shortest
        self._doubted: tuple[int, int] | None = None  # the hole at which reading began again, and where it ended

    def opened(self) -> None:
        self._before, self.behind = 0, False

    def sound(self, times: list[int], new: list[bool], now: int) -> int:
        """How many of these lines surely follow each other."""
        self.behind = new[-1] and now - times[-1] > self._late
        if now - times[0] < self._late:
            self._least, self._doubted = self._shortest, None
            self._before = times[-1] if new[-1] else 0
            return len(times)
        for count, (time, is_new) in enumerate(zip(times, new)):  # noqa: B905 - python 3.9 has no `strict`
            if is_new and self._is_doubtful(time):
                return count
            self._before = time if is_new else 0
        return len(times)

    def _is_doubtful(self, time: int) -> bool:
        if self._doubted:
            hole, end = self._doubted
            self._doubted = None
            self._least = 2 * hole if time == end else self._shortest
            return False
        hole = time - self._before
        if not self._before or hole <= self._least:
            return False
        self._doubted = (hole, time)
        return True

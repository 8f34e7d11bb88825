"""What was written before: the lines between a follower's position and the shared stream's, in order of time.

Each container's log is read once to its present end, all of them side by side, so a backlog of any length takes little
memory; what is read waits until the lane has room.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from .. import clock, engine
from ..refusals import Refused
from . import containers, cursor, entries
from .containers import Container
from .cursor import Mark, Pair, Position
from .entries import Entry
from .followers import MOST_QUEUED, Follower, Followers
from .lines import BrokenStream, Line
from .reading import Sieve
from .shared import SETTLED_NS, UNREADABLE

READERS = 8
FALLBACK_LINES = 100
ATTEMPTS = 3  # to find the end of a log that was seen before


class Cancelled(Exception):
    """Nobody waits for this backlog any more."""


class Incomplete(Exception):
    """A log ended before what is known to be in it."""


class Backlogs:
    """Those who read backlogs, a few at a time."""

    def __init__(self, followers: Followers) -> None:
        self._followers = followers
        self._turn = followers.turn

    def start(self) -> None:
        for number in range(READERS):
            threading.Thread(target=self._work, name=f"backlog {number}", daemon=True).start()

    def _work(self) -> None:
        while True:
            follower, reading = self._next()
            try:
                self._read(follower, reading)
            except Cancelled:
                continue
            except (Refused, BrokenStream, Incomplete, OSError, ValueError):  # the engine is away, or has cut it off
                with self._turn:
                    if follower.reading == reading:
                        self._followers.failed(follower)

    def _next(self) -> tuple[Follower, int]:
        with self._turn:
            while True:
                now, pause = time.monotonic(), None
                for follower in list(self._followers.to_read):
                    if follower.not_before > now or follower.queue or follower.in_flight:
                        wait = max(0.05, follower.not_before - now)
                        pause = wait if pause is None else min(pause, wait)
                        continue
                    self._followers.to_read.remove(follower)
                    if self._followers.services.get(follower.number) is follower:
                        return follower, follower.reading
                self._turn.wait(pause)

    def _read(self, follower: Follower, reading: int) -> None:
        position = follower.position or self._started(follower, reading)
        with self._turn:
            stream = self._followers.streams.get(follower.service)
            if stream is None or follower.reading != reading:
                raise Cancelled
            target, known = cursor.read(stream.packed), {pair[0] for pair in stream.position.pairs}
            attempts = follower.failures
        found = containers.of_service(follower.service)
        position = position.only(known | {container.short for container in found})
        moving = Position(position.floor, position.pairs)
        logs = [_lines(container, position, target, strict=attempts < ATTEMPTS) for container in found]
        for _, pair, mark, line, label in heapq.merge(*logs, key=_time):
            for entry in _entries(moving, pair, mark, line, label):
                self._put(follower, reading, entry)
        with self._turn:
            if follower.reading == reading:
                follower.until = moving.joined(target)
                self._followers.maybe_ready(follower)

    def _started(self, follower: Follower, reading: int) -> Position:
        """Where he wants to begin."""
        position, unreadable = start_of(follower.service, follower.start)
        with self._turn:
            if follower.reading != reading:
                raise Cancelled
            follower.position = position
        if unreadable:
            message = f"the cursor cannot be read; showing the last {FALLBACK_LINES} lines"
            text = position.text()
            self._put(follower, reading, Entry(entries.system(message, "", text), text))
        return position

    def _put(self, follower: Follower, reading: int, entry: Entry) -> None:
        with self._turn:
            while follower.reading == reading and follower.size > MOST_QUEUED:
                self._turn.wait()
            if follower.reading != reading:
                raise Cancelled
            follower.queue.append(entry)
            follower.size += len(entry.text)
            if len(follower.queue) == 1:
                self._turn.notify_all()


def start_of(service: str, start: dict[str, Any]) -> tuple[Position, bool]:
    """The position that a follower asks for, and whether he asked for one that cannot be read."""
    if "cursor" in start:
        try:
            return cursor.read(str(start["cursor"])), False
        except cursor.Unreadable:
            return _tail(service, FALLBACK_LINES), True
    if "since" in start:
        return Position(clock.nanoseconds(str(start["since"])) - 1), False
    tail = start.get("tail", FALLBACK_LINES)
    return (Position() if tail == "all" else _tail(service, int(tail))), False


def _tail(service: str, lines: int) -> Position:
    """Before the last so many lines of all containers together."""
    last: deque[tuple[int, Pair, Mark]] = deque(maxlen=lines)
    if lines:
        found = [_marks(container, lines) for container in containers.of_service(service)]
        last.extend(heapq.merge(*found))
    if not last:
        return Position(time.time_ns() - (SETTLED_NS if lines else 0))
    # What was written before the first of them is left out, whatever container wrote it.
    position = Position(last[0][0] - 1)
    first: dict[Pair, Mark] = {}
    for _, pair, mark in last:
        first.setdefault(pair, mark)
    for pair, (moment, count) in first.items():
        position.put(pair, (moment, count - 1))
    return position


def _marks(container: Container, lines: int) -> list[tuple[int, Pair, Mark]]:
    times, sieve = entries.Times(), Sieve(container.short, Position())
    last: deque[tuple[int, Pair, Mark]] = deque(maxlen=lines)
    for line in _read_log(container, tail=str(lines)):
        moment = times.of(line.stamp)
        mark = sieve.mark(moment, line)
        if not line.partial:
            last.append((moment, (container.short, line.stream), mark))
    return sorted(last)


def _read_log(container: Container, since: int = 0, tail: str = "") -> Iterator[Line]:
    try:
        log = containers.Log(container.id, since=since, tail=tail)
    except engine.EngineError as error:
        if error.status in (*UNREADABLE, engine.NOT_FOUND):
            return  # it has just gone, or its log driver keeps nothing
        raise
    with log:
        while (lines := log.read()) is not None:
            yield from lines
        # An engine that ends in the middle ends the stream like this too; only one that lives has told everything.
        if not containers.running(container.id):
            yield from log.ended()


def _lines(
    container: Container, position: Position, target: Position, *, strict: bool
) -> Iterator[tuple[int, Pair, Mark, Line | tuple[int, int], str]]:
    """What is new up to the target; two times in place of a line tell of a gap."""
    own, sieve, times = Position(position.floor, position.pairs), Sieve(container.short, position), entries.Times()
    label = entries.named(container.name)
    missing = {
        pair: mark for pair, mark in target.pairs.items() if pair[0] == container.short and not own.covers(pair, mark)
    }
    for line in _read_log(container, position.since(container.short)):
        moment, pair = times.of(line.stamp), (container.short, line.stream)
        mark = sieve.mark(moment, line)
        if not line.partial and pair in missing and mark >= missing[pair]:
            del missing[pair]
        if own.covers(pair, mark):
            continue
        gap = sieve.gap(line.stream, moment)
        if gap:
            yield moment, pair, (moment, 0), (gap.since, gap.until), label
        if not target.covers(pair, mark):
            continue
        if not line.partial:
            own.put(pair, mark)
        yield moment, pair, mark, line, label
    if missing and strict and containers.running(container.id) is not None:
        raise Incomplete(container.name)


def _entries(moving: Position, pair: Pair, mark: Mark, line: Line | tuple[int, int], label: str) -> Iterator[Entry]:
    if not isinstance(line, Line):
        moving.put(pair, mark)
        yield entries.lost(pair, line[0], line[1], label, moving.text())
        return
    if not line.partial:
        moving.put(pair, mark)
    text = moving.text()
    yield Entry(entries.ended(entries.beginning(line, label), text), text, pair, mark, line.partial)


def _time(placed: tuple[int, Pair, Mark, Any, str]) -> int:
    return placed[0]

"""A service's lines as they are written, read once for all of its followers.

Each running container has a reader. What they read stands in one order, `fresh`, until the live lane packs it; what was
packed is `kept` for a while, so that a follower whose backlog ends somewhere in it joins there, without a seam.
Everything here is touched under `turn`, the agent's one lock. A reader whose service has too much waiting reads no
further: the engine then waits too, and its log keeps what is to come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from time import time_ns

from .. import engine
from ..refusals import Refused
from . import containers, entries
from .containers import Container
from .cursor import Position
from .entries import Entry
from .lines import BrokenStream, Line
from .reading import Holes, Sieve
from .turn import Turn

# Where the shared stream begins: what was written before is in the log by now, and belongs to backlogs.
SETTLED_NS = 2_000_000_000
MOST_WAITING = 1 << 20  # bytes of one service
MOST_WAITING_ALL = 6 << 20
ALWAYS = 1 << 16  # one service may have this much waiting, however much the others have
MOST_KEPT = 1 << 20
GATHER_S = 0.003  # the engine hands over each line by itself; taking them a few at a time costs half as much
# A quiet log may be one that the engine has stopped sending; how long until that is looked into.
PATIENT_S, IMPATIENT_S = 60.0, 1.0
PAUSES_S = (0.1, 0.3, 1.0, 3.0)
UNREADABLE = (400, 501)  # a log driver whose logs cannot be read


class Waiting:
    """How many bytes wait in all streams together."""

    def __init__(self) -> None:
        self.size = 0


class SharedStream:
    def __init__(self, service: str, turn: Turn, waiting: Waiting) -> None:
        self.service = service
        self.turn = turn
        self.live: set[int] = set()  # the followers that get what is packed
        self.position = Position(time_ns() - SETTLED_NS)
        self.base = self.packed = self.delivered = self.position.text()
        self.kept: deque[Entry] = deque()
        self.fresh: deque[Entry] = deque()
        self.said = time.monotonic()  # when its followers last got anything
        self._waiting = waiting
        self._size = 0
        self._kept_size = 0
        self._readers: dict[str, Reader] = {}
        self.closed = False

    def look(self) -> None:
        """Read the containers that there are now, each from where it was left."""
        found = containers.of_service(self.service)
        with self.turn:
            if self.closed:
                return
            for container in found:
                reader = self._readers.get(container.id)
                if reader is None or (reader.over and container.running):
                    reader = self._readers[container.id] = Reader(self, container)
                    reader.start()
                reader.label = entries.named(container.name)
            self._forget({container.id for container in found})

    def add(self, reader: Reader, lines: list[Line], times: list[int]) -> None:
        """Lines as they were read, and when they were written: those that are new take their place."""
        beginnings = [entries.beginning(line, reader.label) for line in lines]
        with self.turn:
            for line, moment, beginning in zip(lines, times, beginnings):  # noqa: B905 - python 3.9 has no `strict`
                self._add(reader, line, moment, beginning)
            self.turn.lines.notify_all()

    def say(self, message: str) -> None:
        """Tell its followers something of our own."""
        text = self.position.text()
        self._append(Entry(entries.system(message, "", text), text))

    def take(self, count: int) -> list[Entry]:
        """The next entries, for packing."""
        taken = [self.fresh.popleft() for _ in range(count)]
        if taken:
            self._drained(sum(len(entry.text) for entry in taken))
            self.packed = taken[-1].cursor
        return taken

    def keep(self, taken: list[Entry], *, wanted: bool) -> None:
        """Keep what was packed while there are followers who may join in it."""
        self.kept.extend(taken)
        self._kept_size += sum(len(entry.text) for entry in taken)
        partial = False
        while self.kept and (partial or not wanted or self._kept_size > MOST_KEPT):
            oldest = self.kept.popleft()
            partial = oldest.partial  # the parts of one line go together
            self._kept_size -= len(oldest.text)
            self.base = oldest.cursor

    def wait_for_room(self, reader: Reader) -> None:
        with self.turn:
            while not reader.closing.is_set() and self._is_full():
                self.turn.wait()

    def close(self) -> None:
        """Nobody follows any more."""
        self.closed = True
        for reader in self._readers.values():
            reader.close()
        self._drained(self._size)
        self.fresh.clear()
        self.kept.clear()

    def reads(self, container: str) -> bool:
        """Whether lines of this container (the first digits of its id) still come."""
        return any(one.short == container and not reader.over for one, reader in self._all())

    def _all(self) -> list[tuple[Container, Reader]]:
        return [(reader.container, reader) for reader in self._readers.values()]

    def _add(self, reader: Reader, line: Line, moment: int, beginning: str) -> None:
        pair = (reader.container.short, line.stream)
        mark = reader.sieve.mark(moment, line)
        if self.position.covers(pair, mark):
            return
        gap = reader.sieve.gap(line.stream, moment)
        if gap:
            self.position.put(pair, (moment, 0))
            self._append(entries.lost(pair, gap.since, gap.until, reader.label, self.position.text()))
        if not line.partial:
            self.position.put(pair, mark)
        text = self.position.text()
        self._append(Entry(entries.ended(beginning, text), text, pair, mark, line.partial))

    def _append(self, entry: Entry) -> None:
        if self.closed:
            return
        self.fresh.append(entry)
        self._size += len(entry.text)
        self._waiting.size += len(entry.text)

    def _drained(self, size: int) -> None:
        self._size -= size
        self._waiting.size -= size
        self.turn.notify_all()

    def _is_full(self) -> bool:
        return self._size > MOST_WAITING or (self._waiting.size > MOST_WAITING_ALL and self._size > ALWAYS)

    def _forget(self, there: set[str]) -> None:
        """Containers that are gone, once nothing of them waits or is kept."""
        for name, reader in list(self._readers.items()):
            short = reader.container.short
            if name in there or not reader.over:
                continue
            if any(entry.pair and entry.pair[0] == short for held in (self.kept, self.fresh) for entry in held):
                continue
            del self._readers[name]
            self.position = self.position.only({one.short for one, _ in self._all()})


class Reader(threading.Thread):
    """Follows one container until it ends."""

    def __init__(self, stream: SharedStream, container: Container) -> None:
        super().__init__(name=f"read {container.name}", daemon=True)
        self.container = container
        self.label = entries.named(container.name)
        self.times = entries.Times()
        self.sieve = Sieve(container.short, stream.position)
        self.over = False
        self.closing = threading.Event()
        self._stream = stream
        self._log: containers.Log | None = None
        self._asked = False  # how its log is rotated
        self._opened_at: dict[int, int] = {}  # up to where each stream was read when the log was opened
        self._holes = Holes(None)

    def run(self) -> None:
        pauses = iter(PAUSES_S)
        pause = PAUSES_S[0]
        while not self.closing.is_set():
            came, ended = self._read()
            if ended:
                break
            if came:
                pauses = iter(PAUSES_S)
            pause = next(pauses, pause)
            time.sleep(pause)
        with self._stream.turn:
            self.over = True
        self._look_again()

    def close(self) -> None:
        self.closing.set()
        if self._log is not None:
            self._log.interrupt()

    def _read(self) -> tuple[bool, bool]:
        """Whether anything came, and whether nothing more will."""
        try:
            return self._followed()
        except engine.EngineError as error:
            if error.status in UNREADABLE:
                with self._stream.turn:
                    self._stream.say(error.message)
                return False, True
            return False, error.status == engine.NOT_FOUND
        except (Refused, BrokenStream, OSError, ValueError):  # the engine is away
            return False, False

    def _followed(self) -> tuple[bool, bool]:
        came = False
        if not self._asked:
            self._holes, self._asked = Holes(containers.rotated_after(self.container.id)), True
        with self._stream.turn:
            since = self._stream.position.since(self.container.short)
            self.sieve = Sieve(self.container.short, self._stream.position)
            marks = {stream: self._stream.position.mark((self.container.short, stream)) for stream in (1, 2)}
        self._opened_at = {stream: mark[0] for stream, mark in marks.items()}
        self._holes.opened()
        with containers.Log(self.container.id, since=since, follow=True) as log:
            self._log = log
            while not self.closing.is_set():
                if log.quiet(IMPATIENT_S if self._holes.behind else PATIENT_S):
                    if self._has_been_left():
                        return True, False
                    continue
                lines = log.read()
                if lines is None:
                    break
                came = True
                self._stream.wait_for_room(self)
                if self.closing.is_set():
                    break
                if not self._take(lines):
                    return True, False
                time.sleep(GATHER_S)
            if self.closing.is_set():
                return came, True
            return came, self._is_all(log)

    def _is_all(self, log: containers.Log) -> bool:
        """Whether the log has ended with its container; it may also have been rotated, or not been sent to its end."""
        if containers.running(self.container.id) or (self._has_moved() and self._has_been_left()):
            return False
        rest = log.ended()
        self._stream.add(self, rest, [self.times.of(line.stamp) for line in rest])
        return True

    def _has_moved(self) -> bool:
        """Whether anything new was read since the log was opened."""
        with self._stream.turn:
            mark = self._stream.position.mark
            return any(mark((self.container.short, stream))[0] > at for stream, at in self._opened_at.items())

    def _has_been_left(self) -> bool:
        """Whether the log has more than the engine sent: it may wait for ever at a file that was rotated away."""
        self._holes.behind = False
        newest = containers.newest(self.container.id)
        with self._stream.turn:
            position = self._stream.position
            return any(
                self.times.of(line.stamp) > position.mark((self.container.short, line.stream))[0] for line in newest
            )

    def _take(self, lines: list[Line]) -> bool:
        """Whether all of them were taken; if not, the log must be opened again to see what comes next."""
        times = [self.times.of(line.stamp) for line in lines]
        new = [time > self._opened_at[line.stream] for time, line in zip(times, lines)]  # noqa: B905 - python 3.9
        sound = self._holes.sound(times, new, time_ns()) if lines else 0
        self._stream.add(self, lines[:sound], times[:sound])
        return sound == len(lines)

    def _look_again(self) -> None:
        """It may have been started again before everybody could see that this reader is over."""
        with suppress(Refused, OSError):  # with the engine away, everything is looked at once it is back
            if not self.closing.is_set() and containers.running(self.container.id):
                self._stream.look()

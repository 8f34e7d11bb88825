"""The last lines of containers that end, read before whoever ended them can remove them.

A stop is announced by an event `kill` while the container still runs: from then on its log is followed to its end. One
that ends by itself is read when it has; nobody removes it that fast.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from ..refusals import Refused
from . import containers, entries
from .lines import BrokenStream, Line

LINES = 200
BYTES = 1 << 18
LONGEST_LINE = 1 << 14
KEPT = 64
OFTEN_S = 10.0  # of a container that crashes all the time, one tail in this time


class Tails:
    def __init__(self, turn: threading.Condition) -> None:
        self.ready: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._turn = turn
        self._open: dict[str, _Tail] = {}
        self._read: dict[str, float] = {}

    def ending(self, service: str, container: str) -> None:
        """It was sent a signal, and may be gone in a moment."""
        self._begin(service, container, follow=True)

    def ended(self, service: str, container: str, moment: int, code: int | None) -> None:
        with self._turn:
            tail = self._open.get(container)
        if tail is None:
            tail = self._begin(service, container, follow=False)
        if tail is not None:
            tail.died(moment, code)

    def _begin(self, service: str, container: str, *, follow: bool) -> _Tail | None:
        now = time.monotonic()
        with self._turn:
            self._read = {name: at for name, at in self._read.items() if now - at < OFTEN_S}
            if container in self._open or (container in self._read and not follow):
                return None
            self._read[container] = now
            tail = self._open[container] = _Tail(service, container, follow)
        threading.Thread(target=self._work, args=(tail,), name=f"tail {container[:12]}", daemon=True).start()
        return tail

    def _work(self, tail: _Tail) -> None:
        try:
            told = tail.read()
        except (Refused, BrokenStream, OSError, ValueError):
            told = None  # it was faster
        with self._turn:
            del self._open[tail.container]
            if told:
                self.ready.append(told)
                self._turn.notify_all()


class _Tail:
    DEATH_S = 5.0  # the event comes about when the log ends

    def __init__(self, service: str, container: str, follow: bool) -> None:
        self.service, self.container = service, container
        self._follow = follow
        self._dead = threading.Event()
        self._moment, self._code = 0, -1

    def died(self, moment: int, code: int | None) -> None:
        self._moment, self._code = moment, -1 if code is None else code
        self._dead.set()

    def read(self) -> dict[str, Any] | None:
        lines: deque[Line] = deque(maxlen=LINES)
        name = self.container[: containers.DIGITS]
        if not self._follow:
            self._dead.wait(self.DEATH_S)
        with containers.Log(self.container, follow=self._follow, until=self._moment, tail=str(LINES)) as log:
            name = containers.current_name(self.service, self.container) or name
            while (some := log.read()) is not None:
                lines.extend(some)
            lines.extend(log.ended())
        if not self._dead.wait(self.DEATH_S):
            return None  # the signal did not end it, the engine did
        return {
            "service_id": self.service,
            "container": name,
            "container_id": self.container,
            "ended_at": entries.moment(self._moment),
            "exit_code": None if self._code < 0 else self._code,
            "entries": [_entry(line, name) for line in _fitting(lines)],
        }


def _fitting(lines: deque[Line]) -> list[Line]:
    """The last of them, as many as a request has room for."""
    kept: list[Line] = []
    size = 0
    for line in reversed(lines):
        size += min(len(line.text), LONGEST_LINE)
        if size > BYTES:
            break
        kept.append(line)
    return kept[::-1]


def _entry(line: Line, name: str) -> dict[str, str]:
    text = line.text[:LONGEST_LINE].decode("utf-8", "replace")
    stream = "stderr" if line.stream == 2 else "stdout"  # noqa: PLR2004 - the engine's number
    return {"timestamp": line.stamp.decode(), "stream": stream, "message": text, "container": name}

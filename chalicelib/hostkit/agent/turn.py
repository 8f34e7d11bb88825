"""The agent's one lock, and what its threads wait for under it."""

from __future__ import annotations

import threading


class Turn(threading.Condition):
    """Waiting on it is woken by any change, but for lines: those come by the thousand and concern one thread."""

    def __init__(self) -> None:
        lock = threading.RLock()
        super().__init__(lock)
        self.lines = threading.Condition(lock)

    def notify_all(self) -> None:
        super().notify_all()
        self.lines.notify_all()

"""Threads that run what may block for an event loop.

They are daemons: work that waits for a job must not hold up the end of the process.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Workers:
    """Threads that take work in turn; a new one is made only when all are busy."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0  # both counts belong to the event loop

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises; one whose asker was cancelled is still carried out."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._busy += 1
        if self._busy > self._threads < self._limit:
            self._threads += 1
            threading.Thread(target=self._take_turns, daemon=True, name=f"{self._name}-{self._threads}").start()

        def settle(result: Any, error: Exception | None) -> None:
            self._busy -= 1
            if answer.done():
                return
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def turn() -> None:
            result, error = None, None
            try:
                result = work()
            except Exception as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                log.debug("answered after the end")

        self._work.put(turn)
        return await answer

    def _take_turns(self) -> None:
        while True:
            self._work.get()()

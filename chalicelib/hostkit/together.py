"""Doing several slow things at once, where what is slow is waiting for the Docker engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
AT_ONCE = 12  # the engine gains nothing from more


def together(*calls: Callable[[], T]) -> list[T]:
    """The results in order; the first exception, once all have ended."""
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []
    waiting = iter(enumerate(calls))
    turn = threading.Lock()

    def work() -> None:
        while True:
            with turn:
                index, call = next(waiting, (-1, None))
            if call is None:
                return
            try:
                results[index] = call()
            except BaseException as error:
                errors.append(error)

    others = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(calls)) - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
    return results

"""How many requests a token may make in a minute.

Each process counts for itself and settles in the table with its first request of a minute, and with every sixtieth part
of the limit after that: a write a request would cost more than most requests do, and no write at all would let a caller
who is answered by fifty functions have fifty times its limit. docs/decisions/rate-limits.md has the figures.
"""

import logging
import threading
import time
from dataclasses import dataclass

from chalicelib.domain.errors import RateLimited, Unavailable
from chalicelib.domain.panel import Caller
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.api")

_SETTLED_PARTS = 60
_MOST_REMEMBERED = 1000
_clock = time.time


@dataclass(frozen=True)
class Allowance:
    """What a token may still ask for in this minute; `granted` says whether this request was."""

    limit: int
    remaining: int
    reset_seconds: int
    granted: bool

    def headers(self) -> dict[str, str]:
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }
        return told if self.granted else {**told, "Retry-After": str(self.reset_seconds)}

    def refuse_if_spent(self) -> None:
        """Raise `RateLimited` where this request was not granted."""
        if not self.granted:
            raise RateLimited(
                f"this token has made its {self.limit} requests of this minute; wait {self.reset_seconds} s",
                {"retry_after_seconds": self.reset_seconds},
            )


@dataclass
class _Minute:
    """`known` requests are settled, or being settled, in the table; `unsettled` are this process's own beside them."""

    number: int
    known: int = 0
    unsettled: int = 0
    is_new: bool = True


_lock = threading.Lock()
_minutes: dict[str, _Minute] = {}


def take(caller: Caller) -> Allowance | None:
    """Count a request of this caller's; None where there is no limit."""
    own = caller.requests_per_minute
    limit = adapters().settings.requests_per_minute if own is None else own
    if not limit:
        return None
    number, second = divmod(int(_clock()), 60)
    with _lock:
        minute = _this_minute(caller.token_id, number)
        granted = minute.known + minute.unsettled < limit
        settling = _counted(minute, limit) if granted else 0
    if settling:
        granted = _settle(caller.token_id, minute, settling) <= limit
    remaining = max(0, limit - minute.known - minute.unsettled) if granted else 0
    return Allowance(limit, remaining, 60 - second, granted)


def forget() -> None:
    """Begin to count anew; what is in the table stays."""
    with _lock:
        _minutes.clear()


def _this_minute(token_id: str, number: int) -> _Minute:
    minute = _minutes.get(token_id)
    if minute is None or minute.number != number:
        if len(_minutes) >= _MOST_REMEMBERED:
            _minutes.clear()
        minute = _minutes[token_id] = _Minute(number)
    return minute


def _counted(minute: _Minute, limit: int) -> int:
    """Count one more; how many are to be settled now."""
    minute.unsettled += 1
    is_the_last = minute.known + minute.unsettled >= limit
    if not minute.is_new and not is_the_last and minute.unsettled < limit / _SETTLED_PARTS:
        return 0
    settling, minute.unsettled, minute.is_new = minute.unsettled, 0, False
    minute.known += settling
    return settling


def _settle(token_id: str, minute: _Minute, requests: int) -> int:
    """Tell the table; how many requests there are now, other processes' too."""
    try:
        total = adapters().rates.add(token_id, minute.number, requests)
    except Unavailable as error:
        # Who cannot count must not refuse; what needs the table will say so itself.
        log.warning("requests of %s are counted here alone: %s", token_id, error.message)
        return minute.known
    with _lock:
        minute.known = max(minute.known, total)
    return total

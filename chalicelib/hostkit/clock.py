"""Times on the wire: RFC 3339 in UTC. `datetime` is not imported for it: it would cost each verb milliseconds."""

from __future__ import annotations

import calendar
import time


def now() -> str:
    return rfc3339(time.time())


def rfc3339(seconds: float) -> str:
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1000):03d}Z"


def nanoseconds(text: str) -> int:
    """Docker's times: any number of decimals, in UTC or with an offset. 0 for its "never" (the year 1)."""
    body, zone = (text[:-1], "+00:00") if text.endswith("Z") else (text[:-6], text[-6:])
    whole, _, decimals = body.partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    if seconds <= 0:
        return 0
    offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * (-60 if zone[0] == "-" else 60)
    return (seconds - offset) * 10**9 + int((decimals + "0" * 9)[:9])

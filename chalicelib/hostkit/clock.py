"""Times on the wire: RFC 3339 in UTC, by arithmetic: `datetime` and `strptime` would cost each verb milliseconds."""

from __future__ import annotations

import time


def now() -> str:
    return rfc3339(time.time())


def rfc3339(seconds: float) -> str:
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1000):03d}Z"


def nanoseconds(text: str) -> int:
    """Docker's times: any number of decimals, in UTC or with an offset."""
    body, zone = (text[:-1], "+00:00") if text.endswith(("Z", "z")) else (text[:-6], text[-6:])
    whole, _, decimals = body.partition(".")
    seconds = _days(int(whole[:4]), int(whole[5:7]), int(whole[8:10])) * 86400
    seconds += int(whole[11:13]) * 3600 + int(whole[14:16]) * 60 + int(whole[17:19])
    offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * (-60 if zone[0] == "-" else 60)
    return (seconds - offset) * 10**9 + int((decimals + "0" * 9)[:9])


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970, counting years from March so that the leap day is the last of its year."""
    year -= month < 3  # noqa: PLR2004
    from_march = (month + 9) % 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (from_march * 153 + 2) // 5 + day - 1 - 719468

"""Readers of single values: each takes what was written and answers Compose's normal form of it, or DROP.

A reader that answers DROP has said why in the verdict, or found the value to mean nothing. The same readers
take what `docker compose config` prints, so both readings of a file are held against one table.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

from chalicelib.domain.compose import scalars
from chalicelib.domain.compose.findings import Verdict, kind, under
from chalicelib.domain.service import LEAST_CPU

Reader = Callable[[Any, str, Verdict], Any]
DROP: Final = object()

SERVICE_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_OTHERS_NAME = re.compile(r"svc_[a-z0-9]{16}.*", re.IGNORECASE | re.DOTALL)
_TRUE, _FALSE = ("y", "yes", "true", "on"), ("n", "no", "false", "off")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{0,9})?)(us|µs|ms|s|m|h|d)", re.ASCII)
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_ENTRIES = 1000


def wrong(value: Any, path: str, verdict: Verdict, expected: str) -> Any:
    verdict.refuse(
        path,
        "wrong-type",
        f"write {expected}; this is {kind(value)}" if not isinstance(value, str) else f"write {expected}",
    )
    return DROP


def text(value: Any, path: str, verdict: Verdict) -> Any:
    return (
        value if isinstance(value, str) else wrong(value, path, verdict, "text (in quotes, if it looks like a number)")
    )


def matching(pattern: str, expected: str, rule: str = "wrong-type") -> Reader:
    compiled = re.compile(pattern, re.ASCII)

    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if not isinstance(value, str):
            return wrong(value, path, verdict, expected)
        if compiled.fullmatch(value):
            return value
        verdict.refuse(path, rule, f"write {expected}")
        return DROP

    return read


def boolean(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    return wrong(value, path, verdict, "true or false")


def integer(low: int, high: int, rule: str = "resource-limit") -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        number = whole(value)
        if number is None:
            return wrong(value, path, verdict, "a whole number")
        if low <= number <= high:
            return number
        verdict.refuse(path, rule, f"choose a number from {low} to {high}")
        return DROP

    return read


def whole(value: Any) -> int | None:
    """A whole number, also where it is written as text, as a variable leaves it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII):
        return int(value)
    return None


def cpus(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{0,6}(\.\d{0,9})?", value, re.ASCII) and value.strip("."):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return wrong(value, path, verdict, "a number of CPUs such as 0.5")
    if LEAST_CPU <= value <= 256:  # noqa: PLR2004
        return value
    verdict.refuse(path, "resource-limit", "choose a number of CPUs from 0.01 to 256; 0 would mean no limit")
    return DROP


def size(low: int, high: int) -> Reader:
    """Bytes, as the text of a number, which is how Compose prints them."""

    def read(value: Any, path: str, verdict: Verdict) -> Any:
        count = size_in_bytes(value)
        if count is None:
            return wrong(value, path, verdict, "a size such as 512m")
        if low <= count <= high:
            return str(count)
        verdict.refuse(
            path, "resource-limit", f"choose a size from {low} to {high} bytes; 0 and -1 would mean no limit"
        )
        return DROP

    return read


def size_in_bytes(value: Any) -> int | None:
    if (number := whole(value)) is not None:
        return number
    if not isinstance(value, str) or not (parts := _SIZE.fullmatch(value)):
        return None
    return int(float(parts[1]) * _UNITS[parts[2].lower()])


def duration(low: float, high: float) -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        seconds = _in_seconds(value)
        if seconds is None:
            return wrong(value, path, verdict, "a duration such as 1m30s")
        if low <= seconds <= high:
            return _spelled(seconds)
        verdict.refuse(path, "resource-limit", f"choose a duration from {low:g} s to {high:g} s")
        return DROP

    return read


def list_of(reader: Reader, *, or_one: bool = False) -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if or_one and isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            return wrong(value, path, verdict, "a list")
        return kept(reader(item, under(path, index), verdict) for index, item in enumerate(few(value, path, verdict)))

    return read


def set_of(reader: Reader, *, or_one: bool = False) -> Reader:
    """A list that Compose refuses to see the same entry in twice; here a second one says nothing new."""
    items = list_of(reader, or_one=or_one)

    def read(value: Any, path: str, verdict: Verdict) -> Any:
        found = items(value, path, verdict)
        return found if found is DROP else list(dict.fromkeys(found))

    return read


def unless_nothing(reader: Reader) -> Reader:
    """False and 0 say what is so anyway, and Compose does not print them."""
    return lambda value, path, verdict: reader(value, path, verdict) or DROP


def table(keys: dict[str, Reader], refused: dict[str, tuple[str, str]] | None = None) -> Reader:
    """A mapping whose every key is on the list; any other is refused, by its own rule where it has one."""

    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if not isinstance(value, dict):
            return wrong(value, path, verdict, "a mapping")
        known: dict[str, Any] = {}
        for key, written in value.items():
            if key in keys:
                known[key] = keys[key](written, under(path, key), verdict)
            elif not key.startswith("x-"):
                rule, message = (refused or {}).get(key, ("unknown-key", "remove this key; Slipway does not know it"))
                verdict.refuse(under(path, key), rule, message)
        return {key: kept_value for key, kept_value in known.items() if kept_value is not DROP}

    return read


def pairs(value: Any, path: str, verdict: Verdict) -> dict[str, str | None]:
    """`environment`, `labels`: a mapping or a list of NAME=value; None where no value was given."""
    found: dict[str, str | None] = {}
    if isinstance(value, dict):
        for key, written in few(value, path, verdict).items():
            if written is None or isinstance(written, str | int | float):
                found[key] = None if written is None else scalars.text(written)
            else:
                wrong(written, under(path, key), verdict, "text")
    elif isinstance(value, list):
        for index, item in enumerate(few(value, path, verdict)):
            if isinstance(item, str):
                key, equals, written = item.partition("=")
                found[key] = written if equals else None
            else:
                wrong(item, under(path, index), verdict, "NAME=value as text")
    elif value is not None:
        wrong(value, path, verdict, "a mapping or a list of NAME=value")
    return found


def dropped(why: str) -> Reader:
    def read(_value: Any, path: str, verdict: Verdict) -> Any:
        verdict.warn(path, "not-applied", why)
        return DROP

    return read


def ignored(_value: Any, _path: str, _verdict: Verdict) -> Any:
    return DROP


def optional(reader: Reader) -> Reader:
    return lambda value, path, verdict: DROP if value is None else reader(value, path, verdict)


def ip_address(value: Any, path: str, verdict: Verdict) -> Any:
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        return wrong(value, path, verdict, "an IP address")


def network_name(value: Any, path: str, verdict: Verdict) -> Any:
    """A name something answers to on its networks. The edge is on many customers' networks at once and asks all
    of them, so nobody may answer to another service's id, nor to a name with a dot, which could be a public one."""
    if not isinstance(value, str):
        return wrong(value, path, verdict, "a name as text")
    if not SERVICE_NAME.fullmatch(value) or (_OTHERS_NAME.fullmatch(value) and not verdict.ours):
        verdict.refuse(path, "reserved-name", "use letters, digits, _ and - only, at most 63, and not the form svc_…")
        return DROP
    return value


def few(values: Any, path: str, verdict: Verdict, most: int = _MOST_ENTRIES) -> Any:
    if len(values) <= most:
        return values
    verdict.refuse(path, "too-many", f"keep at most {most} entries")
    return type(values)()


def kept(values: Any) -> list[Any]:
    return [value for value in values if value is not DROP]


def _in_seconds(value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    if value == "0":
        return 0.0
    parts, at = 0.0, 0
    for part in _DURATION.finditer(value):
        if part.start() != at:
            return None
        parts, at = parts + float(part[1]) * _SECONDS[part[2]], part.end()
    return parts if at == len(value) and at else None


def _spelled(seconds: float) -> str:
    """Go's spelling, to the millisecond: 1m30s, 1h0m0s, 1.5s, 250ms."""
    milliseconds = round(seconds * 1000)
    if 0 < milliseconds < 1000:  # noqa: PLR2004
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail

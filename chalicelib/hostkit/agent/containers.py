"""Which containers a service has, what they are called to its followers, and their logs as they come."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from .. import engine
from .lines import STDERR, STDOUT, Frames, Line, Terminal

CHUNK = 1 << 16
DIGITS = 12
_SIZE = re.compile(r"(\d+)([kKmMgG]?)[bB]?")
_LOCAL_BYTES = 20 << 20  # what the driver `local` begins a new file after, unless told otherwise


class Container(NamedTuple):
    id: str
    name: str  # the compose service's, with a number where it has several containers
    running: bool

    @property
    def short(self) -> str:
        return self.id[:DIGITS]


def of_service(service: str) -> list[Container]:
    rows = engine.get("/containers/json", all=1, filters={"label": [f"slipway.service={service}"]})
    numbers = Counter(name for name, _ in {(_compose_name(row), _number(row)) for row in rows})
    return [
        Container(row["Id"], _name(row, numbers[_compose_name(row)]), row["State"] in ("running", "paused"))
        for row in sorted(rows, key=lambda row: (row["Created"], row["Id"]))
    ]


def services() -> list[str]:
    rows = engine.get("/containers/json", all=1, filters={"label": ["slipway.service"]})
    return sorted({row["Labels"]["slipway.service"] for row in rows})


def current_name(service: str, container: str) -> str | None:
    return next((one.name for one in of_service(service) if one.id == container), None)


def told_name(labels: dict[str, str]) -> str:
    """As `of_service` calls it, by what an event tells of it, which may be all that is left."""
    service = labels.get("com.docker.compose.service") or labels.get("name", "")
    number = labels.get("com.docker.compose.container-number")
    others = {one.name for one in of_service(labels["slipway.service"])}
    return f"{service}-{number}" if f"{service}-{number}" in others else service


def running(container: str) -> bool | None:
    """None: there is no such container any more."""
    detail = engine.found(f"/containers/{container}/json")
    return None if detail is None else bool(detail["State"]["Running"] and not detail["State"]["Restarting"])


def rotated_after(container: str) -> int | None:
    """How many bytes a file of its log holds; None where it is one file for ever, or nobody knows."""
    detail = engine.found(f"/containers/{container}/json")
    config = detail["HostConfig"]["LogConfig"] if detail else {}
    match = _SIZE.fullmatch((config.get("Config") or {}).get("max-size") or "")
    if match is None:
        return _LOCAL_BYTES if config.get("Type") == "local" else None
    factor: int = 1024 ** " kmg".index((match[2] or " ").lower())
    return int(match[1]) * factor


def newest(container: str) -> list[Line]:
    """The last line in its log, if there is any."""
    lines: list[Line] = []
    with Log(container, tail="1") as log:
        while (some := log.read()) is not None:
            lines += some
    return lines


class Log:
    """A container's log, from a time on (included), read in pieces of what has come.

    Whether the container has a terminal is seen by the first byte: asking first could take longer than the container
    has to live.
    """

    def __init__(self, container: str, *, since: int = 0, until: int = 0, follow: bool = False, tail: str = "") -> None:
        query: dict[str, Any] = {"stdout": "true", "stderr": "true", "timestamps": "true", "tail": tail or "all"}
        query.update({name: _seconds(time) for name, time in (("since", since), ("until", until)) if time})
        if follow:
            query["follow"] = "true"
        self._lines: Frames | Terminal | None = None
        self._stream = engine.Stream("GET", f"/v{engine.api()}/containers/{container}/logs", None, query)
        if follow:
            self._stream.without_end()

    def read(self) -> list[Line] | None:
        """The lines that have come; None at the end."""
        chunk = self._stream.some(CHUNK)
        if not chunk:
            return None
        if self._lines is None:
            self._lines = Frames() if chunk[0] in (STDOUT, STDERR, 3) else Terminal()
        return self._lines.feed(chunk)

    def quiet(self, seconds: float) -> bool:
        """Whether nothing comes for that long; not before something was read."""
        return self._lines is not None and self._stream.quiet(seconds)

    def ended(self) -> list[Line]:
        """What a container that is over left without a newline."""
        return self._lines.ended() if self._lines else []

    def interrupt(self) -> None:
        self._stream.interrupt()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.__exit__(*error)


def _seconds(nanoseconds: int) -> str:
    return "{}.{:09d}".format(*divmod(nanoseconds, 10**9))


def _compose_name(row: dict[str, Any]) -> str:
    name: str = row["Labels"].get("com.docker.compose.service") or (row["Names"] or [row["Id"][:DIGITS]])[0]
    return name.lstrip("/")


def _number(row: dict[str, Any]) -> str:
    return row["Labels"].get("com.docker.compose.container-number") or "1"


def _name(row: dict[str, Any], how_many: int) -> str:
    return f"{_compose_name(row)}-{_number(row)}" if how_many > 1 else _compose_name(row)

"""A service's logs: the last lines of its containers, of those that are gone too."""

import logging
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from chalicelib.api import views
from chalicelib.api.contract import ASKS_HOST
from chalicelib.api.follow import Cursor, for_following, is_read, tail_of, upgrade
from chalicelib.api.http import Request, Routes, TrueOrFalse, WireIn
from chalicelib.api.services.access import service_of
from chalicelib.domain.errors import SlipwayError, Unavailable, UpgradeRequired
from chalicelib.domain.words import Time, parse_time
from chalicelib.live import kept
from chalicelib.wiring import adapters

routes = Routes(__name__)
log = logging.getLogger("slipway.api")

_MOST = 5000


class ReadLogs(WireIn):
    """`cursor`, `format` and `tail=all` are for following."""

    follow: TrueOrFalse = False  # first: by it the others are judged
    tail: int | Literal["all"] = Field(100)
    since: Time | None = None
    cursor: str | None = Cursor
    format: Literal["entry", "batch"] | None = None

    @field_validator("tail", mode="before")
    @classmethod
    def _number_or_all(cls, value: Any) -> Any:
        return tail_of(value)

    @field_validator("tail")
    @classmethod
    def _fits_an_answer(cls, tail: int | Literal["all"], info: ValidationInfo) -> int | Literal["all"]:
        if is_read(info) and (tail == "all" or tail > _MOST):
            raise ValueError(f"is at most {_MOST} lines, but with follow=true")
        return tail

    _for_following = field_validator("cursor", "format")(for_following)


@routes.on(
    "GET",
    "/services/{service_id}/logs",
    query=ReadLogs,
    answers={200: views.Logs},
    raises=(UpgradeRequired, *ASKS_HOST),
)
def read_logs(request: Request, service_id: str) -> views.Logs:
    """The last lines of its containers, stopped ones too, and of those that ended and were replaced.

    Where the host cannot be asked, what was kept of them. `sources` says where the lines come from.
    """
    service = service_of(service_id, request.caller)
    wanted = request.parameters(ReadLogs)
    if wanted.follow:
        raise upgrade(request, f"services/{service.id}/logs", service.id)
    tail = wanted.tail if isinstance(wanted.tail, int) else _MOST
    try:
        answer = adapters().host_calls.ask("logs", service_id=service.id, tail=tail, since=wanted.since)
    except SlipwayError as error:
        entries, sources = _kept(service.id, frozenset(), tail, wanted.since)
        if not sources:
            raise
        note = f"the host could not be asked ({error.message}); these are lines kept when containers ended"
        return views.Logs(logs=entries, truncated=False, sources=sources, note=note)
    entries, truncated = answer["entries"], answer["truncated"]
    sources = [views.LogSource(source="host", container=None, ended_at=None, exit_code=None)]
    if len(entries) >= tail:
        return views.Logs(logs=entries, truncated=truncated, sources=sources)
    try:
        older, more = _kept(service.id, frozenset(answer["containers"]), tail - len(entries), wanted.since)
    except Unavailable as error:
        log.warning("%s: kept lines were not read: %s", service.id, error.message)
        note = f"lines kept when containers ended could not be read ({error.message}); these are the host's alone"
        return views.Logs(logs=entries, truncated=truncated, sources=sources, note=note)
    return views.Logs(logs=[*older, *entries], truncated=truncated, sources=[*more, *sources])


def _kept(
    service_id: str, living: frozenset[str], tail: int, since: str | None
) -> tuple[list[views.LogEntry], list[views.LogSource]]:
    """The last lines of containers that the host no longer has, and which those were, oldest first."""
    entries: list[views.LogEntry] = []
    sources: list[views.LogSource] = []
    for one in kept.tails(service_id, living):
        lines = [line for line in one["entries"] if since is None or _is_since(line["timestamp"], since)]
        entries = [*lines, *entries]
        sources.insert(
            0,
            views.LogSource(
                source="kept", container=one["container"], ended_at=one["ended_at"], exit_code=one.get("exit_code")
            ),
        )
        if len(entries) >= tail:
            break
    entries.sort(key=lambda entry: entry["timestamp"])
    return entries[len(entries) - min(tail, len(entries)) :], sources


def _is_since(timestamp: str, since: str) -> bool:
    return parse_time(timestamp) >= parse_time(since)

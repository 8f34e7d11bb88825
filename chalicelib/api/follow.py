"""Following: what a WebSocket's URL may ask for, and the answer of the REST API to who asks it there."""

from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field, ValidationInfo, field_validator

from chalicelib.api.http import Request, WireIn, validated
from chalicelib.domain.errors import UpgradeRequired
from chalicelib.domain.words import Time
from chalicelib.store.tickets import TICKET_SECONDS
from chalicelib.wiring import adapters

_TAIL = 100
Cursor = Field(None, min_length=1, max_length=4096, pattern=r"^[A-Za-z0-9_.:=/+-]+$")


def tail_of(value: Any) -> Any:
    """A number as a query has it, or `all`."""
    if value is None or value == "all" or isinstance(value, int):
        return value
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8):  # noqa: PLR2004
        raise ValueError("must be a number of lines, or all")
    return int(value)


def is_read(info: ValidationInfo) -> bool:
    """Whether what is asked for is an answer, not a stream: for parameters declared after `follow`.

    A `follow` that is neither true nor false is told by itself.
    """
    return info.data.get("follow") is False


def for_following(value: Any, info: ValidationInfo) -> Any:
    if is_read(info):
        raise ValueError("goes with follow=true")
    return value


class Follow(WireIn):
    """From where on to follow, and how entries are sent. One of `cursor`, `since` and `tail`, or the last 100 lines."""

    tail: int | Literal["all"] | None = None
    since: Time | None = None
    cursor: str | None = Cursor
    format: Literal["entry", "batch"] = "entry"

    @field_validator("tail", mode="before")
    @classmethod
    def _number_or_all(cls, value: Any) -> Any:
        return tail_of(value)

    @field_validator("since", "cursor")
    @classmethod
    def _one_start(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and any(info.data.get(start) is not None for start in ("tail", "since")):
            raise ValueError("give one of cursor, since and tail")
        return value

    def start(self) -> dict[str, Any]:
        if self.cursor is not None:
            return {"cursor": self.cursor}
        if self.since is not None:
            return {"since": self.since}
        return {"tail": _TAIL if self.tail is None else self.tail}


def upgrade(request: Request, path: str, subject: str) -> UpgradeRequired:
    """Where to go with a WebSocket: an address that is good for whoever has it, once, for a minute."""
    asked = {name: value for name, value in request.query.items() if name != "follow"}
    validated(Follow, asked)
    base = adapters().settings.websocket_url
    if not base:
        return UpgradeRequired("live logs come over a WebSocket, and this installation was not told its address")
    ticket = adapters().tickets.issue(request.caller, subject)
    url = f"{base}/api/{path}?{urlencode({'follow': 'true', **asked, 'ticket': ticket})}"
    details = {"url": url, "expires_in_seconds": TICKET_SECONDS}
    return UpgradeRequired("live logs come over a WebSocket: open details.url, once, within a minute", details)

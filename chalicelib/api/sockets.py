"""The WebSockets: who may open one, what may be said on it, and that it is forgotten when it ends.

API Gateway calls one function when a connection is asked for, one for each message, one afterwards. The edge has put
what the URL's path said into the query: `service_id`, `job_id`, or `agent` for the connection of a host's agent.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

from chalice import Blueprint, Rate
from chalice.app import CloudWatchEvent, WebsocketEvent
from pydantic import Field, field_validator, model_validator

from chalicelib.api import auth, rates
from chalicelib.api.http import STATUS, WireIn, validated
from chalicelib.domain.errors import InvalidRequest, NotFound, SlipwayError, TooLarge, Unauthorized
from chalicelib.domain.panel import Caller
from chalicelib.domain.words import Time
from chalicelib.live import following, keeper
from chalicelib.wiring import adapters

sockets = Blueprint(__name__)
log = logging.getLogger("slipway.sockets")

# What a client that cannot set headers offers beside its token, and what it is answered.
SUBPROTOCOL = "slipway"
_LONGEST_MESSAGE = 4096  # nothing that may be said is longer
_TAIL = 100


class Follow(WireIn):
    """From where on to follow, and how entries are sent. `cursor` goes before `since`, `since` before `tail`."""

    tail: int | Literal["all"] | None = None
    since: Time | None = None
    cursor: str | None = Field(None, min_length=1, max_length=4096, pattern=r"^[A-Za-z0-9_.:=/+-]+$")
    format: Literal["entry", "batch"] = "entry"

    @field_validator("tail", mode="before")
    @classmethod
    def _number_or_all(cls, value: Any) -> Any:
        if value is None or value == "all":
            return value
        if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8):  # noqa: PLR2004
            raise ValueError("must be a number of lines, or all")
        return int(value)

    @model_validator(mode="after")
    def _one_start(self) -> "Follow":
        if len([start for start in (self.tail, self.since, self.cursor) if start is not None]) > 1:
            raise ValueError("give one of cursor, since and tail")
        return self

    def start(self) -> dict[str, Any]:
        if self.cursor is not None:
            return {"cursor": self.cursor}
        if self.since is not None:
            return {"since": self.since}
        return {"tail": _TAIL if self.tail is None else self.tail}


@sockets.on_ws_connect(name="websocket_connect")
def connect(event: WebsocketEvent) -> dict[str, Any]:
    """Let the connection be made, or answer as the REST API would why not."""
    asked = event.to_dict()
    query: Mapping[str, str] = asked.get("queryStringParameters") or {}
    headers = {name.lower(): value for name, value in (asked.get("headers") or {}).items()}
    try:
        if "agent" in query:
            following.begin_agent(auth.agent_of(headers.get("authorization")), event.connection_id)
        else:
            _follow(event.connection_id, query, headers)
    except SlipwayError as error:
        return _refusal(error)
    offered = headers.get("sec-websocket-protocol")
    return {"statusCode": 200, **({"headers": {"Sec-WebSocket-Protocol": SUBPROTOCOL}} if offered else {})}


@sockets.on_ws_message(name="websocket_message")
def message(event: WebsocketEvent) -> None:
    """Answer what was said. Nothing that a client can say ends in a crash."""
    try:
        answer = _heard(event)
    except SlipwayError as error:
        answer = {"type": "error", "error": {"code": error.code, "message": error.message}}
    adapters().gateway.post(event.connection_id, json.dumps(answer))


@sockets.on_ws_disconnect(name="websocket_disconnect")
def disconnect(event: WebsocketEvent) -> None:
    """Forget it."""
    following.end(event.connection_id)


@sockets.schedule(Rate(1, unit=Rate.MINUTES), name="keeper")
def keep(event: CloudWatchEvent) -> None:
    """Look after those who follow hosts whose agents are silent."""
    keeper.keep()


def _follow(connection_id: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    subject_id = query.get("service_id") or query.get("job_id") or ""
    caller = _caller(query, headers, subject_id)
    allowance = rates.take(caller)
    if allowance:
        allowance.refuse_if_spent()
    mine = {"service_id", "job_id", "follow", "ticket"}
    wanted = validated(Follow, {name: value for name, value in query.items() if name not in mine})
    if "service_id" in query:
        subject: Any = adapters().services.get(subject_id)
        auth.must_see(caller, subject.customer_id, "service")
    elif "job_id" in query:
        subject = adapters().jobs.get(subject_id)
        auth.must_see(caller, subject.customer_id, "job")
    else:
        raise NotFound("there is nothing to follow here")
    following.begin(subject, caller, connection_id, wanted.start(), wanted.format)


def _caller(query: Mapping[str, str], headers: Mapping[str, str], subject_id: str) -> Caller:
    """By the Authorization header, by a token offered as a subprotocol, or by a ticket."""
    if "ticket" in query:
        caller = adapters().tickets.redeem(query["ticket"], subject_id)
        if caller is None:
            raise Unauthorized("this ticket was used, is older than 60 s, or opens something else")
        return caller
    offered = [word.strip() for word in headers.get("sec-websocket-protocol", "").split(",")]
    token = next((word for word in offered if word.startswith("aap_k1_")), None)
    return auth.caller_of(f"Bearer {token}" if token else headers.get("authorization"))


def _heard(event: WebsocketEvent) -> dict[str, Any]:
    if event.to_dict().get("isBase64Encoded"):
        raise InvalidRequest("send text: a JSON object with a type")
    if len(event.body) > _LONGEST_MESSAGE:
        raise TooLarge(f"a message here has at most {_LONGEST_MESSAGE} characters")
    try:
        said = json.loads(event.body)
    except (ValueError, RecursionError):
        raise InvalidRequest("send JSON: an object with a type") from None
    kind = said.get("type") if isinstance(said, dict) else None
    answer = _ANSWERS.get(kind) if isinstance(kind, str) else None
    if answer is None:
        raise InvalidRequest(f"nothing is known by this type; known: {', '.join(_ANSWERS)}")
    return answer()


_ANSWERS: dict[str, Callable[[], dict[str, Any]]] = {"ping": lambda: {"type": "pong"}}


def _refusal(error: SlipwayError) -> dict[str, Any]:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    log.info("%s", json.dumps({"refused": error.code, "status": status}))
    told = {"code": error.code, "message": error.message, "details": error.details, "request_id": _request_id()}
    return {"statusCode": status, "body": json.dumps({"error": told})}


def _request_id() -> str:
    return f"req_{uuid.uuid4().hex[:20]}"

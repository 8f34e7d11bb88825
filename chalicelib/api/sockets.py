"""The WebSockets: who may open one, what may be said on it, and that it is forgotten when it ends.

API Gateway calls one function when a connection is asked for, one for each message, one afterwards. The edge has put
what the URL's path said into the query: `service_id`, `job_id`, or `agent` for the connection of a host's agent.

Chalice gives the handlers of a Blueprint the event as Lambda has it (it wraps only an app's own), so they are written
for that.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from chalice import Blueprint, Rate
from chalice.app import CloudWatchEvent

from chalicelib.api import auth, rates
from chalicelib.api.follow import Follow
from chalicelib.api.http import refusal, validated
from chalicelib.domain.errors import InvalidRequest, NotFound, SlipwayError, TooLarge, Unauthorized
from chalicelib.domain.panel import Caller
from chalicelib.live import following
from chalicelib.wiring import adapters

sockets = Blueprint(__name__)
log = logging.getLogger("slipway.sockets")

# What a client that cannot set headers offers beside its token, and what it is answered.
SUBPROTOCOL = "slipway"
_LONGEST_MESSAGE = 4096  # nothing that may be said is longer


@sockets.on_ws_connect(name="websocket_connect")
def connect(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Let the connection be made, or answer as the REST API would why not."""
    connection_id: str = event["requestContext"]["connectionId"]
    query: Mapping[str, str] = event.get("queryStringParameters") or {}
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    offered = _offered(headers)
    try:
        if offered and SUBPROTOCOL not in offered:
            # Of what a client offers one must be answered, and a token is not to be sent back.
            raise InvalidRequest(f"of the subprotocols that are offered one must be {SUBPROTOCOL}")
        if "agent" in query:
            following.begin_agent(auth.agent_of(headers.get("authorization")), connection_id)
        else:
            _follow(connection_id, query, headers)
    except SlipwayError as error:
        reply = refusal(error, event["requestContext"].get("requestId") or connection_id)
        log.info("%s", json.dumps({"refused": reply.code, "status": reply.status}))
        return {"statusCode": reply.status, "body": reply.body}
    return {"statusCode": 200, **({"headers": {"Sec-WebSocket-Protocol": SUBPROTOCOL}} if offered else {})}


@sockets.on_ws_message(name="websocket_message")
def message(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer what was said. Nothing that a client can say ends in a crash."""
    try:
        answer = _heard(event)
    except SlipwayError as error:
        answer = {"type": "error", "error": {"code": error.code, "message": error.message}}
    adapters().gateway.post(event["requestContext"]["connectionId"], json.dumps(answer))
    return {"statusCode": 200}


@sockets.on_ws_disconnect(name="websocket_disconnect")
def disconnect(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Forget it."""
    following.end(event["requestContext"]["connectionId"])
    return {"statusCode": 200}


@sockets.schedule(Rate(1, unit=Rate.MINUTES), name="keeper")
def keep(event: CloudWatchEvent) -> None:
    """Look after those who follow hosts whose agents are silent."""
    from chalicelib.live import keeper  # noqa: PLC0415  the API, sharing this file, does without

    silent = keeper.keep()
    if silent:  # counted by AWS, by the first word (infra/deploy/finish.py)
        log.warning("%s", json.dumps({"silent_agents": silent}))


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
    token = next((word for word in _offered(headers) if word.startswith("aap_k1_")), None)
    return auth.caller_of(f"Bearer {token}" if token else headers.get("authorization"))


def _offered(headers: Mapping[str, str]) -> list[str]:
    return [word.strip() for word in headers.get("sec-websocket-protocol", "").split(",") if word.strip()]


def _heard(event: dict[str, Any]) -> dict[str, Any]:
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        raise InvalidRequest("send text: a JSON object with a type")
    if len(body) > _LONGEST_MESSAGE:
        raise TooLarge(f"a message here has at most {_LONGEST_MESSAGE} characters")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("send JSON: an object with a type") from None
    kind = said.get("type") if isinstance(said, dict) else None
    answer = _ANSWERS.get(kind) if isinstance(kind, str) else None
    if answer is None:
        raise InvalidRequest(f"nothing is known by this type; known: {', '.join(_ANSWERS)}")
    return answer()


_ANSWERS: dict[str, Callable[[], dict[str, Any]]] = {"ping": lambda: {"type": "pong"}}

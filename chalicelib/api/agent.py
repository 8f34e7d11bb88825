"""/agent: what the agents of hosts send and fetch. It is no part of what clients call, and changes with the agent."""

import base64
import json
import time
import zlib
from typing import Literal, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from chalicelib.api import auth, views
from chalicelib.api.http import Answer, Request, Routes
from chalicelib.domain.errors import Conflict, InvalidRequest, TooLarge, Unauthorized, ValidationFailed
from chalicelib.domain.words import Time, finding
from chalicelib.store.lanes import Batch
from chalicelib.wiring import adapters

routes = Routes(__name__)

# An agent aims at 1 MiB before it is packed.
_MOST_BYTES = 8 * 1024 * 1024
_SEEN_SECONDS = 5.0
_seen: dict[str, tuple[tuple[str, str], float]] = {}


class _Entry(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    timestamp: str
    stream: Literal["stdout", "stderr", "system"]
    message: str
    container: str
    cursor: NotRequired[str]
    partial: NotRequired[bool]


class _Section(TypedDict):
    service_id: NotRequired[str]
    job_id: NotRequired[str]
    to: list[int]
    entries: list[_Entry]
    ended: NotRequired[bool]


class _Event(TypedDict):
    id: str
    service_id: str
    container: str
    type: Literal["start", "die", "oom", "health_status"]
    at: Time
    exit_code: NotRequired[int | None]
    health: NotRequired[str | None]


class _Tail(TypedDict):
    service_id: str
    container: str
    container_id: str
    ended_at: Time
    exit_code: NotRequired[int | None]
    entries: list[_Entry]


class _Container(TypedDict):
    """As much of the host kit's `observe` as a figure needs."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    service: str
    state: str
    health: str
    exit_code: int
    oom_killed: bool
    restart_count: int
    restart_policy: str
    cpu_usage: NotRequired[float | None]
    cpu_limit: NotRequired[float | None]
    memory_usage_mb: NotRequired[float | None]
    memory_limit_mb: NotRequired[float | None]


class _Seen(TypedDict):
    containers: list[_Container]
    storage_mb: NotRequired[int | None]


class _Stats(TypedDict):
    at: Time
    services: dict[str, _Seen]


class _About(TypedDict):
    version: str
    boot: str


class _Batch(TypedDict):
    agent: _About
    known: int
    lane: Literal["live", "catchup", "telemetry"]
    sequence: int
    sections: NotRequired[list[_Section]]
    stats: NotRequired[_Stats | None]
    events: NotRequired[list[_Event]]
    tails: NotRequired[list[_Tail]]


@routes.on(
    "POST",
    "/agent/batches",
    role=None,
    answers={200: views.AgentAnswer},
    raises=(Unauthorized, InvalidRequest, TooLarge, ValidationFailed, Conflict),
)
def take_batch(request: Request) -> views.AgentAnswer:
    """What a host's agent has to tell, gzipped JSON: lines for followers, figures, what happened to containers."""
    # A cold start serves one request, and few are an agent's.
    from chalicelib.deploy.work import redactor_of  # noqa: PLC0415
    from chalicelib.live import relay, telemetry  # noqa: PLC0415

    host_id = auth.agent_of(request.authorization)
    told = _batch(request.raw_body)
    about, settings = told["agent"], adapters().settings
    _note_seen(host_id, about["version"][:64], about["boot"][:64])
    batch = Batch(host_id, about["boot"][:64], told["lane"], told["sequence"])
    version, followers = relay.of_host(host_id)
    outcome = relay.relay(batch, told.get("sections", []), redactor_of, followers)  # type: ignore[arg-type]
    telemetry.take(host_id, told.get("stats"), told.get("events", []), told.get("tails", []))  # type: ignore[arg-type]
    return {
        **relay.follow_set(version, followers, told["known"]),  # type: ignore[typeddict-item]
        **outcome,
        "sign_of_life_seconds": settings.sign_of_life_seconds,
        "pace_ms": settings.agent_pace_ms,
        "stats_seconds": settings.agent_stats_seconds,
        "package": _package_told(),
    }


@routes.on("GET", "/agent/state", role=None, answers={200: views.AgentState}, raises=(Unauthorized,))
def get_state(request: Request) -> views.AgentState:
    """The last batch of each lane that was relayed whole, for an agent that was killed before it heard."""
    return {"lanes": adapters().lanes.relayed(auth.agent_of(request.authorization))}  # type: ignore[typeddict-item]


@routes.on("GET", "/agent/package", role=None, answers={200: views.AgentPackage}, raises=(Unauthorized,))
def get_package(request: Request) -> Answer:
    """The agent itself, one file, for one that is older."""
    auth.agent_of(request.authorization)
    # Read from disk and packed: no other request needs it.
    from chalicelib.commands import agent  # noqa: PLC0415

    content = base64.b64encode(agent.package()).decode()
    return Answer({**_package_told(), "content": content})


def _package_told() -> views.PackageTold:
    from chalicelib.commands import agent  # noqa: PLC0415  see get_package

    return {"version": agent.version(), "sha256": agent.sha256()}


def _batch(packed: bytes) -> _Batch:
    """The body, opened. Raise `InvalidRequest` or `ValidationFailed` for what no agent of ours would send."""
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        raw = unpacking.decompress(packed, _MOST_BYTES)
    except zlib.error:
        raise InvalidRequest("the body is not gzip") from None
    if not unpacking.eof:
        if unpacking.unconsumed_tail:
            raise TooLarge(f"the body unpacks to more than {_MOST_BYTES} bytes")
        raise InvalidRequest("the body ends in the middle")
    try:
        return _adapter().validate_python(json.loads(raw))
    except ValidationError as error:
        details = [
            finding(".".join(map(str, problem["loc"])), problem["type"], problem["msg"])
            for problem in error.errors(include_url=False, include_input=False)[:20]
        ]
        raise ValidationFailed("this is no batch", details) from error
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON") from None


def _note_seen(host_id: str, version: str, boot: str) -> None:
    """Not with every batch: lines of a busy host come twenty times a second."""
    known = _seen.get(host_id)
    if known is None or known[0][1] != boot:
        _cut_if_forgotten(host_id, boot)
    if known is None or known[0] != (version, boot) or time.monotonic() - known[1] > _SEEN_SECONDS:
        adapters().agents.seen(host_id, version, boot)
        _seen[host_id] = ((version, boot), time.monotonic())


def _cut_if_forgotten(host_id: str, boot: str) -> None:
    """An agent that lost its state does not know how far it served its followers: they come back with their cursors."""
    from chalicelib.live import following, relay  # noqa: PLC0415  see take_batch

    before = adapters().agents.get(host_id)
    if before is not None and before.boot not in (None, boot):
        for follower in relay.of_host(host_id)[1]:
            following.cut(follower)


_made: list[TypeAdapter[_Batch]] = []


def _adapter() -> TypeAdapter[_Batch]:
    """Built when the first batch comes: a cold start of the API need not."""
    if not _made:
        _made.append(TypeAdapter(_Batch))
    return _made[0]

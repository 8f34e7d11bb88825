"""REST's own rules, once: who calls and how often, what the body says, what is done once and noted, what an error is.

Errors are answered inside the view, because Chalice adds CORS headers only to what a view returns. What Chalice answers
before a view runs (another content type, say) is put into the same shape by `in_our_shape`, a middleware.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, Unpack

from chalice import Blueprint, CORSConfig, Response
from chalice.app import Request as ChaliceRequest
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from chalicelib.api import once, rates, trail, versions, views
from chalicelib.api.auth import caller_of
from chalicelib.api.contract import Declared, More, Says
from chalicelib.domain import errors
from chalicelib.domain.audit import AuditEntry
from chalicelib.domain.errors import (
    Changed,
    Forbidden,
    InvalidRequest,
    NotFound,
    SlipwayError,
    TooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from chalicelib.domain.panel import Caller, Role
from chalicelib.domain.reply import Reply
from chalicelib.domain.words import MEANINGS, finding
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.api")

STATUS: dict[type[SlipwayError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ValidationFailed: 422,
    errors.CannotPlan: 422,
    errors.UpgradeRequired: 426,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.HostUnreachable: 502,
    errors.HostKeyMismatch: 502,
    errors.HostRefused: 502,
    errors.HostTimeout: 504,
    errors.CommandFailed: 502,
    errors.HostNotReady: 502,
    errors.StaleFence: 409,
    errors.LeaseLost: 409,
    SlipwayError: 500,
}
# A compose text is at most 256 KiB; escaped as JSON, with variables, it fits well in this.
MAX_BODY_BYTES = 1_048_576
_ANYONE = Caller(token_id="", role="viewer", customer_id=None)
_READS = ("GET", "HEAD")
_LONGEST_ID = 200
_CORS = CORSConfig(
    allow_headers=[once.HEADER, "If-Match"],
    expose_headers=[
        "ETag",
        "Idempotency-Replayed",
        "Location",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "Retry-After",
        "X-Job-Id",
        "X-Request-Id",
    ],
)
Wire = TypeVar("Wire", bound="WireIn")


def _true_or_false(value: Any) -> Any:
    if value not in ("true", "false", True, False):
        raise ValueError("must be true or false")
    return value


TrueOrFalse = Annotated[bool, BeforeValidator(_true_or_false)]


class WireIn(BaseModel):
    """A request body: unknown fields are refused, and so are strings for numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


@dataclass(frozen=True)
class Request:
    """What a view gets: the caller, and the request as it came."""

    caller: Caller
    id: str
    query: dict[str, str]
    content_type: str
    raw_body: bytes
    if_match: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = None

    def must_match(self, version: int) -> None:
        """Raise `PreconditionFailed` if the caller wants another version changed than this, the one that was read."""
        versions.must_match(self.if_match, version)

    @property
    def names_version(self) -> bool:
        """Whether the caller wants one version changed and no other."""
        return self.if_match is not None and self.if_match.strip() != "*"

    def body(self, model: type[Wire]) -> Wire:
        """The body as `model`. Raise `InvalidRequest` if it is not JSON, `ValidationFailed` naming each wrong field."""
        if self.content_type.split(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType("send the body as Content-Type: application/json")
        if len(self.raw_body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body has {len(self.raw_body)} bytes; the limit is {MAX_BODY_BYTES}")
        return validated(model, _json(self.raw_body))

    def parameters(self, model: type[Wire]) -> Wire:
        """The query string as `model`; its numbers are read from text."""
        return validated(model, self.query, strict=False)


@dataclass(frozen=True)
class Answer:
    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


# Every route of every room, for the contract.
DECLARED: list[Declared] = []


class Routes(Blueprint):
    """A Blueprint whose views take a `Request` and return a body or an `Answer`, and may raise any `SlipwayError`."""

    def on(
        self,
        method: str,
        path: str,
        role: Role | None = "viewer",
        *,
        answers: Mapping[int, Says | type[Any]],
        **more: Unpack[More],
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Answer `method` on `path` for callers of at least `role`; None: for anyone, without a token.

        `answers` and `more`, the rest of `Declared`, are the route's part of the contract.
        """
        said = {status: says if isinstance(says, Says) else Says(says) for status, says in answers.items()}
        # Chalice would refuse other content types than JSON before it is known who calls, even where no body is read;
        # ours are told by `Request.body`.
        register = self.route(path, methods=[method], cors=_CORS, name=f"{method} {path}", content_types=[])

        def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
            def answering(**parameters: str) -> Response:
                def viewing(asked: Request) -> Any:
                    return view(asked, **_ids(parameters))

                return _Call(self.current_request, role, more.get("query"), viewing).answer()

            answering.__name__ = view.__name__
            answering.__doc__ = view.__doc__
            register(answering)
            DECLARED.append(Declared(method, path, role, view.__name__, view.__doc__ or "", said, **more))
            return view

        return decorate


class _Call:
    """One request on its way through the door."""

    def __init__(
        self,
        request: ChaliceRequest,
        role: Role | None,
        query: type[BaseModel] | None,
        view: Callable[[Request], Any],
    ) -> None:
        self._request = request
        self._role = role
        self._query = query
        self._view = view
        self._id = request.context.get("requestId") or _new_id()
        self._caller = _ANYONE
        self._allowance: rates.Allowance | None = None

    def answer(self) -> Response:
        reply = self._told(self._admitted)
        line = {"request_id": self._id, "method": self._request.method, "path": trail.path_of(self._request)}
        log.info("%s", json.dumps({**line, "status": reply.status, "token_id": self._caller.token_id}))
        headers = {"Content-Type": "application/json", "X-Request-Id": self._id, **reply.headers}
        if self._allowance:
            headers.update(self._allowance.headers())
        if reply.replayed:
            headers["Idempotency-Replayed"] = "true"
        return Response(body=reply.body, status_code=reply.status, headers=headers)

    def _admitted(self) -> Reply:
        if self._role is None:
            return self._viewed()
        who = caller_of(self._request.headers.get("authorization"))
        self._caller = who.model_copy(update={"request_id": self._id})
        self._allowance = rates.take(self._caller)
        if self._allowance:
            self._allowance.refuse_if_spent()
        if self._request.method in _READS:
            self._refuse_by_role()
            return self._viewed()
        entry = trail.entry_of(self._request, self._caller, self._id, is_dry=self._is_dry())
        reply = self._told(lambda: self._written(entry))
        trail.end(entry, reply)
        return reply

    def _written(self, entry: AuditEntry) -> Reply:
        """A write: carried out once for its key, where it has one."""
        self._refuse_by_role()
        key = self._request.headers.get(once.HEADER)
        if key is None:
            return self._begun(entry)
        return once.once(
            self._caller.token_id, key, self._fingerprint(), lambda: self._told(lambda: self._begun(entry))
        )

    def _fingerprint(self) -> str:
        request = self._request
        given = request.query_params
        query = {name: given.getlist(name) for name in given} if given else {}
        return once.fingerprint(request.method, trail.path_of(request), query, _raw_body(request))

    def _begun(self, entry: AuditEntry) -> Reply:
        adapters().audit.begin(entry)
        return self._viewed()

    def _viewed(self) -> Reply:
        asked = _asked(self._request, self._caller, self._id)
        self._refuse_by_query(asked)
        try:
            result = self._view(asked)
        except Changed:
            # It had the version that was named when it was read, and no more when it was to be written.
            if not asked.names_version:
                raise
            raise versions.stale() from None
        return _reply(result if isinstance(result, Answer) else Answer(result))

    def _refuse_by_role(self) -> None:
        if self._role and not self._caller.at_least(self._role):
            raise Forbidden(f"this needs a token with the role {self._role}")

    def _refuse_by_query(self, asked: Request) -> None:
        """Before anything is done: a parameter that is not read may be what the caller meant to have it left undone.

        Whoever comes without a token (a repository's host, a monitor) may add to a URL what he likes.
        """
        if self._role is None:
            return
        given = self._request.query_params
        twice = [name for name in given if len(given.getlist(name)) > 1] if given else []
        if twice:
            details = [finding(name, "repeated", "is given more than once") for name in twice]
            raise ValidationFailed(_summary(details), details)
        if self._query is None:
            asked.parameters(WireIn)

    def _is_dry(self) -> bool:
        """Whether the route will only show what it would do: the parameter is asked for, and it knows it."""
        knows = self._query is not None and "dry_run" in self._query.model_fields
        given = self._request.query_params
        return knows and given is not None and given.get("dry_run") == "true"

    def _told(self, act: Callable[[], Reply]) -> Reply:
        """What `act` answers, or in our one shape why it does not."""
        try:
            return act()
        except SlipwayError as error:
            return refusal(error, self._id)
        except Exception:  # the last door: logged whole, told without a word of what is inside
            log.exception("request %s failed", self._id)
            message = "something went wrong here; the log has it under this request_id"
            return _reply(Answer(_error_body("internal_error", message, None, self._id), 500), "internal_error")


def validated(model: type[Wire], value: Any, *, strict: bool = True) -> Wire:
    try:
        return model.model_validate(value, strict=None if strict else False)
    except ValidationError as error:
        details = [
            finding(".".join(map(str, problem["loc"])) or "body", problem["type"], _in_words(problem))
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ValidationFailed(_summary(details), details) from error


def _in_words(problem: Any) -> str:
    pattern = problem.get("ctx", {}).get("pattern")
    if pattern in MEANINGS:
        return MEANINGS[pattern]
    if problem["type"] == "model_type":
        return "must be a JSON object"
    return str(problem["msg"]).removeprefix("Value error, ")


def in_our_shape(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Chalice's own error answers, in Slipway's shape."""
    response = get_response(event)
    body = response.body
    if response.status_code >= 400 and isinstance(body, dict) and "Code" in body:  # noqa: PLR2004
        code = {400: "invalid_request", 404: "not_found", 405: "not_found", 415: "unsupported_media_type"}
        context = (event.to_dict().get("requestContext") or {}) if hasattr(event, "to_dict") else {}
        request_id = context.get("requestId") or _new_id()
        kind = code.get(response.status_code, "internal_error")
        response.body = _error_body(kind, body.get("Message", ""), None, request_id)
        response.headers["X-Request-Id"] = request_id
        log.info("%s", json.dumps({"request_id": request_id, "status": response.status_code}))
    return response


def _ids(given: dict[str, str]) -> dict[str, str]:
    """The ids in a path. Raise `NotFound` for what no id of ours is as long as, nor can a key of the table be."""
    if any(len(value) > _LONGEST_ID for value in given.values()):
        raise NotFound("there is nothing with so long an id")
    return given


def _reply(answer: Answer, code: str | None = None) -> Reply:
    body = "" if answer.body is None else json.dumps(answer.body, ensure_ascii=False)
    return Reply(status=answer.status, headers=answer.headers, body=body, code=code)


def _asked(request: ChaliceRequest, caller: Caller, request_id: str) -> Request:
    query = request.query_params
    return Request(
        caller=caller,
        id=request_id,
        query={name: query[name] for name in query} if query else {},
        content_type=request.headers.get("content-type", ""),
        raw_body=_raw_body(request),
        if_match=request.headers.get("if-match"),
        headers=request.headers,
        authorization=request.headers.get("authorization"),
    )


def _raw_body(request: ChaliceRequest) -> bytes:
    return request.raw_body if isinstance(request.raw_body, bytes) else request.raw_body.encode()


def refusal(error: SlipwayError, request_id: str) -> Reply:
    """The answer by which any door says this error: its status, its headers, and the one shape."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004
    answer = Answer(_error_body(error.code, error.message, error.details, request_id), status, headers)
    return _reply(answer, error.code)


def _error_body(code: str, message: str, details: Any, request_id: str) -> views.Error:
    return views.Error(error=views.Problem(code=code, message=message, details=details, request_id=request_id))


def _json(raw: bytes) -> Any:
    try:
        value = json.loads(raw, parse_constant=_no_constant, object_pairs_hook=_once_each)
        if b"\\ud" in raw.lower():  # half of a character cannot be stored, nor told in an answer
            json.dumps(value, ensure_ascii=False).encode()
        return value  # noqa: TRY300  what is above may raise all that is told below
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    except ValueError as error:  # a word that is no JSON, or a number of thousands of digits
        raise InvalidRequest(f"the body is not JSON: {str(error).split(';')[0]}") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these fields. Of two with one name JSON would have the last win, and the caller not know."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest(
                f"the body has the field {json.dumps(name[:_LONGEST_ID])} more than once in one object"
            )
        found[name] = value
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _summary(details: list[dict[str, Any]]) -> str:
    first = details[0]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{first['path']}: {first['message']}{more}"


def _new_id() -> str:
    return f"req_{uuid.uuid4().hex[:20]}"

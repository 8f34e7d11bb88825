"""REST's own rules, once: who calls, what the body says, what an error looks like.

Errors are answered inside the view, because Chalice adds CORS headers only to what a view returns. What Chalice answers
before a view runs (another content type, say) is put into the same shape by `in_our_shape`, a middleware.
"""

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chalice import Blueprint, Response
from chalice.app import Request as ChaliceRequest
from pydantic import BaseModel, ConfigDict, ValidationError

from chalicelib.api.auth import caller_of
from chalicelib.domain import errors
from chalicelib.domain.errors import (
    Forbidden,
    InvalidRequest,
    SlipwayError,
    TooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from chalicelib.domain.panel import Caller, Role
from chalicelib.domain.words import finding

log = logging.getLogger("slipway.api")

STATUS: dict[type[SlipwayError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ValidationFailed: 422,
    errors.UpgradeRequired: 426,
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
Wire = TypeVar("Wire", bound="WireIn")


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


class Routes(Blueprint):
    """A Blueprint whose views take a `Request` and return a body or an `Answer`, and may raise any `SlipwayError`."""

    def on(
        self, method: str, path: str, role: Role | None = "viewer"
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Answer `method` on `path` for callers of at least `role`; None: for anyone, without a token."""
        # One content type would have Chalice refuse others in its own words; ours are told by `Request.body`.
        register = self.route(path, methods=[method], cors=True, name=f"{method} {path}")

        def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
            def answering(**parameters: str) -> Response:
                return _answer(self.current_request, view, role, parameters)

            answering.__name__ = view.__name__
            answering.__doc__ = view.__doc__
            register(answering)
            return view

        return decorate


def validated(model: type[Wire], value: Any, *, strict: bool = True) -> Wire:
    try:
        return model.model_validate(value, strict=None if strict else False)
    except ValidationError as error:
        details = [
            finding(".".join(map(str, problem["loc"])) or "body", problem["type"], problem["msg"])
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ValidationFailed(_summary(details), details) from error


def in_our_shape(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Chalice's own error answers, in Slipway's shape."""
    response = get_response(event)
    body = response.body
    if response.status_code >= 400 and isinstance(body, dict) and "Code" in body:  # noqa: PLR2004
        code = {400: "invalid_request", 404: "not_found", 405: "not_found", 415: "unsupported_media_type"}
        response.body = _error_body(
            code.get(response.status_code, "internal_error"), body.get("Message", ""), None, _new_id()
        )
    return response


def _answer(
    request: ChaliceRequest, view: Callable[..., Any], role: Role | None, parameters: dict[str, str]
) -> Response:
    request_id = request.context.get("requestId") or _new_id()
    caller = _ANYONE
    try:
        if role:
            caller = _allowed(request, role)
        result = view(_request(request, caller, request_id), **parameters)
        answer = result if isinstance(result, Answer) else Answer(result)
    except SlipwayError as error:
        answer = _refusal(error, request_id)
    except Exception:  # the last door: logged whole, told without a word of what is inside
        log.exception("request %s failed", request_id)
        message = "something went wrong here; the log has it under this request_id"
        answer = Answer(_error_body("internal_error", message, None, request_id), 500)
    line = {"request_id": request_id, "method": request.method, "path": request.path}
    log.info("%s", json.dumps({**line, "status": answer.status, "token_id": caller.token_id}))
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id, **answer.headers}
    body = "" if answer.body is None else json.dumps(answer.body, ensure_ascii=False)
    return Response(body=body, status_code=answer.status, headers=headers)


def _allowed(request: ChaliceRequest, role: Role) -> Caller:
    caller = caller_of(request.headers.get("authorization"))
    if not caller.at_least(role):
        raise Forbidden(f"this needs a token with the role {role}")
    return caller


def _request(request: ChaliceRequest, caller: Caller, request_id: str) -> Request:
    query = request.query_params
    return Request(
        caller=caller,
        id=request_id,
        query={name: query[name] for name in query} if query else {},
        content_type=request.headers.get("content-type", ""),
        raw_body=request.raw_body if isinstance(request.raw_body, bytes) else request.raw_body.encode(),
    )


def _refusal(error: SlipwayError, request_id: str) -> Answer:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004
    return Answer(_error_body(error.code, error.message, error.details, request_id), status, headers)


def _error_body(code: str, message: str, details: Any, request_id: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": details, "request_id": request_id}}


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidRequest("the JSON is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidRequest(f"the body is not JSON: {error}") from None


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _summary(details: list[dict[str, Any]]) -> str:
    first = details[0]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{first['path']}: {first['message']}{more}"


def _new_id() -> str:
    return f"req_{uuid.uuid4().hex[:20]}"

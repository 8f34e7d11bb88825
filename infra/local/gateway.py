"""API Gateway's part for one machine: an HTTP request becomes the Lambda event Chalice expects, and back.

Chalice's LocalGateway does the translation. Here are the things it leaves to others: one gateway a thread and an app
whose current request is the thread's own (else requests see each other's data), path parameters decoded as API Gateway
decodes them, text bodies as text, and Slipway's one error shape where API Gateway answers by itself.
"""

import base64
import json
import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from chalice.app import Chalice
from chalice.config import Config
from chalice.local import (
    ForbiddenError,
    LambdaContext,
    LambdaEventConverter,
    LocalChalice,
    LocalGateway,
    LocalGatewayException,
    MatchResult,
    NotAuthorizedError,
    RouteMatcher,
)

log = logging.getLogger(__name__)

BODY_LIMIT = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """`path` as it was sent, still encoded; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Gateway:
    """Answers requests with the app, from any number of threads at once."""

    def __init__(self, app: Chalice, config: Config) -> None:
        self._app = _shared_by_threads(app)
        self._config = config.scope(config.chalice_stage, "api_handler")
        self._routes = _Routes(list(app.routes))
        self._thread = threading.local()

    def answer(self, request: Request) -> Response:
        request_id = str(uuid.uuid4())
        if len(request.body) > BODY_LIMIT:
            return too_large(request_id)
        method = self._method(request)
        if method is None:
            return refused(404, "not_found", f"there is no {request.method} {request.path}", request_id)
        try:
            answer = self._local.handle(request_id, method, request)
        except LocalGatewayException as error:
            return _refused_by_gateway(error, request_id)
        except Exception:
            log.exception("%s %s failed outside of its view", request.method, request.path)
            return refused(500, "internal_error", "something went wrong here; the log says what", request_id)
        return _response(answer, request_id)

    @property
    def _local(self) -> "_LocalGateway":
        try:
            gateway: _LocalGateway = self._thread.gateway
        except AttributeError:
            gateway = self._thread.gateway = _LocalGateway(self._app, self._config, self._routes)
        return gateway

    def _method(self, request: Request) -> str | None:
        """The method to ask the app for: HEAD is a GET whose body stays here. None where there is no such route."""
        try:
            methods = self._app.routes[self._routes.match_route(request.path).route]
        except ValueError:
            return None
        if request.method == "HEAD" and "HEAD" not in methods:
            return "GET" if "GET" in methods else None
        return request.method if request.method in methods or request.method == "OPTIONS" else None


def too_large(request_id: str | None = None) -> Response:
    return refused(413, "too_large", "a body ends at 10 MB", request_id)


def refused(status: int, code: str, message: str, request_id: str | None = None) -> Response:
    request_id = request_id or str(uuid.uuid4())
    content = {"error": {"code": code, "message": message, "details": None, "request_id": request_id}}
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
    return Response(status, _headers(request_id, headers), json.dumps(content).encode())


class _PerThread(LocalChalice):
    """LocalChalice keeps the request of each thread apart, but not the Lambda context that came with it."""

    _context = threading.local()

    @property
    def lambda_context(self) -> Any:
        return getattr(self._context, "value", None)

    @lambda_context.setter
    def lambda_context(self, value: Any) -> None:
        self._context.value = value


def _shared_by_threads(app: Chalice) -> Chalice:
    if not isinstance(app, _PerThread):
        app.__class__ = type("Chalice", (_PerThread, type(app)), {})
    return app


class _Routes(RouteMatcher):
    """As Chalice's, but path parameters are decoded and a `//` in a path is not taken for a host."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls)
        self._by_length: dict[int, list[tuple[str, list[str]]]] = {}
        for url in self.route_urls:
            parts = url.split("/")
            self._by_length.setdefault(len(parts), []).append((url, parts))

    def match_route(self, url: str) -> MatchResult:
        path, _, query = url.partition("?")
        if path != "/":
            path = path.removesuffix("/")
        given = path.split("/")
        for route, parts in self._by_length.get(len(given), ()):
            pairs = list(zip(parts, given, strict=True))
            if all(part == value or (value and part.startswith("{")) for part, value in pairs):
                captured = {part[1:-1]: unquote(value) for part, value in pairs if part.startswith("{")}
                return MatchResult(route, captured, parse_qs(query, keep_blank_values=True))
        raise ValueError(f"no route for {path}")


class _LocalGateway(LocalGateway):
    def __init__(self, app: Chalice, config: Config, routes: _Routes) -> None:
        super().__init__(app, config)
        self.event_converter = LambdaEventConverter(routes, app.api.binary_types)

    def handle(self, request_id: str, method: str, request: Request) -> dict[str, Any]:
        self._request_id, self._client = request_id, request.client
        path = f"{request.path}?{request.query}" if request.query else request.path
        answer: dict[str, Any] = self.handle_request(method, path, dict(request.headers), request.body or None)
        return answer

    def _generate_lambda_context(self) -> LambdaContext:
        context = super()._generate_lambda_context()
        context.aws_request_id = self._request_id
        return context

    def _generate_lambda_event(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Any:
        event = super()._generate_lambda_event(method, path, headers, body)
        event["requestContext"]["requestId"] = self._request_id
        event["requestContext"]["identity"]["sourceIp"] = self._client
        if isinstance(event["body"], bytes):
            try:
                event["body"] = event["body"].decode()
            except UnicodeDecodeError:  # the app is to see it as it came, and say so
                event["body"] = base64.b64encode(event["body"]).decode()
                event["isBase64Encoded"] = True
        return event


def _response(answer: Mapping[str, Any], request_id: str) -> Response:
    body = answer.get("body") or b""
    if isinstance(body, str):
        body = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    headers = _headers(request_id, answer.get("headers") or {}, answer.get("multiValueHeaders") or {})
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (("Content-Type", "application/json"), *headers)
    return Response(int(answer["statusCode"]), headers, body)


def _refused_by_gateway(error: LocalGatewayException, request_id: str) -> Response:
    if isinstance(error, NotAuthorizedError):
        return refused(401, "unauthorized", "this needs a token in the Authorization header", request_id)
    if isinstance(error, ForbiddenError):
        return refused(403, "forbidden", "this token does not allow that", request_id)
    return refused(500, "internal_error", HTTPStatus(error.CODE).phrase, request_id)


def _headers(
    request_id: str, single: Mapping[str, Any], multiple: Mapping[str, list[Any]] | None = None
) -> tuple[tuple[str, str], ...]:
    pairs = [(name, str(value)) for name, value in single.items()]
    pairs += [(name, str(value)) for name, values in (multiple or {}).items() for value in values]
    if not any(name.lower() == "x-amzn-requestid" for name, _ in pairs):
        pairs.append(("x-amzn-RequestId", request_id))
    return tuple(pairs)

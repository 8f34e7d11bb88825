"""/openapi.json: the contract as an OpenAPI 3.1 document, made of what the routes declare and their models.

It is made when it is first asked for, and never at import: a cold start serves one request, which needs none of it.
What holds for every route of a kind (tokens, idempotency keys, rate limits, sizes) is said here once.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from string import Formatter
from typing import Any, Final

from typing_extensions import TypedDict

from chalicelib.api import views
from chalicelib.api.contract import Declared, Says
from chalicelib.api.http import DECLARED, MAX_BODY_BYTES, STATUS, Request, Routes
from chalicelib.domain import errors
from chalicelib.domain.errors import SlipwayError

routes = Routes(__name__)

Json = dict[str, Any]

VERSION: Final = "0.1.0"
PREFIX: Final = "/api"
_READS = ("GET", "HEAD")
_HEADERS: Final[dict[str, tuple[str, Json]]] = {
    "ETag": ("The version of what was answered, for If-Match.", {"type": "string"}),
    "Idempotency-Replayed": ("The answer is the first request's with this key.", {"type": "string", "enum": ["true"]}),
    "Location": ("Where what was made is.", {"type": "string"}),
    "RateLimit-Limit": ("How many requests a minute this token may make.", {"type": "integer"}),
    "RateLimit-Remaining": ("How many are left of this minute's.", {"type": "integer"}),
    "RateLimit-Reset": ("In how many seconds the minute is over.", {"type": "integer"}),
    "Retry-After": ("In how many seconds to come back.", {"type": "integer"}),
    "WWW-Authenticate": ("How to say who calls.", {"type": "string"}),
    "X-Job-Id": ("The job that was begun.", {"type": "string"}),
    "X-Request-Id": ("The request's id, as the log has it.", {"type": "string"}),
}
_LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
# The door's own refusals; all others below 500 are answers that an Idempotency-Key has repeated.
_OWN_HEADERS: Final[dict[int, tuple[str, ...]]] = {401: ("WWW-Authenticate",), 403: (), 429: ("Retry-After",)}
_PARAMETERS: Final[dict[str, Json]] = {
    "If-Match": {
        "description": "Do it only if it still has one of these versions, as ETag told it.",
        "schema": {"type": "string"},
        "example": '"7"',
    },
    "Idempotency-Key": {
        "description": "Have the request carried out once, however often it is sent with this key.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    },
}
_ABOUT = """\
Deploys Compose services onto Docker hosts of your own.

Lists are `{data, total, page, per_page}`, refusals `{error: {code, message, details, request_id}}`. What belongs to
another customer is answered as what does not exist. Fields may be added to answers; a client should ignore those it
does not know. A body has at most %d bytes."""
_TAGS: Final = {
    "services": "What customers run",
    "webhooks": "Pushes, as repositories' hosts tell of them",
    "jobs": "What a deploy did, is doing, and how to stop it",
    "hosts": "The Docker hosts that services run on",
    "customers": "Who services belong to",
    "tokens": "Who may call",
    "registries": "Customers' credentials for private images",
    "templates": "What can be deployed by name",
    "audit": "Who asked for which change",
    "agent": "What hosts' agents send and fetch; no part of what clients call",
    "health": "Whether this API answers",
    "openapi.json": "This document",
}


class Contract(TypedDict):
    """An OpenAPI document."""

    openapi: str
    info: Json
    servers: list[Json]
    tags: list[Json]
    security: list[Json]
    paths: Json
    components: Json


@routes.on("GET", "/openapi.json", role=None, answers={200: Contract})
def get_contract(request: Request) -> Contract:
    """This document: every call, what it takes and what it answers."""
    return document()


@cache
def document() -> Contract:
    """The contract of all routes that were declared until now."""
    schemas = _schemas(DECLARED)
    paths: dict[str, Json] = {}
    for route in sorted(DECLARED, key=lambda route: _place(route.path)):
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route)
    return Contract(
        openapi="3.1.0",
        info={"title": "Slipway", "version": VERSION, "description": _ABOUT % MAX_BODY_BYTES},
        servers=[{"url": "/", "description": "Where this document was read"}],
        tags=[{"name": name, "description": about} for name, about in _TAGS.items()],
        security=[{"token": []}],
        paths=paths,
        components={
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token, as POST /api/tokens gave it."}
            },
            "headers": {name: {"description": about, "schema": schema} for name, (about, schema) in _HEADERS.items()},
            "parameters": {
                name: {"name": name, "in": "header", "required": False, **rest} for name, rest in _PARAMETERS.items()
            },
            "responses": {_refusal_name(status): _refusal(status) for status in sorted(set(STATUS.values()) - {500})},
            "schemas": schemas,
        },
    )


def refusals(route: Declared) -> list[int]:
    """Every status with which a route may refuse, whoever asks."""
    return sorted({STATUS[kind] for kind in _refusals(route)})


def _refusals(route: Declared) -> Iterable[type[SlipwayError]]:
    if route.name != get_contract.__name__:
        yield errors.Unavailable
    if route.role:  # ValidationFailed: a parameter in its query that it does not know
        yield from (errors.Unauthorized, errors.RateLimited, errors.ValidationFailed)
    if route.role not in (None, "viewer"):
        yield errors.Forbidden
    if "{" in route.path:
        yield errors.NotFound
    if route.method not in _READS:  # a key may be a bad one, or another request's
        yield from (errors.ValidationFailed, errors.Conflict)
    if route.body:
        yield from (errors.InvalidRequest, errors.TooLarge, errors.UnsupportedMediaType, errors.ValidationFailed)
    if route.conditional:
        yield from (errors.InvalidRequest, errors.PreconditionFailed)
    yield from route.raises


def _operation(route: Declared) -> Json:
    summary, _, more = route.told.partition("\n")
    limits = _LIMITS if route.role else ()
    replayed = ("Idempotency-Replayed",) if route.role and route.method not in _READS else ()
    operation: Json = {
        "operationId": route.name,
        "tags": [route.path.split("/")[1]],
        "summary": summary.strip().rstrip("."),
        "parameters": _parameters(route),
        "responses": {
            **{str(status): _answer(status, says, (*limits, *replayed)) for status, says in route.answers.items()},
            **{str(status): _ref("responses", _refusal_name(status)) for status in refusals(route)},
        },
    }
    if more.strip():
        operation["description"] = " ".join(more.split())
    if route.body:
        operation["requestBody"] = {"required": route.body_is_required, **_content(route.body)}
    if route.role:
        operation["x-role"] = route.role
    else:
        operation["security"] = []
    return operation


def _parameters(route: Declared) -> list[Json]:
    names = [name for _, name, _, _ in Formatter().parse(route.path) if name]
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    if route.query:
        properties = route.query.model_json_schema(schema_generator=_generator())["properties"]
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
            for name, schema in properties.items()
        ]
    if route.conditional:
        parameters.append(_ref("parameters", "If-Match"))
    if route.role and route.method not in _READS:
        parameters.append(_ref("parameters", "Idempotency-Key"))
    return parameters


def _without_null(schema: Json) -> Json:
    """Nothing in a query string is null: what has no value is left out of it."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: value for name, value in schema.items() if name not in ("anyOf", "default")}}


def _answer(status: int, says: Says, more: tuple[str, ...]) -> Json:
    headers = _headers(*says.headers, *more)
    return {"description": HTTPStatus(status).phrase, "headers": headers, **_content(*says.bodies)}


def _refusal(status: int) -> Json:
    codes = sorted(kind.code for kind, number in STATUS.items() if number == status)
    own = _OWN_HEADERS.get(status, ("Idempotency-Replayed",) if status < 500 else ())  # noqa: PLR2004
    described = f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in dict.fromkeys(codes))}"
    return {
        "description": described,
        "headers": _headers(*own, *_LIMITS),
        **_content(views.Error),
    }


def _refusal_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _headers(*names: str) -> Json:
    return {name: _ref("headers", name) for name in (*names, "X-Request-Id")}


def _content(*models: Any) -> Json:
    named = [_ref("schemas", model.__name__) for model in models if model]
    if not named:
        return {}
    return {"content": {"application/json": {"schema": named[0] if len(named) == 1 else {"anyOf": named}}}}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schemas(declared: Iterable[Declared]) -> Mapping[str, Json]:
    # The first to ask for the contract pays for the machinery that makes schemas.
    from pydantic import TypeAdapter  # noqa: PLC0415

    taken: list[tuple[Any, str]] = [(route.body, "validation") for route in declared if route.body]
    told = [(body, "serialization") for route in declared for says in route.answers.values() for body in says.bodies]
    wanted: Any = [
        (model, mode, TypeAdapter[Any](model))
        for model, mode in dict.fromkeys([*taken, *told, (views.Error, "serialization")])
    ]
    _, found = TypeAdapter.json_schemas(
        wanted, ref_template="#/components/schemas/{model}", schema_generator=_generator()
    )
    schemas: dict[str, Json] = found["$defs"]
    schemas["Problem"]["properties"]["code"]["enum"] = sorted({kind.code for kind in STATUS})
    return schemas


@cache
def _generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415

    class Untitled(GenerateJsonSchema):
        """A field's name in other letters says nothing."""

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
            return False

    return Untitled


def _place(path: str) -> tuple[int, str]:
    return list(_TAGS).index(path.split("/")[1]), path

"""Holds what the API was asked and what it answered to its own contract."""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from jsonschema_rs import Draft202012Validator, ValidationError

import app
from chalicelib.api.openapi import document

assert app.app.routes  # importing it declares every route
# Every answer may have these: Chalice's, for browsers.
_FREE_HEADERS = {"content-type", "x-request-id", "x-amzn-requestid"}


class Undocumented(AssertionError):
    """Something was asked or answered that the contract does not tell."""


def hold(method: str, path: str, sent: bytes, status: int, headers: Mapping[str, str], text: str) -> None:
    """Raise `Undocumented` if this answer, or a request that was taken, is not as the contract says."""
    asked = urlsplit(path)
    operation = operation_of(method, asked.path)
    if operation is None:
        return  # there is no such route, and it was answered so
    name = operation["operationId"]
    answer = answer_of(operation, status)
    if answer is None:
        raise Undocumented(f"{name} answered {status}: {text}")
    told = {header.lower() for header in answer["headers"]} | _FREE_HEADERS
    more = {header.lower() for header in headers if not header.lower().startswith("access-control-")} - told
    if more:
        raise Undocumented(f"{name} answered {status} with the headers {sorted(more)}")
    if "content" in answer:
        _judge(f"{name} answered {status}", answer["content"]["application/json"]["schema"], json.loads(text))
    elif text:
        raise Undocumented(f"{name} answered {status} with a body")
    if status < 400:
        _hold_request(operation, asked.query, sent)


def _hold_request(operation: dict[str, Any], query: str, sent: bytes) -> None:
    name = operation["operationId"]
    known = {parameter.get("name") for parameter in operation["parameters"] if parameter.get("in") == "query"}
    unknown = parse_qs(query, keep_blank_values=True).keys() - known
    if unknown and operation.get("security") != []:  # who needs no token may add what he likes
        raise Undocumented(f"{name} took {sorted(unknown)} in its query")
    if sent and "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        _judge(f"{name} took a body", schema, json.loads(sent))
    elif operation.get("requestBody", {}).get("required"):
        raise Undocumented(f"{name} did without its body")


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    given = path.removesuffix("/").split("/")
    for pattern, operations in closed()["paths"].items():
        parts = pattern.split("/")
        if len(parts) == len(given) and all(
            part == value or (value and part.startswith("{")) for part, value in zip(parts, given, strict=True)
        ):
            return cast(dict[str, Any] | None, operations.get(method.lower()))
    return None


def answer_of(operation: dict[str, Any], status: int) -> dict[str, Any] | None:
    answer = operation["responses"].get(str(status))
    return resolved(answer) if answer else None


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for."""
    while "$ref" in value:
        found: Any = closed()
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """What keeps `value` from being what `schema` says, a field that it does not name too."""
    validator = _validator(json.dumps(schema))
    return [f"{'/'.join(map(str, error.instance_path))}: {_shown(error)}" for error in validator.iter_errors(value)]


def _judge(what: str, schema: dict[str, Any], value: Any) -> None:
    found = problems(schema, value)
    if found:
        raise Undocumented(f"{what} that is not as documented: {'; '.join(found)}")


def _shown(error: ValidationError) -> str:
    return str(error.message)[:500]


@cache
def _validator(schema: str) -> Draft202012Validator:
    whole = {"components": {"schemas": closed()["components"]["schemas"]}, **json.loads(schema)}
    return Draft202012Validator(whole, validate_formats=True)


@cache
def closed() -> dict[str, Any]:
    """The contract with every object closed: clients shall bear new fields, and we shall not add them unawares."""
    whole = cast(dict[str, Any], deepcopy(document()))
    for schema in whole["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return whole

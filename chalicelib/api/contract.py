"""What a route promises: the words with which it is declared, which the OpenAPI document is made of.

What follows from a route's method, path and role (a token, an Idempotency-Key, another customer's object) is not said
at the route: openapi.py knows it for all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from pydantic import BaseModel

from chalicelib.domain import errors
from chalicelib.domain.errors import SlipwayError
from chalicelib.domain.panel import Role

# What can go wrong where a host is asked while the caller waits.
ASKS_HOST: Final[tuple[type[SlipwayError], ...]] = (
    errors.HostUnreachable,
    errors.HostKeyMismatch,
    errors.HostRefused,
    errors.HostNotReady,
    errors.CommandFailed,
    errors.HostTimeout,
)


@dataclass(frozen=True)
class Says:
    """An answer: its body, None for an empty one, and the headers that only this answer has.

    `instead` is a body that it may have instead of the first.
    """

    body: type[Any] | None
    headers: tuple[str, ...] = ()
    instead: type[Any] | None = None

    @property
    def bodies(self) -> tuple[type[Any], ...]:
        return tuple(body for body in (self.body, self.instead) if body)


class More(TypedDict, total=False):
    """What not every route has to say. `conditional`: it looks at If-Match; `raises`: what does not follow from it."""

    body: type[BaseModel]
    body_is_required: bool
    query: type[BaseModel]
    conditional: bool
    raises: tuple[type[SlipwayError], ...]


@dataclass(frozen=True)
class Declared:
    """A route and what it promises; `told` is its view's docstring."""

    method: str
    path: str
    role: Role | None
    name: str
    told: str
    answers: Mapping[int, Says]
    body: type[BaseModel] | None = None
    body_is_required: bool = True
    query: type[BaseModel] | None = None
    conditional: bool = False
    raises: tuple[type[SlipwayError], ...] = ()

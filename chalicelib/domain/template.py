"""A template: a compose text with typed variables, the exposed port and a health check."""

import re
import secrets
import string
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.words import Noun, finding

_GENERATED_LENGTH = 32
_TRUE_FALSE = {True: "true", False: "false"}


class Variable(Noun):
    """`secret` values are sealed, never shown, and made up where none is given and none is required."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)
    label: str = ""
    description: str = ""
    type: Literal["string", "integer", "boolean", "secret"] = "string"
    required: bool = False
    default: str | None = None


class Expose(Noun):
    service: str
    port: int = Field(ge=1, le=65535)


class TemplateHealthCheck(Noun):
    path: str = Field(default="/", pattern=r"^/[!-~]*$", max_length=500)
    timeout_seconds: int = Field(default=120, ge=1, le=1800)


class MinResources(Noun):
    cpu: float = Field(default=0.1, gt=0)
    memory_mb: int = Field(default=64, gt=0)


class Template(Noun):
    id: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=2000)
    category: str = Field(default="devtools", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    compose: str = Field(min_length=1)
    variables: tuple[Variable, ...] = ()
    expose: Expose | None = None
    healthcheck: TemplateHealthCheck | None = None
    min_resources: MinResources = MinResources()

    @property
    def secret_names(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self.variables if variable.type == "secret")

    def values(self, given: Mapping[str, str], service_name: str) -> dict[str, str]:
        """Every variable's value: given, default, or made up. Raise `ValidationFailed` with all that is wrong."""
        values = {"SERVICE_NAME": service_name}
        known = {variable.name for variable in self.variables} | {"SERVICE_NAME"}
        wrong = [
            finding(f"variables.{name}", "unknown-variable", f"template {self.id} has no variable {name}")
            for name in sorted(given.keys() - known)
        ]
        values |= {name: given[name] for name in given.keys() & {"SERVICE_NAME"}}
        for variable in self.variables:
            value = given.get(variable.name) or variable.default
            if not value and variable.type == "secret" and not variable.required:
                value = _made_up()
            problem = _problem(variable, value)
            if problem:
                wrong.append(finding(f"variables.{variable.name}", *problem))
            elif value is not None:
                values[variable.name] = value
        if wrong:
            raise ValidationFailed(f"the variables do not fit template {self.id}", wrong)
        return values


def _problem(variable: Variable, value: str | None) -> tuple[str, str] | None:
    if not value:
        return ("missing-variable", f"{variable.name} is required") if variable.required else None
    if variable.type == "integer" and not re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII):
        return ("wrong-type", f"{variable.name} must be a whole number")
    if variable.type == "boolean" and value not in _TRUE_FALSE.values():
        return ("wrong-type", f"{variable.name} must be true or false")
    return None


def _made_up() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_GENERATED_LENGTH))

"""A template: a compose text with typed variables, the exposed port and a health check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.variable import Variable
from chalicelib.domain.words import Noun, finding

Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]


class Expose(Noun):
    """Where the service's URL leads. The edge speaks HTTP, and WebSockets over it."""

    service: str
    port: int = Field(ge=1, le=65535)
    protocol: Literal["http"] = "http"


class TemplateHealthCheck(Noun):
    """`port` is the exposed one where none is given."""

    path: str = Field(default="/", pattern=r"^/[!-~]*$", max_length=500)
    port: int | None = Field(default=None, ge=1, le=65535)
    timeout_seconds: int = Field(default=120, ge=1, le=1800)


class MinResources(Noun):
    cpu: float = Field(default=0.1, gt=0, le=256)
    memory_mb: int = Field(default=64, gt=0, le=4_194_304)
    storage_mb: int = Field(default=0, ge=0, le=1_000_000_000)


@dataclass(frozen=True)
class Called:
    """How a service is called and where it answers."""

    name: str
    host_name: str
    url: str


class Template(Noun):
    id: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=2000)
    category: str = Field(default="devtools", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    tags: tuple[Tag, ...] = Field(default=(), max_length=20)
    featured: bool = False
    compose: str = Field(min_length=1)
    variables: tuple[Variable, ...] = Field(default=(), max_length=100)
    expose: Expose | None = None
    healthcheck: TemplateHealthCheck | None = None
    min_resources: MinResources = Field(default_factory=MinResources)

    @property
    def secret_names(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self.variables if variable.type == "secret")

    @property
    def own_names(self) -> frozenset[str]:
        """Variables that every text may use undeclared: Slipway knows their values."""
        return frozenset({"SERVICE_NAME"} | ({"SERVICE_URL"} if "SERVICE_URL" in self.compose else set()))

    def values(self, given: Mapping[str, str], called: Called) -> dict[str, str]:
        """Every variable's value: given, default, or made up. Raise `ValidationFailed` with all that is wrong."""
        known = {variable.name for variable in self.variables} | self.own_names
        wrong = [
            finding(f"variables.{name}", "unknown-variable", f"template {self.id} has no variable {name}")
            for name in sorted(given.keys() - known)
        ]
        values: dict[str, str] = {}
        for variable in self.variables:
            value = given.get(variable.name) or variable.default or _found(variable, called)
            problem = variable.problem(value) if value else _missing(variable)
            if problem:
                wrong.append(finding(f"variables.{variable.name}", *problem))
            elif value:
                values[variable.name] = value
        if wrong:
            raise ValidationFailed(f"the variables do not fit template {self.id}", wrong)
        own = self._own(values, called)
        return {**{name: given.get(name) or own[name] for name in self.own_names}, **values}

    def chosen(self, values: Mapping[str, str], called: Called) -> dict[str, str]:
        """The values without those that follow from the service's name, so that they follow its next name too."""
        followed = self._own(values, called) | {
            variable.name: called.host_name
            for variable in self.variables
            if variable.type == "domain" and not variable.required and not variable.default
        }
        return {name: value for name, value in values.items() if followed.get(name) != value}

    def _own(self, values: Mapping[str, str], called: Called) -> dict[str, str]:
        """SERVICE_URL is where people find the service: at the first domain that was chosen, else at its own."""
        domains = (values.get(variable.name) for variable in self.variables if variable.type == "domain")
        domain = next(filter(None, domains), called.host_name)
        url = called.url if domain == called.host_name else f"{urlsplit(called.url).scheme}://{domain}"
        return {"SERVICE_NAME": called.name, "SERVICE_URL": url}


def _found(variable: Variable, called: Called) -> str | None:
    """A value for a variable that was given none and has no default."""
    if variable.required:
        return None
    if variable.type == "secret":
        return variable.made_up()
    return called.host_name if variable.type == "domain" else None


def _missing(variable: Variable) -> tuple[str, str] | None:
    return ("missing-variable", f"{variable.name} is required") if variable.required else None

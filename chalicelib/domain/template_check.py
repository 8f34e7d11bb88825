"""What a template must be before it is offered: variables that make sense, and a text that a service could have.

The text is planned as a service's would be, several times with stand-ins for its variables: every option of an enum,
both truths of a boolean, the ends of a number's range, and with nothing but what is required. What holds for all of
them holds for what people will choose, but for free text, which is judged again with each service.
"""

import re
from collections.abc import Iterator
from typing import Any

from chalicelib.domain import compose, pattern
from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.template import Called, Template
from chalicelib.domain.variable import OWN_FIELDS, Variable
from chalicelib.domain.words import finding

_EXAMPLE = Called(name="example", host_name="example.example.com", url="https://example.example.com")
_SERVICE_ID = "svc_0000000000000000"
# What DynamoDB takes in one item is 400 KB.
_MOST_BYTES = 380_000
Finding = dict[str, Any]


def check(template: Template, defaults: compose.Defaults) -> None:
    """Raise `ValidationFailed` with everything that is wrong with it."""
    wrong = [*_size(template), *_variables(template), *_health(template)]
    try:
        plans = [_plan(template, values, defaults) for values in _stand_ins(template)]
    except ValidationFailed as refused:
        wrong += refused.details
    else:
        wrong += [*_names(template, plans), *_exposed(template, plans[0]), *_resources(template, plans)]
    if wrong:
        first = f"{wrong[0]['path']}: {wrong[0]['message']}"
        raise ValidationFailed(first if len(wrong) == 1 else f"{first} (and {len(wrong) - 1} more)", wrong)


def _plan(template: Template, values: dict[str, str], defaults: compose.Defaults) -> compose.Plan:
    expose = (template.expose.service, template.expose.port) if template.expose else None
    return compose.plan(
        template.compose,
        values,
        service_id=_SERVICE_ID,
        release=1,
        publish_ports=True,
        defaults=defaults,
        expose=expose,
    )


def _size(template: Template) -> Iterator[Finding]:
    if len(template.model_dump_json().encode()) > _MOST_BYTES:
        yield finding("compose", "too-large", f"with its variables a template has at most {_MOST_BYTES} bytes")


# Variables


def _variables(template: Template) -> Iterator[Finding]:
    seen = set()
    for index, variable in enumerate(template.variables):
        at = f"variables.{index}"
        if variable.name in seen:
            yield finding(f"{at}.name", "duplicate", f"there is another variable {variable.name}")
        seen.add(variable.name)
        for field in _foreign(variable):
            yield finding(f"{at}.{field}", "not-for-type", f"a variable of type {variable.type} has no {field}")
        for field, rule, message in _own(variable):
            yield finding(f"{at}.{field}", rule, message)


def _foreign(variable: Variable) -> Iterator[str]:
    for fields in OWN_FIELDS.values():
        for field in fields:
            if field not in OWN_FIELDS[variable.type] and getattr(variable, field) not in (None, ()):
                yield field


def _own(variable: Variable) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a variable's own fields: field, rule, message."""
    if variable.type == "enum":
        if not variable.options or "" in variable.options:
            yield "options", "missing", "an enum needs options, none of them empty"
        if len(set(variable.options)) < len(variable.options):
            yield "options", "duplicate", "an option is there twice"
    if variable.min is not None and variable.max is not None and variable.min > variable.max:
        yield "max", "too-small", "max is below min"
    if variable.type == "secret" and variable.default is not None:
        yield "default", "secret-default", "a secret that all share is none; leave it out, and one is made up for each"
    elif variable.pattern is not None and "pattern" in OWN_FIELDS[variable.type]:
        yield from _pattern(variable, variable.pattern)
    elif variable.default and (problem := variable.problem(variable.default)):
        yield "default", *problem


def _pattern(variable: Variable, written: str) -> Iterator[tuple[str, str, str]]:
    if (reason := pattern.why_not(written)) is not None:
        yield "pattern", "pattern", reason
        return
    if variable.default and (problem := variable.problem(variable.default)):
        yield "default", *problem
    if variable.type == "secret":
        if not variable.required and variable.problem(variable.made_up()):
            yield "pattern", "pattern", "what is made up would not fit it; require the secret, or widen the pattern"
    elif not variable.default and not pattern.fits(written, variable.placeholder):
        yield "placeholder", "pattern", "give a default or a placeholder that fits the pattern, to show what does"


# Stand-ins


def _stand_ins(template: Template) -> Iterator[dict[str, str]]:
    rounds = max([3, *(len(variable.options) for variable in template.variables)])
    for number in range(rounds):
        yield _own_values(template) | {variable.name: _stand_in(variable, number) for variable in template.variables}
    yield _own_values(template) | {
        variable.name: _stand_in(variable, 0)
        for variable in template.variables
        if variable.required or variable.default or variable.type in ("secret", "domain")
    }


def _own_values(template: Template) -> dict[str, str]:
    own = {"SERVICE_NAME": _EXAMPLE.name, "SERVICE_URL": _EXAMPLE.url}
    return {name: own[name] for name in template.own_names}


def _stand_in(variable: Variable, number: int) -> str:
    """A value that the variable takes; another one for each number, where its type has several that matter."""
    if variable.type == "enum":
        return variable.options[number % len(variable.options)] if variable.options else "example"
    if variable.type == "boolean":
        return ("true", "false")[number % 2]
    if variable.type == "integer":
        return _numbers(variable)[number % 3]
    if variable.type == "secret":
        return variable.made_up()
    if variable.type == "domain":
        return variable.default or _EXAMPLE.host_name
    return variable.default or variable.placeholder or "example"


def _numbers(variable: Variable) -> tuple[str, str, str]:
    ends = [end for end in (variable.min, variable.max) if end is not None] or [1]
    usual = variable.default if variable.default and not variable.problem(variable.default) else str(ends[0])
    return usual, str(ends[0]), str(ends[-1])


# The text


def _names(template: Template, plans: list[compose.Plan]) -> Iterator[Finding]:
    declared = {variable.name for variable in template.variables} | template.own_names
    used = {name for plan in plans for name in plan.variables_used}
    for name in sorted(used - declared):
        yield finding("compose", "undeclared-variable", f"the text uses {name}; declare it under variables")
    for index, variable in enumerate(template.variables):
        if variable.type == "domain" and "SERVICE_URL" in template.own_names:
            continue  # it is part of that
        if variable.name not in used and not re.search(rf"\b{variable.name}\b", template.compose, re.ASCII):
            message = f"the text does not use {variable.name}; it would change nothing"
            yield finding(f"variables.{index}.name", "unused-variable", message)


def _exposed(template: Template, plan: compose.Plan) -> Iterator[Finding]:
    """The plan has refused a service that is not there. A port must be one that the service names, if it names any."""
    if template.expose is None:
        return
    service = plan.document["services"][template.expose.service]
    named = [str(port["target"]) for port in service.get("ports", [])] + [*service.get("expose", [])]
    if named and not any(_names_port(entry, template.expose.port) for entry in named):
        message = f"service {template.expose.service} has the ports {', '.join(named)}, not {template.expose.port}"
        yield finding("expose.port", "expose", message)


def _names_port(entry: str, port: int) -> bool:
    number, _, protocol = entry.partition("/")
    first, _, last = number.partition("-")
    return protocol != "udp" and int(first) <= port <= int(last or first)


def _health(template: Template) -> Iterator[Finding]:
    if template.healthcheck and template.expose is None:
        message = "an HTTP check needs an exposed port; for others write a healthcheck in the compose text"
        yield finding("healthcheck", "expose", message)


def _resources(template: Template, plans: list[compose.Plan]) -> Iterator[Finding]:
    least = template.min_resources
    memory = min(plan.memory_mb for plan in plans)
    cpu = min(plan.cpu_millis for plan in plans) / 1000
    if memory < least.memory_mb:
        message = f"the limits of its services come to {memory} MB, below the {least.memory_mb} that it says it needs"
        yield finding("min_resources.memory_mb", "too-large", message)
    if cpu < least.cpu:
        message = f"the limits of its services come to {cpu:g} CPUs, below the {least.cpu:g} that it says it needs"
        yield finding("min_resources.cpu", "too-large", message)

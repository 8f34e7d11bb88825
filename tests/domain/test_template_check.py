"""What a template must be before it is offered: every reason why not, each naming its place."""

from typing import Any

import pytest

from chalicelib.domain.compose import Defaults
from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.template import Template
from chalicelib.domain.template_check import check

TEXT = """\
services:
  web:
    image: blog:${VERSION:-1}
    expose: ["80"]
    environment: {TITLE: '${TITLE}', NAME: '${SERVICE_NAME}'}
"""
TITLE = {"name": "TITLE", "default": "Blog"}
VERSION = {"name": "VERSION", "type": "enum", "options": ["1", "2"]}
GOOD: dict[str, Any] = {
    "id": "blog",
    "name": "Blog",
    "compose": TEXT,
    "variables": [TITLE, VERSION],
    "expose": {"service": "web", "port": 80},
    "healthcheck": {"path": "/"},
}


def found(**changes: Any) -> dict[str, str]:
    """Paths and rules of what is wrong with the good template once it is changed so."""
    template = Template.model_validate({**GOOD, **changes})
    try:
        check(template, Defaults(1000, 512, 128))
    except ValidationFailed as refused:
        return {finding["path"]: finding["rule"] for finding in refused.details}
    return {}


def variables(*more: dict[str, Any]) -> dict[str, Any]:
    used = " ".join(f"${{{variable['name']}:-}}" for variable in more)
    return {
        "variables": [TITLE, VERSION, *more],
        "compose": f"{TEXT}    hostname: web\n    labels: {{used: '{used}'}}\n",
    }


def test_a_good_template_is_taken() -> None:
    assert found() == {}
    assert found(expose=None, healthcheck=None) == {}


@pytest.mark.parametrize(
    ("variable", "path", "rule"),
    [
        ({"name": "TITLE"}, "name", "duplicate"),
        ({"name": "V", "type": "integer", "default": "many"}, "default", "wrong-type"),
        ({"name": "V", "type": "integer", "default": "9", "max": 5}, "default", "too-large"),
        ({"name": "V", "type": "integer", "min": 9, "max": 5}, "max", "too-small"),
        ({"name": "V", "type": "boolean", "default": "yes"}, "default", "wrong-type"),
        ({"name": "V", "type": "enum", "options": ["a", "b"], "default": "c"}, "default", "not-an-option"),
        ({"name": "V", "type": "enum"}, "options", "missing"),
        ({"name": "V", "type": "enum", "options": ["a", "a"]}, "options", "duplicate"),
        ({"name": "V", "type": "domain", "default": "http://x"}, "default", "wrong-type"),
        ({"name": "V", "type": "secret", "default": "hunter22"}, "default", "secret-default"),
        ({"name": "V", "type": "secret", "pattern": "[0-9]{4}"}, "pattern", "pattern"),
        ({"name": "V", "pattern": "(a+)+"}, "pattern", "pattern"),
        ({"name": "V", "pattern": "[a-z]+", "default": "A"}, "default", "pattern"),
        ({"name": "V", "pattern": "[a-z]+"}, "placeholder", "pattern"),
        ({"name": "V", "min": 3}, "min", "not-for-type"),
        ({"name": "V", "type": "boolean", "options": ["true"]}, "options", "not-for-type"),
        ({"name": "V", "type": "integer", "length": 20}, "length", "not-for-type"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_named(variable: dict[str, Any], path: str, rule: str) -> None:
    wrong = found(**variables(variable))

    assert wrong.get(f"variables.2.{path}") == rule, wrong


def test_a_text_is_held_to_the_policy_of_any_other() -> None:
    assert found(compose=f"{TEXT}    privileged: true\n") == {"services.web.privileged": "privileged"}
    assert "not-yaml" in found(compose="services: [").values()


def test_what_only_one_option_would_do_is_found() -> None:
    text = TEXT.replace("blog:${VERSION:-1}", "blog:1\n    network_mode: ${VERSION}")
    options = {**VERSION, "options": ["none", "host"]}

    assert found(compose=text, variables=[TITLE, options], expose=None, healthcheck=None) == {
        "services.web.network_mode": "host-namespace"
    }


def test_the_exposed_service_and_port_must_be_there() -> None:
    assert found(expose={"service": "app", "port": 80}) == {"expose.service": "expose"}
    assert found(expose={"service": "web", "port": 8080}) == {"expose.port": "expose"}
    assert found(compose=TEXT.replace('    expose: ["80"]\n', ""), expose={"service": "web", "port": 8080}) == {}
    assert found(compose=TEXT.replace('"80"', '"8000-8100"'), expose={"service": "web", "port": 8080}) == {}


def test_a_health_check_needs_a_port_to_ask() -> None:
    assert found(expose=None) == {"healthcheck": "expose"}


def test_a_variable_is_declared_and_used() -> None:
    assert found(variables=[VERSION]) == {"compose": "undeclared-variable"}
    assert found(variables=[TITLE, VERSION, {"name": "COLOUR"}]) == {"variables.2.name": "unused-variable"}


def test_limits_are_not_below_what_the_template_says_it_needs() -> None:
    wrong = found(min_resources={"cpu": 2, "memory_mb": 1024})

    assert wrong == {"min_resources.memory_mb": "too-large", "min_resources.cpu": "too-large"}


def test_everything_is_told_at_once() -> None:
    wrong = found(compose=f"{TEXT}    privileged: true\n", variables=[TITLE, TITLE], expose=None)

    assert wrong == {
        "variables.1.name": "duplicate", "healthcheck": "expose", "services.web.privileged": "privileged",
    }  # fmt: skip


def test_a_template_fits_where_it_is_stored() -> None:
    page = {"name": "PAGE", "default": "x" * 32_000}

    assert found(**variables(*({**page, "name": f"PAGE{number}"} for number in range(9)))) == {}
    assert found(**variables(*({**page, "name": f"PAGE{number}"} for number in range(12)))) == {"compose": "too-large"}

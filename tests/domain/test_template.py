"""A template's variables: given, defaulted, made up or refused."""

import pytest

from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.template import Template, Variable

BLOG = Template(
    id="blog",
    name="Blog",
    compose="services: {}",
    variables=(
        Variable(name="TITLE", default="My blog"),
        Variable(name="EMAIL", required=True),
        Variable(name="PORT", type="integer", default="80"),
        Variable(name="DEBUG", type="boolean", default="false"),
        Variable(name="PASSWORD", type="secret"),
    ),
)


def test_values_are_given_defaulted_or_made_up() -> None:
    values = BLOG.values({"EMAIL": "a@example.com", "PORT": "8080"}, "my-app")

    assert {name: values[name] for name in ("SERVICE_NAME", "TITLE", "EMAIL", "PORT", "DEBUG")} == {
        "SERVICE_NAME": "my-app",
        "TITLE": "My blog",
        "EMAIL": "a@example.com",
        "PORT": "8080",
        "DEBUG": "false",
    }
    assert len(values["PASSWORD"]) == 32
    assert values["PASSWORD"] != BLOG.values({"EMAIL": "a@example.com"}, "my-app")["PASSWORD"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValidationFailed) as caught:
        BLOG.values({"PORT": "many", "DEBUG": "yes", "COLOUR": "red"}, "my-app")

    assert [(problem["path"], problem["rule"]) for problem in caught.value.details] == [
        ("variables.COLOUR", "unknown-variable"),
        ("variables.EMAIL", "missing-variable"),
        ("variables.PORT", "wrong-type"),
        ("variables.DEBUG", "wrong-type"),
    ]

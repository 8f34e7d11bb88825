"""A template's variables: given, defaulted, made up or refused."""

import re

import pytest

from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.template import Called, Template
from chalicelib.domain.variable import Variable

HERE = Called(name="my-app", host_name="my-app.example.com", url="https://my-app.example.com")
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
ADDRESSED = Template(
    id="shop",
    name="Shop",
    compose="services: {shop: {image: 'shop:1', environment: {URL: '${SERVICE_URL}'}}}",
    variables=(Variable(name="DOMAIN", type="domain"), Variable(name="TITLE", default="Shop")),
)


def test_values_are_given_defaulted_or_made_up() -> None:
    values = BLOG.values({"EMAIL": "a@example.com", "PORT": "8080"}, HERE)

    assert {name: values[name] for name in ("SERVICE_NAME", "TITLE", "EMAIL", "PORT", "DEBUG")} == {
        "SERVICE_NAME": "my-app",
        "TITLE": "My blog",
        "EMAIL": "a@example.com",
        "PORT": "8080",
        "DEBUG": "false",
    }
    assert len(values["PASSWORD"]) == 32
    assert values["PASSWORD"] != BLOG.values({"EMAIL": "a@example.com"}, HERE)["PASSWORD"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValidationFailed) as caught:
        BLOG.values({"PORT": "many", "DEBUG": "yes", "COLOUR": "red"}, HERE)

    assert [(problem["path"], problem["rule"]) for problem in caught.value.details] == [
        ("variables.COLOUR", "unknown-variable"),
        ("variables.EMAIL", "missing-variable"),
        ("variables.PORT", "wrong-type"),
        ("variables.DEBUG", "wrong-type"),
    ]


PORT = Variable(name="V", type="integer", min=1024, max=65535)
ANY = Variable(name="V", type="integer")
SIZE = Variable(name="V", type="enum", options=("small", "large"))
HOST = Variable(name="V", type="domain")
USER = Variable(name="V", pattern="[a-z]{1,8}")


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        (PORT, "1024", None), (PORT, "65535", None), (PORT, "80", "too-small"), (PORT, "65536", "too-large"),
        (PORT, "8o", "wrong-type"), (PORT, "1e4", "wrong-type"), (PORT, "٣٠٠٠", "wrong-type"),
        (PORT, "1" * 30, "wrong-type"), (PORT, "2000\n", "wrong-type"),
        (PORT, "+3000", "wrong-type"), (PORT, "03000", "wrong-type"),
        (ANY, "0", None), (ANY, "3", None), (ANY, "-1", None), (ANY, "9" * 18, None), (ANY, "-" + "9" * 18, None),
        (ANY, "+3", "wrong-type"), (ANY, "05", "wrong-type"), (ANY, "-05", "wrong-type"), (ANY, "00", "wrong-type"),
        (ANY, "-0", "wrong-type"), (ANY, "", "wrong-type"), (ANY, "-", "wrong-type"), (ANY, " 3", "wrong-type"),
        (ANY, "9" * 19, "wrong-type"), (ANY, "1_000", "wrong-type"),
        (SIZE, "small", None), (SIZE, "Small", "not-an-option"),
        (HOST, "app.example.com", None), (HOST, "a.xn--p1ai", None), (HOST, "localhost", "wrong-type"),
        (HOST, "https://app.example.com", "wrong-type"), (HOST, "app.example.com:80", "wrong-type"),
        (HOST, "-a.example.com", "wrong-type"), (HOST, "10.0.0.1", "wrong-type"), (HOST, "a b.com", "wrong-type"),
        (HOST, "app.example.com\n", "wrong-type"), (HOST, f"{'a.' * 130}com", "wrong-type"),
        (USER, "anna", None), (USER, "Anna", "pattern"), (USER, "anna; drop", "pattern"),
        (Variable(name="V", type="secret", pattern="[a-z]+"), "NO", "pattern"),
        (Variable(name="V", type="boolean"), "true", None), (Variable(name="V", type="boolean"), "True", "wrong-type"),
    ],
)  # fmt: skip
def test_a_type_takes_what_it_says_and_names_what_it_does_not(variable: Variable, value: str, rule: str | None) -> None:
    problem = variable.problem(value)

    assert (problem and problem[0]) == rule
    assert problem is None or "V must" in problem[1]


def test_a_number_that_is_refused_is_told_how_it_is_written() -> None:
    with pytest.raises(ValidationFailed) as caught:
        BLOG.values({"EMAIL": "a@example.com", "PORT": "+3"}, HERE)

    (problem,) = caught.value.details
    assert (problem["path"], problem["rule"]) == ("variables.PORT", "wrong-type")
    assert "without + and leading zeros" in problem["message"]


def test_a_refused_secret_is_not_in_the_message() -> None:
    problem = Variable(name="V", type="secret", pattern="[a-z]+").problem("CANARY")

    assert problem
    assert "CANARY" not in problem[1]


def test_a_secret_is_as_long_and_of_the_letters_that_its_author_wants() -> None:
    assert re.fullmatch("[A-Za-z0-9]{32}", Variable(name="V", type="secret").made_up())
    assert re.fullmatch("[0-9a-f]{64}", Variable(name="V", type="secret", length=64, charset="hex").made_up())


def test_a_required_secret_is_never_made_up() -> None:
    template = BLOG.model_copy(update={"variables": (Variable(name="KEY", type="secret", required=True),)})

    with pytest.raises(ValidationFailed) as caught:
        template.values({}, HERE)

    assert caught.value.details[0]["path"] == "variables.KEY"


def test_a_default_may_be_written_as_the_number_or_truth_it_is() -> None:
    assert Variable.model_validate({"name": "V", "type": "integer", "default": 80}).default == "80"
    assert Variable.model_validate({"name": "V", "type": "boolean", "default": True}).default == "true"
    assert Variable.model_validate({"name": "V", "type": "enum", "options": [16, 17]}).options == ("16", "17")


def test_the_address_is_the_services_own_until_a_domain_is_chosen() -> None:
    own = ADDRESSED.values({}, HERE)
    chosen = ADDRESSED.values({"DOMAIN": "shop.example.org"}, HERE)

    assert (own["DOMAIN"], own["SERVICE_URL"]) == ("my-app.example.com", "https://my-app.example.com")
    assert (chosen["DOMAIN"], chosen["SERVICE_URL"]) == ("shop.example.org", "https://shop.example.org")
    assert "SERVICE_URL" not in BLOG.values({"EMAIL": "a@example.com"}, HERE)


def test_what_follows_from_the_name_follows_the_next_name_and_choices_stay() -> None:
    there = Called(name="store", host_name="store.example.com", url="https://store.example.com")

    own = ADDRESSED.values(ADDRESSED.chosen(ADDRESSED.values({}, HERE), HERE), there)
    chosen = ADDRESSED.chosen(ADDRESSED.values({"DOMAIN": "shop.example.org", "TITLE": "X"}, HERE), HERE)

    assert own == {
        "SERVICE_NAME": "store", "SERVICE_URL": "https://store.example.com", "DOMAIN": "store.example.com",
        "TITLE": "Shop",
    }  # fmt: skip
    assert chosen == {"DOMAIN": "shop.example.org", "TITLE": "X"}

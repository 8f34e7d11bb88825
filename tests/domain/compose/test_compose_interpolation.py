"""Interpolation against what the real Compose answers: the table was recorded from it and is replayed on it."""

import json

import pytest

from chalicelib.domain.compose.findings import Verdict
from chalicelib.domain.compose.interpolate import Interpolation

from .conftest import Planned, Refused, Resolved

VARIABLES = {"A": "aaa", "E": "", "N_1": "n1", "a": "low", "D": "$A"}

RESOLVED = {
    "$A": "aaa",
    "${A}": "aaa",
    "$A$A": "aaaaaa",
    "${A}x": "aaax",
    "$Ax": "",
    "$A-b": "aaa-b",
    "$a": "low",
    "${E:-d}": "d",
    "${E-d}": "",
    "${U:-d}": "d",
    "${U-d}": "d",
    "${U:+r}": "",
    "${U+r}": "",
    "${A:+r}": "r",
    "${A+r}": "r",
    "${E:+r}": "",
    "${E+r}": "r",
    "${U}": "",
    "$U": "",
    "$$A": "$A",
    "$$$A": "$aaa",
    "$$$$A": "$$A",
    "$$": "$",
    "$": "$",
    "a$": "a$",
    "$ x": "$ x",
    "$1": "$1",
    "$1A": "$1A",
    "${A:-}": "aaa",
    "${U:-}": "",
    "${U:-${A}}": "aaa",
    "${U:-${V:-c}}": "c",
    "${U:-$A}": "aaa",
    "${U:-$$A}": "$A",
    "${U:-a}b}": "ab}",
    "${U:-{}}": "{}",
    "${U:-{a}}": "{a}",
    "${E?msg}": "",
    "${A:?msg}": "aaa",
    "${A-}": "aaa",
    "${U:-a:-b}": "a:-b",
    "${U:-a-b}": "a-b",
    "${U-:-b}": ":-b",
    "${U:-a?b}": "a?b",
    "${U:-?x}": "?x",
    "${U:+a-b}": "",
    "${A:+${U:-z}}": "z",
    "${A:-${V:?deep}}": "aaa",
    "$D": "$A",
    "${U:-$D}": "$A",
    "${U:-x y}": "x y",
    "${A}${U:-d}${E:-f}": "aaadf",
    "${U:-}}": "}",
    "$A}": "aaa}",
    "{$A}": "{aaa}",
    "$${A}": "${A}",
    "$$${A}": "$aaa",
    "${A}$$": "aaa$",
    "$A$": "aaa$",
    "$(A)": "$(A)",
    "`$A`": "`aaa`",
    "$_": "",
    "${_}": "",
    "${_A:-u}": "u",
    "$é": "$é",
    "$Aé": "aaaé",
    "${U:-é}": "é",
    "a\n${U:-b}\nc": "a\nb\nc",
    "${U:-${A}-${N_1}}": "aaa-n1",
    "${U:-${A}-${V:-${N_1}}}-${A}": "aaa-n1-aaa",
    "${U:-a}-${V:-b}": "a-b",
    "${A:-${U}}": "aaa",
    "${U:-${V:+x}${A:+y}}": "y",
    '${U:-"q"}': '"q"',
    "${U:-a\\}b}": "a\\b}",
    "${U-${V-}}": "",
    "${E:-${E}}": "",
    "${A:?${U:-m}}": "aaa",
    "$A.b": "aaa.b",
    "$A_b": "",
    "$A:b": "aaa:b",
    "http://$A:${U:-80}/": "http://aaa:80/",
    "${U:-$}": "$",
    "${U:-a$}": "a$",
    "${U:- }": " ",
    "${U:-$1}": "$1",
    "${U:-%}": "%",
    "${A:+$$}": "$",
    "${U:-a'b}": "a'b",
    "$$${U:-b}": "$b",
    "${A}}": "aaa}",
    "${A:-x}}": "aaa}",
    "${U:-x}}": "x}",
    "${U:-{x}": "{x",
    "${U:-{{x}}}": "{{x}}",
    "${A+}": "",
    "${A:+}": "",
    "$-": "$-",
    "$?": "$?",
    "$!": "$!",
    "$#": "$#",
    "$@": "$@",
    "$*": "$*",
    "${A:-{}}}": "aaa",
    "${A:-{}}": "aaa",
    "${A:-{}}z}": "aaa",
    "${A:-${}}": "aaa",
    "${A:-{{}}}z": "aaa}z",
    "${A:-{x}}z": "aaaz",
    "${A:-{x}y}z": "aaaz",
    "${U:-{x}y}z": "{x}yz",
    "${A:-x{y}z": "aaaz",
    "${A:-x{y}z} w": "aaa w",
    "${U:-x{y}z} w": "x{y}z w",
    "${A:-{${B}}}z": "aaaz",
    "${A:-${B:-{}}}z": "aaaz",
    "${U:-${B:-{}}}z": "{}z",
    '${U:-{"a":{"b":1}}}': '{"a":{"b":1}}',
    '${U:-{"a":"${A}"}}z': '{"a":"aaa"}z',
    "${A:-b}\n}": "aaa\n}",
    "${A:-{b}\n}": "aaa\n}",
    "${A:-{b}\n}\n$A": "aaa\n}\naaa",
    "${A:-${B}": "aaa",
}
INVALID = [
    "${1}",
    "${}",
    "${ A}",
    "${A }",
    "${A",
    "${A:-",
    "${A:-b",
    "${A:b}",
    "${A:}",
    "${A!}",
    "${A/x/y}",
    "${A%x}",
    "${A#x}",
    "${#A}",
    "${é}",
    "${Aé}",
    "${U:-a\nb}",
    "${A.B}",
    "${A[0]}",
    "${A:0:1}",
    "${A^^}",
    "${U=x}",
    "${U:=x}",
    "${U:-${A}",
    "${-x}",
    "${:-x}",
]
MISSING = [
    "${U:?msg}",
    "${U?msg}",
    "${E:?msg}",
    "${U:?}",
    "${U?}",
    "${U:?a-b}",
    "${U:-${V:?deep}}",
    "${U:?${A} m}",
    "${U:?$$x}",
]


def _interpolated(template: str) -> tuple[str, Verdict]:
    verdict = Verdict()
    return Interpolation(VARIABLES, verdict).string(template, "at"), verdict


@pytest.mark.parametrize("template", RESOLVED)
def test_a_template_resolves_as_in_compose(template: str) -> None:
    resolved, verdict = _interpolated(template)

    assert resolved == RESOLVED[template]
    assert verdict.refused == []


@pytest.mark.parametrize("template", INVALID)
def test_what_compose_cannot_read_is_a_finding(template: str) -> None:
    _, verdict = _interpolated(template)

    assert [found.rule for found in verdict.refused] == ["invalid-interpolation"]


@pytest.mark.parametrize("template", MISSING)
def test_a_required_variable_without_a_value_is_a_finding(template: str) -> None:
    _, verdict = _interpolated(template)

    assert [found.rule for found in verdict.refused] == ["missing-variable"]


def test_the_real_compose_still_resolves_the_table_like_this(compose: Resolved) -> None:
    environment = {f"V{index}": template for index, template in enumerate(RESOLVED)}

    resolved = compose(json.dumps({"services": {"web": {"image": "a", "environment": environment}}}), VARIABLES)

    values = resolved["services"]["web"]["environment"]
    printed = {template: values[f"V{index}"].replace("$$", "$") for index, template in enumerate(RESOLVED)}
    assert printed == RESOLVED


@pytest.mark.parametrize("template", ["${A", "${A:b}", "${U:-${A}", "${U:?say so}", "${U:-${V:?deep}}"])
def test_the_real_compose_still_refuses_these(compose: Resolved, template: str) -> None:
    resolved = compose(json.dumps({"services": {"web": {"image": template}}}), VARIABLES)

    assert "interpol" in resolved["error"]


def test_a_variable_without_a_value_becomes_empty_and_is_said_once(planned: Planned) -> None:
    plan = planned("services: {web: {image: app, environment: {ONE: 'a${NONE}', TWO: $NONE}}}")

    assert plan.document["services"]["web"]["environment"] == {"ONE": "a", "TWO": ""}
    assert [(found.path, found.rule) for found in plan.warnings] == [("variables.NONE", "unset-variable")]
    assert plan.variables_used == {"NONE"}


def test_keys_are_not_interpolated(planned: Planned) -> None:
    plan = planned("services: {web: {image: app, environment: {$KEY: x}, labels: {'${A}': y}}}", {"KEY": "k", "A": "a"})

    assert plan.document["services"]["web"]["environment"] == {"$KEY": "x"}
    assert plan.document["services"]["web"]["labels"]["${A}"] == "y"


def test_a_variable_named_without_a_value_is_passed_on_where_it_has_one(planned: Planned) -> None:
    in_list = planned("services: {web: {image: app, environment: [GIVEN, NONE, EMPTY=]}}", {"GIVEN": "x$y"})
    in_mapping = planned("services: {web: {image: app, environment: {GIVEN: , NONE: , EMPTY: ''}}}", {"GIVEN": "x$y"})

    assert in_list.document["services"]["web"]["environment"] == {"GIVEN": "x$$y", "EMPTY": ""}
    assert in_mapping.document == in_list.document


def test_a_missing_variable_names_itself_and_quotes_no_other_value(refused: Refused) -> None:
    details = refused("services: {web: {image: 'app:${TAG:?set TAG, not ${SECRET}}'}}", {"SECRET": "hunter2"})

    missing = [detail for detail in details if detail["rule"] == "missing-variable"]
    assert missing[0]["path"] == "services.web.image"
    assert "TAG" in missing[0]["message"]
    assert "hunter2" not in json.dumps(details)


@pytest.mark.parametrize("name", ["COMPOSE_PROFILES", "DOCKER_HOST", "compose_file"])
def test_variables_that_steer_compose_are_refused(refused: Refused, name: str) -> None:
    details = refused("services: {web: {image: app}}", {name: "x"})

    assert details == [{"path": f"variables.{name}", "rule": "reserved-variable", "message": details[0]["message"]}]


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A B", "É"])
def test_a_variable_name_is_a_word(refused: Refused, name: str) -> None:
    assert [detail["rule"] for detail in refused("services: {web: {image: app}}", {name: "x"})] == ["variable-name"]


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_no_process_can_be_given_is_refused(refused: Refused, value: str) -> None:
    assert [detail["rule"] for detail in refused("services: {web: {image: app}}", {"A": value})] == ["variable-value"]


def test_the_projects_name_can_be_used_as_in_any_compose_file(planned: Planned) -> None:
    plan = planned("services: {web: {image: app, environment: {P: $COMPOSE_PROJECT_NAME}}}")

    assert plan.document["services"]["web"]["environment"]["P"] == plan.document["name"]


def test_variables_cannot_blow_a_file_up(refused: Refused) -> None:
    text = "services: {web: {image: app, environment: {A: '" + "$X" * 20_000 + "'}}}"

    assert [detail["rule"] for detail in refused(text, {"X": "x" * 60_000})] == ["too-large"]

"""What holds the rooms together: handlers that exist, a workflow that matches its steps, docs that match the code."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from statelint.linter import Linter

import app
from chalicelib.deploy.steps import STEPS
from chalicelib.domain import compose, errors
from chalicelib.settings import Settings
from chalicelib.store.table import definition

PROJECT = Path(__file__).resolve().parents[2]
MACHINE: dict[str, Any] = json.loads((PROJECT / "infra/deploy.asl.json").read_text())
TASKS = {name: state for name, state in MACHINE["States"].items() if state["Type"] == "Task"}
# What Lambda and Step Functions themselves raise (AWS: "Error handling in Step Functions workflows").
AWS_ERRORS = {
    "States.ALL",
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.SdkClientException",
    "Lambda.AWSLambdaException",
}


def test_every_handler_is_where_its_name_says() -> None:
    handlers: list[Any] = [*app.app.pure_lambda_functions, *app.app.event_sources]

    assert {handler.name for handler in handlers} == {"host_step", "host_call", "keeper", "reaper", "reconciler"}
    for handler in handlers:
        module, _, name = handler.handler_string.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_task_of_the_workflow_is_a_step_of_the_same_name() -> None:
    assert TASKS.keys() == STEPS.keys()
    for name, state in TASKS.items():
        assert state["Parameters"]["Payload"]["step"] == name


def test_every_task_has_a_timeout_a_retry_and_a_catch() -> None:
    config = json.loads((PROJECT / ".chalice/config.json").read_text())["stages"]["local"]["lambda_functions"]

    for state in TASKS.values():
        assert state["TimeoutSeconds"] > config["host_step"]["lambda_timeout"]
        assert state["Retry"]
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


def test_every_error_the_workflow_names_is_one_we_raise() -> None:
    named = {
        error
        for state in TASKS.values()
        for rule in (*state["Retry"], *state["Catch"])
        for error in rule["ErrorEquals"]
    }

    for name in named - AWS_ERRORS:
        assert issubclass(getattr(errors, name), errors.SlipwayError)


def test_a_failed_command_is_never_retried() -> None:
    retried = {error for state in TASKS.values() for rule in state["Retry"] for error in rule["ErrorEquals"]}

    assert not retried & {"CommandFailed", "States.ALL", "Unhealthy", "PolicyRefused", "HostKeyMismatch", "StaleFence"}


def test_the_workflow_is_grammatical() -> None:
    assert Linter.validate(MACHINE) == []


def test_every_route_is_in_the_docs() -> None:
    page = (PROJECT / "docs/api.md").read_text()

    for path, methods in app.app.routes.items():
        for method in methods:
            assert f"`{method} {path}`" in page, f"{method} {path} is missing from docs/api.md"


def test_every_rule_of_the_compose_policy_is_in_the_docs() -> None:
    page = (PROJECT / "docs/api.md").read_text()

    for rule, meaning in compose.RULES.items():
        assert f"| `{rule}` | {meaning} |" in page


def test_every_setting_is_in_the_docs() -> None:
    page = (PROJECT / "docs/operations.md").read_text()

    for name in Settings.__dataclass_fields__:
        assert f"`SLIPWAY_{name.upper()}`" in page


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_nothing_is_left_for_later_in_the_code(word: str) -> None:
    found = [
        path for room in ("chalicelib", "infra") for path in (PROJECT / room).rglob("*.py") if word in path.read_text()
    ]

    assert found == []


def test_the_table_is_one_and_is_paid_by_request() -> None:
    table = definition("t")

    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]

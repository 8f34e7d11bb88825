"""The alarms of infra/resources.yaml: what an operator is told of each, and whether they look at what there is."""

import json
import logging
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from chalice.test import Client

import app
from chalicelib.domain.errors import SlipwayError
from infra.deploy import finish
from infra.deploy.stages import PROJECT, Network, Stage
from tests.architecture.test_templates import functions, template

RESOURCES: dict[str, Any] = template("resources")["Resources"]
ALARMS: dict[str, dict[str, Any]] = {
    each["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${App}-${Stage}-"): each["Properties"]
    for each in RESOURCES.values()
    if each["Type"] == "AWS::CloudWatch::Alarm"
}
# What AWS publishes, and by which dimensions: a figure by others stays without data, and its alarm never goes off.
# docs.aws.amazon.com: apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html,
# lambda/latest/dg/monitoring-metrics-types.html, step-functions/latest/dg/procedure-cw-metrics.html,
# AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html,
# amazondynamodb/latest/developerguide/metrics-dimensions.html
PUBLISHED = {
    ("AWS/ApiGateway", frozenset({"ApiName", "Stage"})): {"Count", "4XXError", "5XXError", "Latency"},
    ("AWS/Lambda", frozenset({"FunctionName"})): {
        "ConcurrentExecutions",
        "Duration",
        "Errors",
        "Invocations",
        "Throttles",
    },
    ("AWS/States", frozenset({"StateMachineArn"})): {
        "ExecutionTime",
        "ExecutionsAborted",
        "ExecutionsFailed",
        "ExecutionsStarted",
        "ExecutionsSucceeded",
        "ExecutionsTimedOut",
    },
    ("AWS/SQS", frozenset({"QueueName"})): {"ApproximateNumberOfMessagesVisible"},
    ("AWS/DynamoDB", frozenset({"TableName"})): {
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    },
    ("AWS/DynamoDB", frozenset({"TableName", "Operation"})): {"SystemErrors", "ThrottledRequests"},
}
STAGE = Stage("prod", "123456789012", "eu-central-1", network=Network())


def full(function: str) -> str:
    return "${App}-${Stage}" if function == "api_handler" else f"${{App}}-${{Stage}}-{function}"


def metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """What it looks at, of one figure or of several that are reckoned together."""
    if "Metrics" in alarm:
        return [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]
    return [alarm]


def widgets() -> list[dict[str, Any]]:
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    return [each["properties"] for each in body["widgets"]]


def looked_at(alarm: dict[str, Any]) -> set[tuple[str, str]]:
    """(figure, function)"""
    return {
        (each["MetricName"], dimension["Value"]["Fn::Sub"])
        for each in metrics(alarm)
        for dimension in each.get("Dimensions", [])
        if dimension["Name"] == "FunctionName"
    }


def test_operators_are_told_of_every_alarm_what_it_means_and_what_to_do() -> None:
    section = (PROJECT / "docs/operations.md").read_text().partition("\n### Alarms and the dashboard\n")[2]
    table = section.partition("\n### ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", table, re.MULTILINE)

    assert sorted(name for name, _, _ in rows) == sorted(ALARMS)


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_somebody_is_told_when_an_alarm_goes_on_and_when_it_is_over(name: str) -> None:
    assert ALARMS[name]["AlarmActions"] == ALARMS[name]["OKActions"] == [{"Ref": "Alarms"}]
    assert ALARMS[name]["TreatMissingData"] == ("breaching" if name.endswith("-stopped") else "notBreaching")


def test_alarms_look_at_functions_that_there_are() -> None:
    known = {full(name) for name in functions()}

    for name, alarm in ALARMS.items():
        assert {function for _, function in looked_at(alarm)} <= known, name


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_alarms_look_at_figures_that_aws_publishes(name: str) -> None:
    for each in metrics(ALARMS[name]):
        if each["Namespace"] == {"Fn::Sub": "${App}-${Stage}"}:
            assert not each.get("Dimensions")  # our own: a filter's figures have none
            continue
        by = frozenset(dimension["Name"] for dimension in each["Dimensions"])
        assert each["MetricName"] in PUBLISHED[each["Namespace"], by]


def test_the_dashboard_shows_figures_that_aws_publishes() -> None:
    for shown in widgets():
        before: list[str] = []
        for row in shown["metrics"]:
            words = [word for word in row if isinstance(word, str)]
            if words[0] == "...":
                words = before[: len(before) - len(words) + 1] + words[1:]
            words = [before[at] if word == "." else word for at, word in enumerate(words)]
            before = words
            if words[0] != "${App}-${Stage}":
                assert words[1] in PUBLISHED[words[0], frozenset(words[2::2])], words


def test_every_function_that_nobody_waits_for_has_an_alarm_on_its_errors() -> None:
    """Of host_step the lines of its log (`steps-fail`), of host_call whoever called it or the dead letters."""
    watched = {function for alarm in ALARMS.values() for kind, function in looked_at(alarm) if kind == "Errors"}

    assert watched == {full(name) for name in functions() - {"host_step", "host_call"}}


def test_what_is_reckoned_together_is_all_that_is_looked_at() -> None:
    for alarm in (each for each in ALARMS.values() if "Metrics" in each):
        (sum_of,) = [each["Expression"] for each in alarm["Metrics"] if "Expression" in each]
        assert set(re.findall(r"FILL\((\w+), 0\)", sum_of)) == {
            each["Id"] for each in alarm["Metrics"] if "MetricStat" in each
        }

    assert looked_at(ALARMS["sockets-fail"]) == {
        (kind, full(f"websocket_{name}"))
        for kind in ("Errors", "Throttles")
        for name in ("connect", "message", "disconnect")
    }


def test_the_dashboard_shows_the_errors_of_every_function() -> None:
    (errors,) = [each for each in widgets() if each["title"] == "Functions: errors"]

    assert {row[3] if len(row) > 2 else row[1] for row in errors["metrics"]} == {full(name) for name in functions()}


def test_widgets_lie_beside_each_other() -> None:
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])

    places = [(each["x"], each["y"]) for each in body["widgets"]]
    assert len(set(places)) == len(places)


class Logs:
    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}

    def put_metric_filter(self, **words: Any) -> None:
        self.asked[words["filterName"]] = words


def test_alarms_on_figures_of_our_own_have_lines_that_are_counted_for_them() -> None:
    logs = Logs()

    finish.counted_lines(logs, STAGE)

    own = {
        each["MetricName"]
        for alarm in ALARMS.values()
        for each in metrics(alarm)
        if each["Namespace"] == {"Fn::Sub": "${App}-${Stage}"}
    }
    counted = [each for words in logs.asked.values() for each in words["metricTransformations"]]
    assert {each["metricName"] for each in counted} == own
    assert {each["metricNamespace"] for each in counted} == {STAGE.prefix}
    groups = {full(name).replace("${App}-${Stage}", f"/aws/lambda/{STAGE.prefix}") for name in functions()}
    assert {words["logGroupName"] for words in logs.asked.values()} <= groups


def test_the_keepers_line_of_silent_agents_is_counted() -> None:
    assert finish.COUNTED["silent-agents"][1] == '"silent_agents"'  # in its line: tests/live/test_keeper.py


def counts(name: str, line: str) -> bool:
    """Whether the filter takes this line: all of its words, or one where they are optional."""
    words = re.findall(r'(\??)"([^"]+)"', finish.COUNTED[name][1])
    needed = [word for optional, word in words if not optional]
    return all(word in line for word in needed) and (bool(needed) or any(word in line for _, word in words))


@pytest.mark.parametrize("kind", [SlipwayError, ImportError, ModuleNotFoundError, ClientError])
def test_a_step_that_fails_by_a_fault_of_ours_is_counted(kind: type[Exception]) -> None:
    assert counts("step-faults", f"[ERROR] {kind.__name__}: what it says\nTraceback (most recent call last):")


@pytest.mark.parametrize("kind", SlipwayError.__subclasses__())
def test_a_step_that_fails_by_what_it_deploys_is_not_counted(kind: type[SlipwayError]) -> None:
    assert not counts("step-faults", f"[ERROR] {kind.__name__}: exit code 1\nTraceback (most recent call last):")


def test_a_request_that_fails_by_a_fault_of_ours_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str | None) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("chalicelib.api.http.caller_of", broken)
    with caplog.at_level(logging.INFO), Client(app.app) as client:
        answer = client.http.get("/api/services")

    assert answer.status_code == 500
    lines = [logging.Formatter().format(record) for record in caplog.records]
    assert [counts("api-faults", line) for line in lines].count(True) == 1

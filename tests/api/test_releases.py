"""PATCH, rollback, releases and dry runs over REST."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_services import deployed
from tests.emulator import Panel


def test_a_dry_run_shows_the_plan_and_stores_nothing(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    wanted["compose"] += "    environment: {PASSWORD: '${PASSWORD}'}\n"
    wanted["variables"] = {"PASSWORD": "canary-secret"}

    reply = api.post("/services?dry_run=true", wanted)

    assert reply.status == 200
    plan = reply.body
    assert (plan["url"], plan["images"]) == ("http://custom-app.localhost", ["myapp:latest"])
    assert plan["published_ports"] == [{"ip": "", "port": 8080, "protocol": "tcp"}]
    assert plan["compose"]["services"]["app"]["environment"] == {"PASSWORD": "[redacted]"}
    assert "canary" not in reply.text
    assert panel.services.rows() == []
    assert panel.workflow.started == []


def test_a_dry_run_tells_every_finding_too(api: Api, wanted: dict[str, Any]) -> None:
    wanted["compose"] = "services: {a: {image: x, privileged: true}}"

    assert api.post("/services?dry_run=true", wanted).status == 422
    assert api.post("/services?dry_run=maybe", wanted).status == 422


@pytest.mark.parametrize("query", ["?dry_run=true", ""])
def test_findings_of_every_kind_are_told_together(
    api: Api, panel: Panel, wanted: dict[str, Any], customer_id: str, query: str
) -> None:
    deployed(api, panel, wanted)
    api.patch(f"/customers/{customer_id}", {"limits": {"services": 1}})
    wanted["compose"] = "services: {a: {image: x, privileged: true}}"

    reply = api.post(f"/services{query}", {**wanted, "host_labels": {"disk": "ssd"}})

    assert reply.status == 422
    told = [(problem["path"], problem["rule"]) for problem in reply.error["details"]]
    assert told == [
        ("services.a.privileged", "privileged"),
        ("name", "conflict"),
        ("customer.limits.services", "customer-limit"),
        ("host_labels", "conflict"),
    ]
    assert all(problem["message"] in reply.error["message"] for problem in reply.error["details"])


def test_conflicts_alone_are_told_together_as_one(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    deployed(api, panel, wanted)

    reply = api.post("/services?dry_run=true", {**wanted, "host_labels": {"disk": "ssd"}})

    assert reply.status == 409
    assert [problem["path"] for problem in reply.error["details"]] == ["name", "host_labels"]


def test_a_changes_findings_are_told_together(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    deployed(api, panel, {**wanted, "name": "taken"})
    body = {"name": "taken", "compose": "services: {a: {image: x, privileged: true}}"}

    reply = api.patch(f"/services/{service_id}?dry_run=true", body)

    assert [problem["path"] for problem in reply.error["details"]] == ["name", "services.a.privileged"]


def test_a_change_answers_with_its_job(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.patch(f"/services/{service_id}", {"variables": {"A": "1"}, "limits": {"cpu": 0.5, "memory_mb": 128}})

    assert (reply.status, reply.body["status"]) == (200, "deploying")
    assert api.get(f"/jobs/{reply.body['deploy_job_id']}").body["kind"] == "update"


def test_a_dry_run_of_a_change_shows_what_differs(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.send("PATCH", f"/services/{service_id}?dry_run=true", {"limits": {"memory_mb": 128}})

    assert reply.status == 200
    assert any(line.startswith("+") and "134217728" in line for line in reply.body["diff"])
    assert panel.services.get(service_id).status == "running"


_TAKES_KEY = """\
services:
  app:
    image: myapp
    environment: {API_KEY: "${API_KEY}", PIN: "${DOOR_PASS}", PORT: "80"}
"""
_TAKES_NO_PASS = _TAKES_KEY.replace("DOOR_PASS", "API_KEY")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"variables": {"API_KEY": "canary-new"}}, ["variables.API_KEY: changed"]),
        ({"variables": {"API_KEY": "canary-old"}, "limits": {"memory_mb": 512}}, []),
        ({"variables": {"NEW_TOKEN": "canary-new"}}, ["variables.NEW_TOKEN: added"]),
        (
            {"variables": {"DOOR_PASS": None, "API_KEY": "canary-2"}, "compose": _TAKES_NO_PASS},
            ["variables.API_KEY: changed", "variables.DOOR_PASS: removed"],
        ),
    ],
)
def test_a_dry_run_tells_which_secrets_change_and_no_value(
    api: Api, panel: Panel, wanted: dict[str, Any], change: dict[str, Any], told: list[str]
) -> None:
    given = {"API_KEY": "canary-old", "DOOR_PASS": "7"}
    service_id = deployed(api, panel, {**wanted, "compose": _TAKES_KEY, "variables": given})

    plan = api.patch(f"/services/{service_id}?dry_run=true", change)

    assert plan.body["diff"] == told
    assert "canary" not in plan.text


@pytest.mark.parametrize("value", ["7", "abc", "pa$$word", "$$$"])
def test_a_secret_of_any_length_is_hidden_where_it_is_a_variables_value(
    api: Api, wanted: dict[str, Any], value: str
) -> None:
    given = {"API_KEY": value, "DOOR_PASS": value}

    plan = api.post("/services?dry_run=true", {**wanted, "compose": _TAKES_KEY, "variables": given}).body

    seen = {"API_KEY": "[redacted]", "PIN": "[redacted]", "PORT": "80"}
    assert plan["compose"]["services"]["app"]["environment"] == seen
    assert value not in [part for line in plan["diff"] for part in line.split('"')]


def test_a_secret_with_a_dollar_is_hidden_inside_of_text_too(api: Api, wanted: dict[str, Any]) -> None:
    text = "services: {app: {image: myapp, command: 'run --key=${API_KEY}'}}"

    plan = api.post("/services?dry_run=true", {**wanted, "compose": text, "variables": {"API_KEY": "can$$ary$x"}}).body

    assert plan["compose"]["services"]["app"]["command"] == "run --key=[redacted]"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "body"),
        ({"colour": "red"}, "colour"),
        ({"name": "Not A Label"}, "name"),
        ({"limits": {"cpu": 0}}, "limits.cpu"),
        ({"limits": {"memory_mb": 1}}, "limits.memory_mb"),
        ({"compose": "services: {a: {image: x, pid: host}}"}, "services.a.pid"),
        ({"variables": {"A": 1}}, "variables.A"),
    ],
)
def test_a_bad_change_is_named_and_changes_nothing(
    api: Api, panel: Panel, wanted: dict[str, Any], body: dict[str, Any], path: str
) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.patch(f"/services/{service_id}", body)

    assert (reply.status, reply.error["details"][0]["path"]) == (422, path)
    assert panel.services.get(service_id).version == 2


def test_a_release_says_what_it_is_and_what_it_changed(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, {**wanted, "variables": {"PASSWORD": "canary", "A": "1"}})
    change = {"name": "renamed", "variables": {"B": "canary"}, "secret_variables": ["B"], "limits": {"memory_mb": 128}}
    api.patch(f"/services/{service_id}", change)

    second, first = (reply := api.get(f"/services/{service_id}/releases")).body["data"]

    assert (first["kind"], first["changed"], first["variables"]) == ("deploy", [], ["A", "PASSWORD"])
    assert (second["kind"], second["variables"]) == ("update", ["A", "B", "PASSWORD"])
    assert second["changed"] == ["name", "variables", "secret_variables", "limits"]
    assert (first["limits"]["memory_mb"], second["limits"]["memory_mb"]) == (512, 128)
    assert "canary" not in reply.text


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize(
    "same",
    [
        {"variables": {}},
        {"variables": {"A": "1", "GONE": None}},
        {"name": "custom-app"},
        {"name": None, "limits": {"memory_mb": 256}},
        {"compose": _TAKES_KEY},
    ],
)
def test_a_change_that_changes_nothing_is_refused(
    api: Api, panel: Panel, wanted: dict[str, Any], same: dict[str, Any], query: str
) -> None:
    given = {"compose": _TAKES_KEY, "variables": {"A": "1"}, "limits": {"memory_mb": 256}}
    service_id = deployed(api, panel, {**wanted, **given})
    before = panel.services.get(service_id)

    reply = api.patch(f"/services/{service_id}{query}", same)

    assert (reply.status, reply.error["details"][0]["rule"]) == (422, "nothing-to-change")
    assert panel.services.get(service_id) == before


def test_to_hide_a_variable_is_a_change(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, {**wanted, "variables": {"A": "1"}})

    reply = api.patch(f"/services/{service_id}", {"variables": {"A": "1"}, "secret_variables": ["A"]})

    assert reply.status == 200


def test_releases_are_listed_and_an_unknown_one_cannot_be_run(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)

    listed = api.get(f"/services/{service_id}/releases").body

    assert [(release["number"], release["running"]) for release in listed["data"]] == [(1, True)]
    assert api.post(f"/services/{service_id}/rollback", {"release": 7}).status == 422
    assert api.post(f"/services/{service_id}/rollback").status == 422
    assert api.post(f"/services/{service_id}/rollback", {"release": "1"}).status == 422

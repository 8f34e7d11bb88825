"""What a query or a body says that its route does not know, or says twice: refused before anything is done."""

from typing import Any

import pytest

from chalicelib.deploy import start
from tests.api.conftest import Api
from tests.emulator import Panel


@pytest.fixture
def service_id(api: Api, panel: Panel, wanted: dict[str, Any]) -> str:
    """A service that runs, so that nothing but the query keeps a call from being carried out."""
    made = api.post("/services", wanted).body
    service = panel.services.get(made["id"])
    ended = start.ended_job(panel.jobs.get(made["deploy_job_id"]), "succeeded", "Done")
    good = panel.services.release(service.id, 1).model_copy(update={"state": "good"})
    panel.services.finish(service, ended, (), good, release=1, status="running")
    return service.id


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("POST", "/stop"), ("POST", "/restart"), ("POST", "/redeploy"), ("POST", "/rollback")],
)
def test_what_knows_no_dry_run_does_nothing_when_asked_for_one(
    api: Api, panel: Panel, service_id: str, method: str, path: str
) -> None:
    before = panel.services.get(service_id)

    reply = api.send(method, f"/services/{service_id}{path}?dry_run=true")

    assert reply.status == 422
    assert reply.error["details"][0]["path"] == "dry_run"
    assert panel.services.get(service_id) == before
    assert not panel.workflow.started[1:]


def test_the_trail_calls_dry_only_what_was(api: Api, wanted: dict[str, Any], service_id: str) -> None:
    api.delete(f"/services/{service_id}?dry_run=true")
    api.post("/services?dry_run=true", {**wanted, "name": "other"})

    dry, refused = api.get("/audit").body["data"][:2]

    assert (dry["method"], dry["dry_run"], dry["status"]) == ("POST", True, 200)
    assert (refused["method"], refused["dry_run"], refused["status"]) == ("DELETE", False, 422)


def test_a_parameter_that_is_given_twice_is_refused(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    reply = api.post("/services?dry_run=true&dry_run=false", wanted)

    assert reply.status == 422
    assert reply.error["details"] == [{"path": "dry_run", "rule": "repeated", "message": "is given more than once"}]
    assert panel.services.id_of_name(wanted["name"]) is None


@pytest.mark.parametrize(
    "raw",
    [b'{"name": "a", "name": "b"}', b'{"name": "a", "limits": {"name": 1, "name": 2}}', b'[{"name": 1, "name": 1}]'],
)
def test_a_field_that_is_given_twice_is_refused_by_name(api: Api, raw: bytes) -> None:
    reply = api.send("POST", "/customers", raw=raw)

    assert reply.status == 400
    assert '"name" more than once' in reply.error["message"]
    assert api.get("/customers").body["total"] == 0


def test_the_name_of_a_repeated_field_may_be_half_a_character(api: Api) -> None:
    assert api.send("POST", "/customers", raw=rb'{"\ud800": 1, "\ud800": 2}').status == 400


def test_who_comes_without_a_token_may_add_what_he_likes(api: Api) -> None:
    assert api.as_(None).get("/health?probe=7").status == 200

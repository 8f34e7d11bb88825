"""Jobs, hosts and customers."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_services import deployed
from tests.emulator import Panel
from tests.store.test_services import over

HOST = {"name": "one", "address": "10.0.0.1", "port": 22, "user": "deploy"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def prepared(panel: Panel) -> None:
    panel.host_calls.answers["prepare_host"] = lambda **asked: {
        "public_key": "ssh-ed25519 PUBLIC",
        "sealed_private_key": "00",
        "host_key": KEY if asked["scan"] else None,
    }


def test_a_job_shows_its_steps_in_order(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    job = panel.jobs.get(api.post("/services", wanted).body["deploy_job_id"])
    job = panel.jobs.begin_step(job, "Preflight", None, up_began=False, keep_error=False, after_failure=False)
    panel.jobs.begin_step(job, "Upload", None, up_began=False, keep_error=False, after_failure=False)

    shown = api.get(f"/jobs/{job.id}").body

    assert shown["status"] == "running"
    assert [(step["name"], step["status"]) for step in shown["steps"]] == [
        ("Preflight", "succeeded"),
        ("Upload", "running"),
    ]


def test_waiting_for_a_job_that_is_over_answers_at_once(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    deployed(api, panel, wanted)

    assert api.get(f"/jobs/{panel.workflow.started[0].id}?wait=25").body["status"] == "succeeded"


@pytest.mark.parametrize("query", ["wait=26", "wait=-1", "wait=x", "colour=red"])
def test_a_bad_wait_is_a_422(api: Api, wanted: dict[str, Any], query: str) -> None:
    job_id = api.post("/services", wanted).body["deploy_job_id"]

    assert api.get(f"/jobs/{job_id}?{query}").status == 422


def test_cancelling_is_asked_once_and_a_repeat_changes_nothing(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    created = api.post("/services", wanted).body

    first = api.post(f"/jobs/{created['deploy_job_id']}/cancel")
    second = api.post(f"/jobs/{created['deploy_job_id']}/cancel")

    assert (first.status, second.status) == (202, 202)
    assert second.body["cancel_requested"]
    job = panel.jobs.get(created["deploy_job_id"])
    panel.services.finish(panel.services.get(created["id"]), over(job, "cancelled"), (), status="failed")
    assert api.post(f"/jobs/{job.id}/cancel").status == 200


def test_a_removal_cannot_be_cancelled(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    job_id = api.delete(f"/services/{deployed(api, panel, wanted)}").headers["X-Job-Id"]

    assert api.post(f"/jobs/{job_id}/cancel").status == 409


def test_a_host_without_a_key_of_its_own_gets_one_to_be_put_on_it(api: Api, panel: Panel) -> None:
    prepared(panel)

    reply = api.post("/hosts", {**HOST, "host_key": f"{KEY} a comment"})

    assert reply.status == 201
    assert reply.body["public_key"] == "ssh-ed25519 PUBLIC"
    assert reply.body["host_key"] == KEY
    assert reply.body["status"] == "new"
    assert "private" not in reply.text


def test_a_host_key_is_given_or_trusted_on_first_use(api: Api, panel: Panel) -> None:
    prepared(panel)

    assert api.post("/hosts", HOST).status == 422
    assert api.post("/hosts", {**HOST, "trust_on_first_use": True}).body["host_key"] == KEY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0), ("port", "22"), ("user", "root; rm -rf /"), ("user", "-oProxyCommand=x"), ("address", "-h"),
        ("address", "a b"), ("name", "A_B"), ("host_key", "not a key"), ("colour", "red"), ("private_key", 7),
    ],
)  # fmt: skip
def test_a_bad_host_field_is_named(api: Api, panel: Panel, field: str, value: Any) -> None:
    prepared(panel)

    reply = api.post("/hosts", {**HOST, "host_key": KEY, field: value})

    assert (reply.status, reply.error["details"][0]["path"]) == (422, field)


def test_a_check_answers_with_the_host_as_found(api: Api, panel: Panel, host_id: str) -> None:
    def check(host_id: str) -> dict[str, str]:
        panel.hosts.change(
            panel.hosts.get(host_id), status="not_ready", problems=({"check": "docker", "message": "no"},)
        )
        return {"status": "not_ready"}

    panel.host_calls.answers["check_host"] = check

    reply = api.post(f"/hosts/{host_id}/check")

    assert (reply.status, reply.body["status"], reply.body["problems"]) == (
        200,
        "not_ready",
        [{"check": "docker", "message": "no"}],
    )


def test_a_host_with_services_is_not_forgotten(api: Api, panel: Panel, wanted: dict[str, Any], host_id: str) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.delete(f"/hosts/{host_id}")

    assert (reply.status, reply.error["details"]) == (409, {"service_ids": [service_id]})
    assert api.delete(f"/hosts/{panel.a_host('two').id}").status == 204
    assert api.get("/hosts/host_none").status == 404


def test_customers_come_change_and_go(api: Api, panel: Panel) -> None:
    made = api.post("/customers", {"name": "Acme Corp", "email": "ops@example.com"})
    path = f"/customers/{made.body['id']}"

    assert made.status == 201
    assert api.patch(path, {"name": "Acme"}).body["name"] == "Acme"
    assert api.get(path).body["email"] == "ops@example.com"
    assert api.patch(path, {"status": "gone"}).status == 422
    assert api.patch(path, {"name": None}).status == 422
    assert api.delete(path).status == 204
    assert api.get(path).status == 404


def test_a_customer_with_services_is_not_forgotten(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.delete(f"/customers/{wanted['customer_id']}")

    assert (reply.status, reply.error["details"]) == (409, {"service_ids": [service_id]})

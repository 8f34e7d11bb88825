"""/services by the seed's page, and what bad input gets."""

from typing import Any

import pytest

from chalicelib.domain.errors import HostTimeout, HostUnreachable, Unavailable
from chalicelib.domain.service import Observation
from chalicelib.domain.words import now
from tests.api.conftest import Api
from tests.emulator import Panel
from tests.store.test_services import over

RUNNING = {"status": "running", "message": "Service started"}


def deployed(api: Api, panel: Panel, wanted: dict[str, Any], **fields: Any) -> str:
    """A service whose first deploy succeeded; its id."""
    reply = api.post("/services", {**wanted, **fields})
    assert reply.status == 201, reply.text
    service, job = panel.services.get(reply.body["id"]), panel.jobs.get(reply.body["deploy_job_id"])
    panel.services.finish(service, over(job), (), status="running", release=1, deployed_at=now())
    return service.id


def test_a_compose_deploy_answers_as_the_seed_does(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    reply = api.post("/services", wanted)

    assert reply.status == 201
    assert {name: reply.body[name] for name in ("name", "status", "url")} == {
        "name": "custom-app",
        "status": "deploying",
        "url": "http://custom-app.localhost",
    }
    assert reply.body["id"].startswith("svc_")
    assert reply.body["deploy_job_id"] == panel.workflow.started[0].id
    assert reply.headers["X-Job-Id"] == reply.body["deploy_job_id"]


def test_a_job_remembers_the_request_that_it_came_of(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    reply = api.post("/services", wanted)

    assert panel.jobs.get(reply.body["deploy_job_id"]).request_id == reply.headers["X-Request-Id"]


def test_a_template_deploy_fills_in_the_variables(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    del wanted["compose"]
    body = {
        **wanted,
        "deploy_method": "template",
        "template_id": "uptime-kuma",
        "variables": {"SERVICE_NAME": "my-app"},
    }

    service_id = api.post("/services", body).body["id"]

    shown = api.get(f"/services/{service_id}").body
    assert shown["template"] == "uptime-kuma"
    assert shown["deploy_method"] == "template"
    assert shown["variables"] == {"SERVICE_NAME": "my-app"}
    assert "louislam/uptime-kuma" in shown["compose"]


def test_a_service_shows_every_field_of_the_seed(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    seen = Observation(
        measured_at=now(), cpu_usage_millis=150, cpu_limit_millis=1000, memory_usage_mb=128, memory_limit_mb=512,
        storage_mb=256, health="healthy",
    )  # fmt: skip
    panel.services.observe(wanted_host := panel.services.get(service_id).host_id, {service_id: seen})

    shown = api.get(f"/services/{service_id}").body

    assert shown.keys() >= {
        "id", "name", "status", "url", "customer_id", "customer_name", "template", "deploy_method", "compose",
        "variables", "custom_domains", "resources", "health", "created_at", "updated_at", "deployed_at",
    }  # fmt: skip
    assert shown["host_id"] == wanted_host
    assert shown["customer_name"] == "Acme Corp"
    assert shown["compose"] == wanted["compose"]
    assert shown["resources"] == {
        "cpu_usage": 0.15,
        "cpu_limit": 1.0,
        "memory_usage_mb": 128,
        "memory_limit_mb": 512,
        "storage_mb": 256,
    }
    assert shown["health"]["status"] == "healthy"
    assert shown["health"]["consecutive_failures"] == 0


def test_what_was_never_measured_is_null(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = api.post("/services", wanted).body["id"]

    shown = api.get(f"/services/{service_id}").body

    assert set(shown["resources"].values()) == {None}
    assert shown["health"] == {"status": "unknown", "last_check": None, "consecutive_failures": 0, "message": ""}
    assert shown["deployed_at"] is None


def test_a_read_measures_the_host_and_survives_one_that_does_not_answer(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["reconcile"] = HostTimeout("the host is still at work")

    shown = api.get(f"/services/{service_id}")

    assert (shown.status, shown.body["health"]["status"]) == (200, "unknown")
    assert shown.body["health"]["last_check"] is not None
    assert (
        "reconcile",
        {"host_id": panel.services.get(service_id).host_id, "service_ids": [service_id]},
    ) in panel.host_calls.told


def test_secrets_are_never_shown_nor_stored_in_the_clear(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    wanted["compose"] += (
        "    environment:\n      DB_PASSWORD: ${DB_PASSWORD}\n      OTHER: ${OTHER}\n      PLAIN: ${PLAIN}\n"
    )
    wanted["variables"] = {"DB_PASSWORD": "canary-one", "OTHER": "canary-two", "PLAIN": "shown"}
    wanted["secret_variables"] = ["OTHER"]

    service_id = api.post("/services", wanted).body["id"]

    assert api.get(f"/services/{service_id}").body["variables"] == {
        "DB_PASSWORD": "********",
        "OTHER": "********",
        "PLAIN": "shown",
    }
    stored = repr(list(panel.table.query(f"SVC#{service_id}")))
    assert "canary" not in stored


def test_fixed_ports_are_an_admins_and_a_warning_to_others(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    deployer = api.as_(panel.a_token("deployer"))

    assert api.post("/services", wanted).body["warnings"] == []
    warnings = deployer.post("/services", {**wanted, "name": "other"}).body["warnings"]

    assert [warning["rule"] for warning in warnings] == ["port-not-published"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "Not A Label"}, "name"),
        ({"name": "a" * 300}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": 7}, "name"),
        ({"customer_id": "cust_none"}, "customer_id"),
        ({"host_id": "host_none"}, "host_id"),
        ({"deploy_method": "magic"}, "deploy_method"),
        ({"colour": "red"}, "colour"),
        ({"compose": None}, "body"),
        ({"template_id": "x"}, "body"),
        ({"variables": {"A": 1}}, "variables.A"),
        ({"variables": {"not a name": "x"}}, "variables.not a name.[key]"),
        ({"compose": "just text"}, "body"),
        ({"compose": "services:\n\tapp: {}"}, "body"),
        ({"compose": "services: {}"}, "services"),
        ({"compose": "services:\n  app:\n    image: ${IMAGE:?choose one}\n"}, "services.app.image"),
        ({"compose": "services:\n  app:\n    image: a\n    privileged: true\n"}, "services.app.privileged"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(
    api: Api, panel: Panel, wanted: dict[str, Any], changes: dict[str, Any], path: str
) -> None:
    body = {name: value for name, value in {**wanted, **changes}.items() if value is not None}

    reply = api.post("/services", body)

    assert reply.status == 422, reply.text
    assert reply.error["code"] == "validation_failed"
    details = reply.error["details"]
    assert all(detail.keys() == {"path", "rule", "message"} for detail in details)
    if path != "body":
        assert path in [detail["path"] for detail in details]
    assert panel.services.rows() == []
    assert list(panel.jobs.unfinished()) == []


def test_every_finding_is_told_at_once(api: Api, wanted: dict[str, Any]) -> None:
    wanted["compose"] = "services: {a: {image: x, privileged: true, pid: host}, b: {image: x, devices: [/dev/sda]}}"

    paths = [detail["path"] for detail in api.post("/services", wanted).error["details"]]

    assert {"services.a.privileged", "services.a.pid"} <= set(paths)
    assert any(path.startswith("services.b.devices") for path in paths)


def test_an_unknown_template_is_named(api: Api, wanted: dict[str, Any]) -> None:
    del wanted["compose"]

    reply = api.post("/services", {**wanted, "deploy_method": "template", "template_id": "nope"})

    assert (reply.status, reply.error["details"][0]["path"]) == (422, "template_id")


def test_a_taken_name_is_a_conflict(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    api.post("/services", wanted)

    assert api.post("/services", wanted).status == 409
    assert len(panel.services.rows()) == 1


def test_a_suspended_customer_gets_nothing_new(api: Api, wanted: dict[str, Any], customer_id: str) -> None:
    api.patch(f"/customers/{customer_id}", {"status": "suspended"})

    reply = api.post("/services", wanted)

    assert (reply.status, "suspended" in reply.error["message"]) == (409, True)


def test_without_a_ready_host_nothing_is_deployed(api: Api, panel: Panel, wanted: dict[str, Any], host_id: str) -> None:
    panel.hosts.change(panel.hosts.get(host_id), status="not_ready")

    assert api.post("/services", wanted).status == 409
    assert panel.services.rows() == []


def test_a_workflow_that_does_not_answer_keeps_the_job_for_the_reaper(
    api: Api, panel: Panel, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job: object) -> None:
        raise Unavailable("Step Functions did not answer")

    monkeypatch.setattr(panel.workflow, "start", refuse)

    reply = api.post("/services", wanted)

    assert reply.status == 201
    assert [job.id for job in panel.jobs.unfinished()] == [reply.body["deploy_job_id"]]


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b"not json", "application/json", 400, "invalid_request"),
        (b"", "application/json", 400, "invalid_request"),
        (b"\xff\xfe", "application/json", 400, "invalid_request"),
        (b'{"a": NaN}', "application/json", 400, "invalid_request"),
        (b"[" * 100_000, "application/json", 400, "invalid_request"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b"null", "application/json", 422, "validation_failed"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b" " * 2_000_000, "application/json", 413, "too_large"),
    ],
)
def test_a_body_that_cannot_be_used(api: Api, raw: bytes, content_type: str, status: int, code: str) -> None:
    reply = api.send("POST", "/services", raw=raw, content_type=content_type)

    assert (reply.status, reply.error["code"]) == (status, code)


def test_lists_are_paged_filtered_sorted_and_searched(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    for name in ("blog", "shop", "shop-two", "wiki"):
        api.post("/services", {**wanted, "name": name, "compose": "services: {a: {image: x, expose: ['80']}}"})
    deployed(api, panel, wanted, name="zebra")

    def names(query: str) -> list[str]:
        return [row["name"] for row in api.get(f"/services?{query}").body["data"]]

    assert names("sort=name") == ["blog", "shop", "shop-two", "wiki", "zebra"]
    assert names("sort=name&order=desc&per_page=2&page=2") == ["shop-two", "shop"]
    assert names("") == ["zebra", "wiki", "shop-two", "shop", "blog"]
    assert names("search=HOP&sort=name") == ["shop", "shop-two"]
    assert names("status=running") == ["zebra"]
    assert names("customer_id=cust_none") == []
    page = api.get("/services?per_page=2&page=9").body
    assert (page["data"], page["total"], page["page"], page["per_page"]) == ([], 5, 9, 2)
    row = api.get("/services?status=running").body["data"][0]
    assert row.keys() == {
        "id", "name", "status", "url", "customer_id", "template", "deploy_method", "created_at", "updated_at",
        "resources",
    }  # fmt: skip
    assert row["resources"].keys() == {"cpu_usage", "memory_usage_mb", "memory_limit_mb"}


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "per_page=101", "per_page=0", "sort=evil", "order=up", "status=broken", "colour=x"],
)
def test_a_bad_query_parameter_is_named(api: Api, query: str) -> None:
    reply = api.get(f"/services?{query}")

    assert reply.status == 422
    assert [detail["path"] for detail in reply.error["details"]] == [query.split("=", maxsplit=1)[0]]


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
def test_start_stop_and_restart_answer_with_what_the_host_shows(
    api: Api, panel: Panel, wanted: dict[str, Any], action: str
) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["lifecycle"] = RUNNING

    reply = api.post(f"/services/{service_id}/{action}")

    assert reply.status == 200
    assert reply.body == {"id": service_id, **RUNNING}


def test_a_host_still_at_work_is_a_202_with_the_job(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["lifecycle"] = HostTimeout("the host is still at work")

    reply = api.post(f"/services/{service_id}/stop")

    assert reply.status == 202
    assert api.get(f"/jobs/{reply.body['deploy_job_id']}").body["kind"] == "stop"


def test_a_host_that_does_not_answer_is_a_502(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["logs"] = HostUnreachable("one does not answer")

    reply = api.get(f"/services/{service_id}/logs")

    assert (reply.status, reply.error["code"]) == (502, "host_unreachable")


def test_a_call_that_could_not_be_made_frees_the_service(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["lifecycle"] = Unavailable("the host function could not be called")

    assert api.post(f"/services/{service_id}/stop").status == 503
    panel.host_calls.answers["lifecycle"] = RUNNING
    assert api.post(f"/services/{service_id}/start").status == 200 or panel.services.lease(service_id) is not None
    assert panel.services.get(service_id).status == "running"


def test_a_busy_service_answers_409_naming_the_job(api: Api, wanted: dict[str, Any]) -> None:
    created = api.post("/services", wanted).body

    for call in ("start", "stop", "restart", "redeploy"):
        reply = api.post(f"/services/{created['id']}/{call}")
        assert (reply.status, reply.error["details"]) == (409, {"job_id": created["deploy_job_id"]})
    assert api.delete(f"/services/{created['id']}").status == 409


def test_nothing_that_never_ran_can_be_started(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    created = api.post("/services", wanted).body
    job = panel.jobs.get(created["deploy_job_id"])
    panel.services.finish(panel.services.get(created["id"]), over(job, "failed"), (), status="failed")

    reply = api.post(f"/services/{created['id']}/start")

    assert reply.status == 409
    assert "never" in reply.error["message"] or "ever ran" in reply.error["message"]


def test_a_redeploy_makes_a_release_of_the_same_text(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.post(f"/services/{service_id}/redeploy")

    assert reply.status == 200
    assert reply.body == {"id": service_id, "status": "deploying", "deploy_job_id": panel.workflow.started[-1].id}
    assert panel.services.release(service_id, 2).state == "pending"
    assert panel.jobs.get(reply.body["deploy_job_id"]).pull_always


def test_a_deleted_service_is_gone_at_once_and_its_job_tells_the_rest(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    service_id = deployed(api, panel, wanted)

    reply = api.delete(f"/services/{service_id}")

    assert (reply.status, reply.text) == (204, "")
    for path in ("", "/events", "/logs"):
        assert api.get(f"/services/{service_id}{path}").status == 404
    assert api.delete(f"/services/{service_id}").status == 404
    assert api.get("/services").body["total"] == 0
    assert api.get(f"/jobs/{reply.headers['X-Job-Id']}").body["kind"] == "delete"
    assert api.post("/services", wanted).status == 201


def test_logs_are_passed_on_as_the_seed_shows_them(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    entry = {"timestamp": "2026-03-29T14:30:00Z", "stream": "stdout", "message": "Server started", "container": "app"}
    panel.host_calls.answers["logs"] = {"entries": [entry], "truncated": False, "containers": []}

    assert api.get(f"/services/{service_id}/logs?tail=50&since=2026-03-29T14:00:00Z").body["logs"] == [entry]
    assert panel.host_calls.told[-1] == (
        "logs",
        {"service_id": service_id, "tail": 50, "since": "2026-03-29T14:00:00Z"},
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [("tail=-1", 422), ("tail=x", 422), ("since=yesterday", 422), ("follow=true", 426), ("follow=maybe", 422)],
)
def test_bad_log_queries(api: Api, panel: Panel, wanted: dict[str, Any], query: str, status: int) -> None:
    service_id = deployed(api, panel, wanted)

    assert api.get(f"/services/{service_id}/logs?{query}").status == status


def test_events_are_the_seeds_with_an_id_and_a_page(api: Api, wanted: dict[str, Any]) -> None:
    service_id = api.post("/services", wanted).body["id"]

    page = api.get(f"/services/{service_id}/events").body

    assert page["total"] == 1
    event = page["data"][0]
    assert (event["type"], event["status"], event["message"]) == ("deploy", "started", "Deploying from a compose file")
    assert event["timestamp"]

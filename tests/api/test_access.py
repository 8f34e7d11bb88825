"""Who may do what: roles, customers kept apart, tokens that are expired, revoked, damaged or another's."""

from typing import Any

import pytest

from chalicelib.api import auth
from chalicelib.domain.words import now
from tests.api.conftest import Api
from tests.api.test_services import deployed
from tests.emulator import Panel


@pytest.mark.parametrize("header", ["", "nonsense", "aap_k1_", "aap_k1_0000000000000000_" + "a" * 40])
def test_a_token_that_is_none_is_a_401(api: Api, header: str) -> None:
    reply = api.as_(header).get("/services")

    assert (reply.status, reply.error["code"]) == (401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_no_token_at_all_is_a_401(api: Api) -> None:
    assert api.as_(None).get("/services").status == 401


def test_a_truncated_token_is_a_401(api: Api, panel: Panel) -> None:
    assert api.as_(panel.a_token()[:-1]).get("/services").status == 401


def test_an_expired_token_is_a_401(api: Api, panel: Panel) -> None:
    assert api.as_(panel.a_token(expires_at="2026-01-01T00:00:00.000Z")).get("/services").status == 401


def test_a_token_stops_working_the_moment_it_expires_though_it_is_remembered(api: Api, panel: Panel) -> None:
    text = panel.a_token(expires_at="2999-01-01T00:00:00.000Z")
    assert api.as_(text).get("/services").status == 200
    token_id, (token, seen) = next((key, kept) for key, kept in auth._remembered.items() if kept[0].expires_at)

    auth._remembered[token_id] = (token.model_copy(update={"expires_at": now()}), seen)

    assert api.as_(text).get("/services").status == 401


def test_a_revoked_token_stops_working(api: Api) -> None:
    made = api.post("/tokens", {"name": "ci", "role": "viewer"}).body
    assert api.as_(made["token"]).get("/services").status == 200

    assert api.delete(f"/tokens/{made['id']}").status == 204

    assert api.as_(made["token"]).get("/services").status == 401
    assert api.get(f"/tokens/{made['id']}").body["revoked_at"]


def test_a_token_revoked_elsewhere_stops_working_once_it_is_looked_up_again(api: Api, panel: Panel) -> None:
    text = panel.a_token("viewer")
    api.as_(text).get("/services")
    token = next(token for token in panel.tokens.all() if token.role == "viewer")
    panel.tokens.change(token, revoked_at=now())
    kept, seen = auth._remembered[token.id]

    auth._remembered[token.id] = (kept, seen - auth.REMEMBERED_SECONDS)

    assert api.as_(text).get("/services").status == 401
    assert auth.REMEMBERED_SECONDS <= 30


def test_a_tokens_text_is_shown_once(api: Api) -> None:
    made = api.post("/tokens", {"name": "ci", "role": "deployer"}).body

    assert made["token"].startswith("aap_k1_")
    assert "token" not in api.get(f"/tokens/{made['id']}").body
    assert made["token"] not in api.get("/tokens").text


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "role": "king"},
        {"name": "x", "role": "admin", "customer_id": "cust_1"},
        {"name": "x", "role": "viewer", "customer_id": "cust_none"},
        {"name": "x", "role": "viewer", "expires_at": "tomorrow"},
        {"name": "x", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "", "role": "viewer"},
    ],
)
def test_a_bad_token_request_is_a_422(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/tokens", body).status == 422


def test_roles_stop_where_they_should(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    viewer, deployer = api.as_(panel.a_token("viewer")), api.as_(panel.a_token("deployer"))

    assert viewer.get(f"/services/{service_id}").status == 200
    for call in ("/start", "/stop", "/restart", "/redeploy"):
        assert viewer.post(f"/services/{service_id}{call}").status == 403
    assert viewer.delete(f"/services/{service_id}").status == 403
    assert viewer.post("/services", wanted).status == 403
    for path in ("/hosts", "/tokens"):
        assert viewer.get(path).status == deployer.get(path).status == 403
    for path in ("/hosts", "/tokens", "/customers", "/templates"):
        assert deployer.post(path, {}).status == 403


def test_another_customers_things_look_like_nothing(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    job_id = panel.workflow.started[0].id
    stranger = api.as_(panel.a_token("deployer", panel.a_customer("Other").id))

    for path in ("", "/logs", "/events"):
        foreign, missing = stranger.get(f"/services/{service_id}{path}"), stranger.get(f"/services/svc_none{path}")
        assert foreign.status == missing.status == 404
        assert foreign.error["message"] == missing.error["message"]
    for call in ("start", "stop", "restart", "redeploy"):
        assert stranger.post(f"/services/{service_id}/{call}").status == 404
    assert stranger.delete(f"/services/{service_id}").status == 404
    assert stranger.get(f"/jobs/{job_id}").status == 404
    assert stranger.post(f"/jobs/{job_id}/cancel").status == 404
    assert stranger.get(f"/customers/{wanted['customer_id']}").status == 404
    assert stranger.get("/services").body["total"] == 0
    assert [row["name"] for row in stranger.get("/customers").body["data"]] == ["Other"]
    foreign = stranger.post("/services", {**wanted, "name": "mine"})
    assert (foreign.status, foreign.error["details"][0]["path"]) == (422, "customer_id")


def test_a_bound_token_works_for_its_own_customer(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    own = api.as_(panel.a_token("deployer", wanted["customer_id"]))

    service_id = deployed(own, panel, wanted)

    assert own.get(f"/services/{service_id}").status == 200
    assert own.get("/services").body["total"] == 1


def test_a_deleted_services_job_stays_readable_by_its_customer_alone(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    service_id = deployed(api, panel, wanted)
    own = api.as_(panel.a_token("deployer", wanted["customer_id"]))
    stranger = api.as_(panel.a_token("deployer", panel.a_customer("Other").id))

    job_id = own.delete(f"/services/{service_id}").headers["X-Job-Id"]

    assert own.get(f"/jobs/{job_id}").status == 200
    assert stranger.get(f"/jobs/{job_id}").status == 404


def test_health_needs_no_token(api: Api) -> None:
    assert api.as_(None).get("/health").body == {"status": "ok"}

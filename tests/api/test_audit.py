"""The audit trail: every write of a known token, what became of it, and nothing secret."""

import json
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.panel import hash_of
from tests.api.conftest import Api
from tests.api.crowd import asking, gateway, headers_of
from tests.emulator import Panel


def trail(api: Api, query: str = "") -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = api.get(f"/audit?per_page=100{query}").body["data"]
    return entries


def test_a_write_is_noted_with_who_what_when_and_from_where(panel: Panel, wanted: dict[str, Any], api: Api) -> None:
    token = panel.a_token("deployer")
    with gateway() as panel_api:
        answer = panel_api.answer(asking("POST", "/services", token, wanted))
    made = json.loads(answer.body)

    (entry,) = trail(api)

    assert entry["token_id"] == next(token.id for token in panel.tokens.all() if token.role == "deployer")
    assert (entry["token_name"], entry["role"]) == ("test", "deployer")
    assert (entry["method"], entry["path"]) == ("POST", "/api/services")
    assert (entry["status"], entry["code"]) == (201, None)
    assert (entry["object_id"], entry["job_id"]) == (made["id"], made["deploy_job_id"])
    assert entry["source_ip"] == "203.0.113.7"
    assert entry["request_id"] == headers_of(answer)["x-request-id"]
    assert entry["timestamp"].endswith("Z")


KEY = "a key that only the edge has"


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"x_slipway_edge": KEY, "x_forwarded_for": "198.51.100.4"}, "198.51.100.4"),
        ({"x_slipway_edge": KEY, "x_forwarded_for": "10.0.0.1, 2001:db8::4, 203.0.113.7"}, "2001:db8::4"),
        ({"x_slipway_edge": KEY, "x_forwarded_for": "10.0.0.1,198.51.100.4"}, "198.51.100.4"),
        ({"x_slipway_edge": KEY, "x_forwarded_for": "203.0.113.7"}, "203.0.113.7"),
        ({"x_slipway_edge": KEY, "x_forwarded_for": "nowhere"}, "203.0.113.7"),
        ({"x_slipway_edge": KEY}, "203.0.113.7"),
        ({"x_slipway_edge": "a guess", "x_forwarded_for": "198.51.100.4"}, "203.0.113.7"),
        ({"x_forwarded_for": "198.51.100.4"}, "203.0.113.7"),
    ],
)
def test_behind_the_edge_it_is_the_callers_address_and_nobody_elses_word_is_taken(
    panel: Panel, api: Api, headers: dict[str, str], address: str
) -> None:
    panel.settings = replace(panel.settings, edge_key_sha256=hash_of(KEY))
    with gateway() as panel_api:
        panel_api.answer(asking("POST", "/customers", panel.a_token("admin"), {"name": "One"}, **headers))

    assert trail(api)[0]["source_ip"] == address


def test_without_an_edge_nobody_is_believed_to_be_one(panel: Panel, api: Api) -> None:
    headers = {"x_slipway_edge": "", "x_forwarded_for": "198.51.100.4"}
    with gateway() as panel_api:
        panel_api.answer(asking("POST", "/customers", panel.a_token("admin"), {"name": "One"}, **headers))

    assert trail(api)[0]["source_ip"] == "203.0.113.7"


def test_reads_and_unknown_callers_are_not_noted(api: Api) -> None:
    api.get("/services")
    api.as_("nonsense").post("/customers", {"name": "One"})

    assert trail(api) == []


def test_refused_writes_are_noted(api: Api, panel: Panel) -> None:
    viewer = api.as_(panel.a_token("viewer"))
    viewer.post("/customers", {"name": "One"})
    api.post("/customers", {"name": ""})
    api.delete("/customers/cust_none")
    api.send("POST", "/customers", raw=b"{")
    api.patch(f"/customers/{panel.a_customer().id}", {"name": "x"}, if_match='"9"')

    found = [(entry["status"], entry["code"], entry["role"]) for entry in reversed(trail(api))]

    assert found == [
        (403, "forbidden", "viewer"),
        (422, "validation_failed", "admin"),
        (404, "not_found", "admin"),
        (400, "invalid_request", "admin"),
        (412, "precondition_failed", "admin"),
    ]


def test_the_newest_is_first_and_pages_are_cut(api: Api) -> None:
    made = [api.post("/customers", {"name": f"c{n}"}).body["id"] for n in range(5)]

    page = api.get("/audit?page=2&per_page=2").body

    assert [entry["object_id"] for entry in page["data"]] == [made[2], made[1]]
    assert (page["total"], page["page"], page["per_page"]) == (5, 2, 2)


def test_entries_are_found_by_token_and_time(api: Api, panel: Panel) -> None:
    other = api.as_(panel.a_token())
    api.post("/customers", {"name": "mine"})
    other.post("/customers", {"name": "theirs"})
    theirs, mine = trail(api)

    assert trail(api, f"&token_id={mine['token_id']}") == [mine]
    assert trail(api, f"&since={theirs['timestamp']}")[0] == theirs
    assert trail(api, "&until=2020-01-01T00:00:00Z") == []
    assert trail(api, "&since=2999-01-01T00:00:00Z") == []
    assert len(trail(api, "&since=2020-01-01T00:00:00Z&until=2999-01-01T00:00:00Z")) == 2


def test_entries_are_found_by_object_and_method(api: Api) -> None:
    one, other = (api.post("/customers", {"name": name}).body["id"] for name in ("one", "other"))
    api.patch(f"/customers/{one}", {"name": "renamed"})
    api.delete(f"/customers/{one}")

    found = [(entry["method"], entry["object_id"]) for entry in trail(api, f"&object_id={one}")]

    assert found == [("DELETE", one), ("PATCH", one), ("POST", one)]
    assert [entry["object_id"] for entry in trail(api, "&method=POST")] == [other, one]
    assert [entry["method"] for entry in trail(api, f"&object_id={one}&method=PATCH")] == ["PATCH"]
    assert trail(api, "&object_id=cust_none") == []
    assert api.get(f"/audit?object_id={one}&per_page=1&page=2").body["total"] == 3


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "method=GET",
        "object_id=",
        "per_page=101",
        "since=yesterday",
        "colour=red",
        "since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z",
    ],
)
def test_a_bad_question_is_a_422(api: Api, query: str) -> None:
    assert api.get(f"/audit?{query}").status == 422


def test_only_an_admin_reads_it(api: Api, panel: Panel) -> None:
    assert api.as_(panel.a_token("deployer")).get("/audit").status == 403


def test_nothing_that_was_sent_stands_in_it(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    api.post("/services?unknown=hunter2", {**wanted, "variables": {"DB_PASSWORD": "hunter2"}})
    text = api.post("/tokens", {"name": "ci", "role": "viewer"}).body["token"]

    shown = api.get("/audit").text

    assert "hunter2" not in shown
    assert text not in shown


def test_a_repeat_is_noted_as_one_and_a_dry_run_too(api: Api, wanted: dict[str, Any]) -> None:
    api.post("/services?dry_run=true", wanted)
    api.post("/services", wanted, idempotency_key="k")
    api.post("/services", wanted, idempotency_key="k")

    repeat, first, dry = trail(api)

    assert (dry["dry_run"], dry["status"]) == (True, 200)
    assert (first["replayed"], repeat["replayed"]) == (False, True)
    assert repeat["object_id"] == first["object_id"]


def test_a_write_that_cannot_be_noted_is_not_made(api: Api, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_order(entry: Any) -> None:
        raise Unavailable("DynamoDB did not answer")

    monkeypatch.setattr(panel.audit, "begin", out_of_order)

    assert api.post("/customers", {"name": "One"}).status == 503
    assert panel.customers.all() == []


def test_a_write_whose_process_dies_has_been_noted(api: Api, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        """As a kill: nothing after it runs."""

    def dying(customer: Any) -> None:
        raise Died

    monkeypatch.setattr(panel.customers, "add", dying)
    with pytest.raises(Died):
        api.post("/customers", {"name": "One"})

    (entry,) = trail(api)
    assert (entry["path"], entry["status"]) == ("/api/customers", None)


def test_a_path_that_somebody_made_up_is_cut(api: Api) -> None:
    api.delete(f"/customers/{'x' * 2000}")

    (entry,) = trail(api)
    assert len(entry["path"]) <= 300
    assert len(entry["object_id"]) <= 300

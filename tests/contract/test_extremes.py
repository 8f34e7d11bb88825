"""Values at the ends of what JSON and query strings can say: refused or taken, and never a fault of ours."""

import json
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.contract.world import COMPOSE, World

HALF = "\ud800"  # half of a character, which JSON can name and UTF-8 cannot
HUGE = 10**60


@pytest.mark.parametrize(
    "body",
    [
        {"name": HALF},
        {"name": "a\0b"},
        {"name": "x", "limits": {HALF: 1}},
        {"name": "x", "limits": {"services": HUGE}},
        {"name": "x", "limits": {"memory_mb": HUGE}},
        {"name": "x", "limits": {"cpu": HUGE}},
    ],
)
def test_a_customer_that_cannot_be_stored_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.send("POST", "/customers", raw=json.dumps(body).encode()).status in (400, 422)


def test_the_last_character_there_is_in_a_name_is_only_a_character(api: Api) -> None:
    assert api.post("/customers", {"name": "a\U0010ffffb"}).body["name"] == "a\U0010ffffb"


@pytest.mark.parametrize(
    "fields",
    [
        {"variables": {"A": HALF}},
        {"compose": f"services: {{{HALF}: {{}}}}"},
        {"host_labels": {HALF: "x"}},
        {"host_labels": {"x": HALF}},
        {"host_id": "\0"},
        {"host_labels": {"": ""}},
    ],
)
def test_a_service_that_cannot_be_is_refused(api: Api, world: World, fields: dict[str, Any]) -> None:
    body = {"name": "extreme", "customer_id": world.own.customer_id, "deploy_method": "compose", "compose": COMPOSE}

    assert api.send("POST", "/services", raw=json.dumps(body | fields).encode()).status in (400, 409, 422)


@pytest.mark.parametrize(
    "query",
    [
        "/services?search=%ff",
        "/services?search=%00",
        f"/services?page={HUGE}",
        f"/services?page={'9' * 5000}",
        "/audit?since=0001-01-01T00:00:00Z",
        "/audit?until=0001-01-01T00:00:00Z",
        "/audit?since=9999-12-31T23:59:59Z",
        "/audit?since=0001-01-01T00:00:00%2B23:59",
        "/audit?until=9999-12-31T23:59:59-23:59",
        "/audit?since=2026-02-30T00:00:00Z",
    ],
)
def test_an_extreme_question_gets_an_answer(api: Api, query: str) -> None:
    assert api.get(query).status in (200, 422)


@pytest.mark.parametrize("customer_id", ["", "x" * 5000, "\0"])
def test_a_token_for_a_customer_that_cannot_be_is_refused(api: Api, customer_id: str) -> None:
    assert api.post("/tokens", {"name": "x", "role": "viewer", "customer_id": customer_id}).status == 422


def test_a_token_may_end_with_time_itself(api: Api) -> None:
    body = {"name": "late", "role": "viewer", "expires_at": "9999-12-31T23:59:59-23:59"}

    assert api.post("/tokens", body).status in (201, 422)


def test_a_template_that_asks_for_more_than_there_is_anywhere_is_refused(api: Api) -> None:
    body = {"id": "huge", "name": "Huge", "compose": COMPOSE, "min_resources": {"memory_mb": HUGE, "storage_mb": HUGE}}

    assert api.post("/templates", body).status == 422


def test_ids_of_any_bytes_are_only_missing(api: Api) -> None:
    for name in ("%00", "%ff", "a%2Fb", "x" * 3000, "%F0%9F%92%A9"):
        assert api.get(f"/services/{name}").status == 404
        assert api.get(f"/customers/{name}").status == 404
        assert api.get(f"/jobs/{name}").status == 404

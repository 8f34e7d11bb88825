"""Customers: what they may have, what they have, and how both are changed."""

import json
from functools import partial
from typing import Any

import pytest

from chalicelib.domain.panel import CustomerLimits
from tests.api.conftest import Api
from tests.api.crowd import all_at_once, asking, gateway
from tests.api.test_services import deployed
from tests.emulator import Panel


def limited(panel: Panel, **limits: int) -> str:
    """The path of a customer with these limits."""
    customer = panel.a_customer("Limited")
    return f"/customers/{panel.customers.change(customer, limits=CustomerLimits(**limits)).id}"


def test_a_limit_that_is_named_is_changed_and_the_others_stay(api: Api, panel: Panel) -> None:
    path = limited(panel, services=5, cpu_millis=4000, memory_mb=2048)

    assert api.patch(path, {"limits": {"services": 3}}).body["limits"] == {"services": 3, "cpu": 4.0, "memory_mb": 2048}
    assert api.patch(path, {"limits": {"cpu": None}}).body["limits"] == {"services": 3, "cpu": None, "memory_mb": 2048}
    assert api.patch(path, {"limits": {}}).body["limits"] == {"services": 3, "cpu": None, "memory_mb": 2048}
    assert api.patch(path, {"limits": None}).body["limits"] == {"services": None, "cpu": None, "memory_mb": None}


@pytest.mark.parametrize("cpu", [0.0001, 0.0099, -1])
def test_a_limit_below_the_least_that_a_container_takes_is_refused(api: Api, panel: Panel, cpu: float) -> None:
    path = limited(panel, cpu_millis=4000)

    changed = api.patch(path, {"limits": {"cpu": cpu}})
    made = api.post("/customers", {"name": "New", "limits": {"cpu": cpu}})

    assert [(reply.status, reply.error["details"][0]["path"]) for reply in (changed, made)] == [(422, "limits.cpu")] * 2
    assert panel.customers.get(path.rpartition("/")[2]).limits.cpu_millis == 4000


def test_a_customer_may_be_held_to_nothing_at_all(api: Api, panel: Panel) -> None:
    nothing: dict[str, Any] = {"services": 0, "cpu": 0, "memory_mb": 0}

    assert api.post("/customers", {"name": "New", "limits": nothing}).body["limits"] == nothing


@pytest.mark.parametrize(("field", "has"), [("services", "1 service"), ("cpu", "1 core"), ("memory_mb", "512 MB")])
def test_a_limit_below_what_the_customer_has_is_refused_naming_both(
    api: Api, panel: Panel, wanted: dict[str, Any], field: str, has: str
) -> None:
    deployed(api, panel, wanted)
    path = f"/customers/{wanted['customer_id']}"
    enough: dict[str, Any] = {"services": 1, "cpu": 1.0, "memory_mb": 512}
    before = api.patch(path, {"limits": enough})

    reply = api.patch(path, {"name": "Other", "limits": {field: 0}})

    assert (before.status, reply.status) == (200, 422)
    assert [detail["path"] for detail in reply.error["details"]] == [f"limits.{field}"]
    assert f"has {has}" in reply.error["message"]
    assert (api.get(path).body, api.get(path).headers["ETag"]) == (before.body, before.headers["ETag"])


def test_over_a_limit_at_the_same_moment_is_told_as_one_after_the_other(panel: Panel, wanted: dict[str, Any]) -> None:
    token, customer = panel.a_token(), panel.customers.get(wanted["customer_id"])
    panel.customers.change(customer, limits=CustomerLimits(services=2))
    requests = [asking("POST", "/services", token, {**wanted, "name": f"app-{n}"}) for n in range(6)]

    with gateway() as panel_api:
        answers = all_at_once([partial(panel_api.answer, asked) for asked in requests])

    assert sorted(answer.status for answer in answers) == [201] * 2 + [422] * 4
    refused = [json.loads(answer.body)["error"] for answer in answers if answer.status == 422]
    assert {error["details"][0]["path"] for error in refused} == {"customer.limits.services"}
    assert {error["message"] for error in refused} == {
        "the customer may have 2 services, has 2 services, and this would add 1 service"
    }


def test_customers_show_what_they_have_beside_what_they_may(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    for name in ("one", "two"):
        deployed(api, panel, wanted, name=name, limits={"cpu": 0.25, "memory_mb": 100})
    without = api.post("/customers", {"name": "Empty"}).body
    has = {"services": 2, "cpu": 0.5, "memory_mb": 200}

    assert without["usage"] == {"services": 0, "cpu": 0.0, "memory_mb": 0}
    assert api.get(f"/customers/{wanted['customer_id']}").body["usage"] == has
    assert [customer["usage"] for customer in api.get("/customers").body["data"]] == [has, without["usage"]]


@pytest.mark.parametrize(
    "email",
    ["a@b\0", "a\0@b", "a@b\n", "a@b\x1b", "a\x7f@b", "a@b\x85", "a\u202e@b", "a@b\u2066", "a b@c", "a@b@c", "@"],
)
def test_an_email_that_would_not_be_shown_as_it_is_written_is_refused(api: Api, panel: Panel, email: str) -> None:
    path = limited(panel)
    before = api.get("/customers").body

    replies = [api.post("/customers", {"name": "Acme", "email": email}), api.patch(path, {"email": email})]

    for reply in replies:
        assert (reply.status, [detail["path"] for detail in reply.error["details"]]) == (422, ["email"])
        assert "must be an email address" in reply.error["message"]
    assert api.get("/customers").body == before


@pytest.mark.parametrize(
    "email", ["ada@example.com", "o'hara+bills@mail.example.org", "łukasz@przykład.pl", "root@localhost"]
)
def test_an_email_is_of_any_language(api: Api, panel: Panel, email: str) -> None:
    path = limited(panel)

    assert api.post("/customers", {"name": "Acme", "email": email}).body["email"] == email
    assert api.patch(path, {"email": email}).body["email"] == email


@pytest.mark.parametrize("name", ["Ac\0me", "Ac\nme", "Ac\u202eme"])
def test_a_name_that_would_not_be_shown_as_it_is_written_is_refused(api: Api, panel: Panel, name: str) -> None:
    path = limited(panel)

    replies = [
        api.post("/customers", {"name": name}),
        api.patch(path, {"name": name}),
        api.post("/tokens", {"name": name, "role": "viewer"}),
    ]

    assert [(reply.status, reply.error["details"][0]["path"]) for reply in replies] == [(422, "name")] * 3
    assert all("control characters" in reply.error["message"] for reply in replies)

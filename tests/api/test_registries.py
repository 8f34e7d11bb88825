"""Registry credentials over REST: stored once for a customer and a registry, never shown, gone with the customer."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.emulator import Panel

PASSWORD = "canary-registry-password"


def login(customer_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "registry": "registry.example.com:5000",
        "username": "ann",
        "password": PASSWORD,
        **fields,
    }


def test_credentials_come_are_listed_and_go_and_the_password_is_never_shown(api: Api, customer_id: str) -> None:
    made = api.post("/registries", login(customer_id))
    path = f"/registries/{made.body['id']}"
    listed = api.get("/registries")

    assert made.status == 201
    assert made.headers["Location"] == f"/api{path}"
    assert made.body.keys() == {"id", "customer_id", "registry", "username", "created_at"}
    assert listed.body["data"] == [api.get(path).body] == [made.body]
    assert PASSWORD not in made.text + listed.text
    assert api.delete(path).status == 204
    assert (api.get(path).status, api.delete(path).status) == (404, 404)


def test_the_password_is_stored_sealed_for_this_login(api: Api, panel: Panel, customer_id: str) -> None:
    made = api.post("/registries", login(customer_id)).body

    (item,) = panel.table.query("REGISTRIES")

    assert PASSWORD.encode() not in item["sealed_password"]
    assert PASSWORD not in str(item)
    assert panel.sealer.unseal(item["sealed_password"], made["id"]).decode() == PASSWORD


def test_a_customer_has_one_login_at_a_registry(api: Api, panel: Panel, customer_id: str) -> None:
    first = api.post("/registries", login(customer_id, registry="index.docker.io"))

    again = api.post("/registries", login(customer_id, registry="Docker.io", username="bob"))

    assert first.body["registry"] == "docker.io"
    assert (again.status, again.error["details"]) == (409, {"registry_id": first.body["id"]})
    assert api.get(f"/registries/{first.body['id']}").body["username"] == "ann"
    assert api.post("/registries", login(customer_id)).status == 201
    assert api.post("/registries", login(panel.a_customer("Other").id, registry="docker.io")).status == 201


def test_the_list_can_be_narrowed_to_a_customer(api: Api, panel: Panel, customer_id: str) -> None:
    other = panel.a_customer("Other").id
    for customer in (customer_id, other):
        api.post("/registries", login(customer))

    found = api.get(f"/registries?customer_id={other}").body

    assert ([row["customer_id"] for row in found["data"]], found["total"]) == ([other], 1)
    assert api.get("/registries?colour=red").status == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("registry", "https://registry.example.com"), ("registry", "registry.example.com/team"), ("registry", "team"),
        ("registry", ""), ("registry", "a b.c"), ("registry", 5), ("username", ""), ("username", "a:b"),
        ("registry", "registry.example.com:99999"), ("password", f"{PASSWORD}\n"), ("password", f"{PASSWORD}\0"),
        ("username", "a\nb"), ("password", ""), ("password", None), ("password", "x" * 16_385),
        ("customer_id", "cust_none"), ("colour", "red"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_nothing_is_stored_and_no_password_repeated(
    api: Api, panel: Panel, customer_id: str, field: str, value: Any
) -> None:
    reply = api.post("/registries", {**login(customer_id), field: value})

    assert (reply.status, reply.error["details"][0]["path"]) == (422, field)
    assert PASSWORD not in reply.text
    assert panel.registries.all() == []


@pytest.mark.parametrize("role", ["viewer", "deployer"])
def test_only_an_admin_touches_credentials(api: Api, panel: Panel, customer_id: str, role: str) -> None:
    made = api.post("/registries", login(customer_id)).body
    other = api.as_(panel.a_token(role))

    replies = [
        other.get("/registries"),
        other.post("/registries", login(customer_id, registry="docker.io")),
        other.get(f"/registries/{made['id']}"),
        other.delete(f"/registries/{made['id']}"),
    ]

    assert {reply.status for reply in replies} == {403}
    assert len(panel.registries.all()) == 1


def test_a_customers_credentials_go_with_it_and_nobody_elses(api: Api, panel: Panel, customer_id: str) -> None:
    other = panel.a_customer("Other").id
    for customer in (customer_id, other):
        api.post("/registries", login(customer))
        api.post("/registries", login(customer, registry="docker.io"))

    assert api.delete(f"/customers/{customer_id}").status == 204

    assert {registry.customer_id for registry in panel.registries.all()} == {other}
    assert api.post("/registries", login(customer_id)).status == 422

"""What lists and single services cost to read when there are ten thousand, through the API."""

import random
from typing import Any

import pytest

from chalicelib.domain.service import Observation
from chalicelib.domain.words import new_id, now
from tests import many
from tests.api.conftest import Api
from tests.emulator import Panel
from tests.read_units import Meter, metered

COUNT = 10_000


@pytest.fixture
def meter(panel: Panel) -> Meter:
    """Counting from before anything uses the panel's stores: ask for it before `api`."""
    return metered(panel)


def test_any_list_of_ten_thousand_costs_a_unit_and_half_a_one_a_row(meter: Meter, api: Api, panel: Panel) -> None:
    customers = list(many.customers(panel.table, 20))
    made = many.services(COUNT, random.Random(3), customers, [new_id("host") for _ in range(20)])
    many.store_list(panel.table, made)
    assert api.get("/services").body["total"] == COUNT  # the token, and every shard: once a process
    meter.spent()

    for query, total in (
        ("", COUNT),
        ("?page=250&sort=name", COUNT),
        ("?page=500&sort=updated_at&order=asc", COUNT),
        ("?page=501", COUNT),
        ("?search=WIKI-1&per_page=100", sum("wiki-1" in service.name for service in made)),
        ("?status=failed&page=3", sum(service.status == "failed" for service in made)),
        (f"?customer_id={customers[3]}&sort=status", sum(s.customer_id == customers[3] for s in made)),
        ("?search=no-such-name", 0),
    ):
        body = api.get(f"/services{query}").body
        assert body["total"] == total
        assert meter.spent() <= 1 + 0.5 * len(body["data"])


def test_one_of_ten_thousand_services_costs_two_units(
    meter: Meter, api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    many.store_list(panel.table, many.services(COUNT, random.Random(5), [new_id("cust")], [new_id("host")]))
    created = api.post("/services", wanted).body["id"]
    service = panel.services.get(created)
    seen = Observation(measured_at=now(), cpu_usage_millis=1, storage_mb=1, health="healthy")
    panel.services.observe(service.host_id, {created: seen})
    api.get(f"/services/{created}")  # the token: once in 15 seconds
    panel.services.observe(service.host_id, {created: seen.model_copy(update={"measured_at": now()})})
    meter.spent()

    assert api.get(f"/services/{created}").body["health"]["status"] == "healthy"
    assert meter.spent() <= 2


def test_a_caller_bound_to_a_customer_gets_its_own_total(api: Api, panel: Panel) -> None:
    customers = list(many.customers(panel.table, 3))
    made = many.services(60, random.Random(6), customers, [new_id("host")])
    many.store_list(panel.table, made)
    bound = api.as_(panel.a_token("viewer", customers[0]))

    mine = [service.name for service in made if service.customer_id == customers[0]]
    body = bound.get("/services?sort=name&per_page=100").body
    assert [row["name"] for row in body["data"]] == sorted(mine)
    assert body["total"] == len(mine)
    assert bound.get(f"/services?customer_id={customers[1]}").body["total"] == 0

"""Every list of the API is read in pages, and each page knows how many there are in all."""

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.domain.registry import Registry
from chalicelib.domain.words import new_id, now
from tests.api.conftest import Api
from tests.emulator import Panel


def _hosts(api: Api, panel: Panel) -> None:
    for number in range(5):
        panel.a_host(f"h{number}")


def _customers(api: Api, panel: Panel) -> None:
    for number in range(5):
        panel.a_customer(f"c{number}")


def _tokens(api: Api, panel: Panel) -> None:
    for _ in range(5):
        panel.a_token("viewer")


def _registries(api: Api, panel: Panel) -> None:
    customer = panel.a_customer()
    for number in range(5):
        registry_id = new_id("reg")
        panel.registries.add(
            Registry(
                id=registry_id,
                customer_id=customer.id,
                registry=f"r{number}.example.com",
                username="ann",
                sealed_password=panel.sealer.seal(b"secret", registry_id),
                created_at=now(),
            )
        )


def _templates(api: Api, panel: Panel) -> None:
    """The catalogue has enough."""


@pytest.mark.parametrize(
    ("path", "fill"),
    [
        ("/hosts", _hosts),
        ("/customers", _customers),
        ("/tokens", _tokens),
        ("/registries", _registries),
        ("/templates", _templates),
    ],
)
def test_pages_of_two_are_the_whole_list_in_order(
    api: Api, panel: Panel, path: str, fill: Callable[[Api, Panel], None]
) -> None:
    fill(api, panel)
    whole = api.get(f"{path}?per_page=100").body
    pages = [api.get(f"{path}?page={page}&per_page=2").body for page in range(1, whole["total"] // 2 + 3)]

    assert whole["total"] == len(whole["data"]) >= 5
    assert [row for page in pages for row in page["data"]] == whole["data"]
    assert {(page["total"], page["per_page"]) for page in pages} == {(whole["total"], 2)}
    assert [page["page"] for page in pages] == list(range(1, len(pages) + 1))
    assert api.get(path).body["per_page"] == 20


def test_orphans_come_in_pages_too(api: Api, panel: Panel) -> None:
    host = panel.a_host()
    found = {f"svc_{number:016d}": {"volumes": [f"v{number}"]} for number in range(3)}
    panel.host_calls.answers["orphans"] = lambda host_id: {"orphans": found}

    page: dict[str, Any] = api.get(f"/hosts/{host.id}/orphans?page=2&per_page=2").body

    assert ([row["service_id"] for row in page["data"]], page["total"]) == (["svc_0000000000000002"], 3)


@pytest.mark.parametrize("path", ["/hosts", "/customers", "/tokens", "/registries", "/templates"])
@pytest.mark.parametrize("query", ["page=0", "per_page=101", "per_page=0", "page=x"])
def test_a_page_that_there_cannot_be_is_refused(api: Api, path: str, query: str) -> None:
    assert api.get(f"{path}?{query}").status == 422

"""GET /services: any page, order, filter and search. It never waits for a host."""

import time
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from chalicelib.api import views
from chalicelib.api.http import Request, Routes, WireIn
from chalicelib.api.services.bodies import Id
from chalicelib.api.services.plans import url_of
from chalicelib.domain.listing import Row, narrowed
from chalicelib.domain.service import Observation
from chalicelib.domain.words import seconds_since
from chalicelib.wiring import adapters

routes = Routes(__name__)

# It shows what was last measured, and has figures older than this measured behind it.
_FRESH_SECONDS = 15
_asked: dict[str, float] = {}


class ListServices(WireIn):
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)
    status: Literal["running", "stopped", "deploying", "failed"] | None = None
    customer_id: Id | None = None
    sort: Literal["name", "status", "created_at", "updated_at"] = "created_at"
    order: Literal["asc", "desc"] | None = None
    search: str | None = Field(None, max_length=200)


@routes.on("GET", "/services", query=ListServices, answers={200: views.ServicePage})
def list_services(request: Request) -> views.ServicePage:
    """One page of the services that the caller may see, and how many there are in all."""
    wanted = request.parameters(ListServices)
    order = wanted.order or ("asc" if wanted.sort == "name" else "desc")
    rows = adapters().services.listing().by(wanted.sort, descending=order == "desc")
    if not request.caller.sees_all:
        rows = [row for row in rows if request.caller.may_see(row["customer_id"])]
    rows = narrowed(rows, wanted.search, customer_id=wanted.customer_id, status=wanted.status)
    page = rows[(wanted.page - 1) * wanted.per_page : wanted.page * wanted.per_page]
    seen = adapters().services.recent_observations([(row["host_id"], row["id"]) for row in page])
    _have_measured(page, seen)
    return views.ServicePage(
        data=[_row_view(row, seen.get(row["id"])) for row in page],
        total=len(rows),
        page=wanted.page,
        per_page=wanted.per_page,
    )


def _have_measured(rows: Sequence[Row], seen: dict[str, Observation]) -> None:
    stale: dict[str, list[str]] = {}
    for row in rows:
        known = seen.get(row["id"])
        if known and seconds_since(known.measured_at) > _FRESH_SECONDS:
            stale.setdefault(row["host_id"], []).append(row["id"])
    for host_id, service_ids in stale.items():
        if time.monotonic() - _asked.get(host_id, -_FRESH_SECONDS) >= _FRESH_SECONDS:
            _asked[host_id] = time.monotonic()
            adapters().host_calls.tell("measure", host_id=host_id, service_ids=service_ids)


def _row_view(row: Row, seen: Observation | None) -> views.ServiceRow:
    resources = seen.resources() if seen else {}
    return views.ServiceRow(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        url=url_of(row["name"], has_url=row["has_url"]),
        customer_id=row["customer_id"],
        template=row.get("template"),
        deploy_method=row["deploy_method"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        resources=views.RowResources(
            cpu_usage=resources.get("cpu_usage"),
            memory_usage_mb=resources.get("memory_usage_mb"),
            memory_limit_mb=resources.get("memory_limit_mb"),
        ),
    )

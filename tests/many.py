"""Thousands of services in a moment: their items and their list, written straight into an empty table."""

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.domain.panel import Customer
from chalicelib.domain.service import Observation, Service
from chalicelib.domain.words import new_id, now, timestamp
from chalicelib.store import shards
from chalicelib.store.records import attributes
from chalicelib.store.services import _meta, _row_of, _stored
from chalicelib.store.table import Table, put

_COMPOSE = "services:\n  web:\n    image: nginx:1.27-alpine\n    ports: ['80']\n"


def services(count: int, chance: random.Random, customers: Sequence[str], hosts: Sequence[str]) -> list[Service]:
    """Services as various as real ones: ids and times that compress badly, names that repeat a word."""
    began = datetime.now(UTC)
    return [
        Service(
            id=new_id("svc"),
            name=f"{chance.choice(('shop', 'blog', 'wiki', 'api', 'n8n', 'grafana'))}-{number}",
            status=chance.choices(("running", "stopped", "failed", "deploying"), (90, 6, 3, 1))[0],
            customer_id=chance.choice(customers),
            host_id=chance.choice(hosts),
            deploy_method="compose",
            compose=_COMPOSE,
            sealed_variables=b"",
            has_url=True,
            release=1,
            last_release=1,
            created_at=timestamp(began - timedelta(seconds=chance.uniform(0, 30_000_000))),
            updated_at=timestamp(began - timedelta(seconds=chance.uniform(0, 3_000_000))),
        )
        for number in range(count)
    ]


def store(table: Table, client: Any, name: str, made: Sequence[Service]) -> None:
    """Everything that a panel reads of them: items, list, figures (measured in an hour, so that none grows old)."""
    store_list(table, made)
    measured = timestamp(datetime.now(UTC) + timedelta(hours=1))
    seen = attributes(
        Observation(
            measured_at=measured, cpu_usage_millis=150, cpu_limit_millis=1000, memory_usage_mb=128,
            memory_limit_mb=512, storage_mb=256, storage_measured_at=measured, health="healthy",
        )
    )  # fmt: skip
    items = [put(_meta(service.id), _stored(service)) for service in made]
    items += [put((f"OBSERVED#{service.host_id}", service.id), seen) for service in made]
    for first in range(0, len(items), 25):
        some = items[first : first + 25]
        client.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": put_["Put"]["Item"]}} for put_ in some]})


def store_list(table: Table, made: Iterable[Service]) -> None:
    """The list alone."""
    rows: dict[int, dict[str, Any]] = {}
    for service in made:
        rows.setdefault(shards.number_of(service.id), {})[service.id] = _row_of(service)
    for number, some in rows.items():
        table.transact(*shards.Shard(number).with_rows(some).writes())


def customers(table: Table, count: int) -> Iterator[str]:
    for number in range(count):
        customer = Customer(id=new_id("cust"), name=f"Customer {number}", created_at=now(), updated_at=now())
        table.write(put(("CUSTOMERS", customer.id), attributes(customer)))
        yield customer.id

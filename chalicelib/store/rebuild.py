"""The service list made anew from the services: after a table was restored in part, or from before there was a list.

The panel may go on meanwhile. Services are found by reading the whole table once; then each shard is read, every
service that was found or stands in it is looked at, and the shard is written if it differs, on the condition that
nobody wrote it in between. A service added after the table was read has put itself into its shard already.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.listing import Row
from chalicelib.store import shards
from chalicelib.store.shards import DamagedShard, Shard
from chalicelib.store.table import Item, Lost, Table

_ATTEMPTS = 10


@dataclass(frozen=True)
class Rebuilt:
    """How many services the list has now, and what was amiss in it."""

    services: int = 0
    missing: int = 0
    wrong: int = 0
    left_over: int = 0
    shards_written: int = 0


def rebuild(table: Table, row_of: Callable[[Item], Row | None]) -> Rebuilt:
    """Make the list what `row_of` says of each service's item; None: it has no row. Safe to repeat."""
    numbers = {*range(shards.SHARDS), *shards.listed_versions(table)}
    found: dict[int, set[str]] = {number: set() for number in sorted(numbers)}
    for partition in table.scan("META"):
        kind, _, service_id = partition.partition("#")
        if kind == "SVC":
            found[shards.number_of(service_id)].add(service_id)
    total = Rebuilt()
    for number, service_ids in found.items():
        total = _sum(total, _rebuild_shard(table, number, service_ids, row_of))
    return total


def _rebuild_shard(table: Table, number: int, found: set[str], row_of: Callable[[Item], Row | None]) -> Rebuilt:
    for _ in range(_ATTEMPTS):
        listed = shards.listed_versions(table).get(number, 0)
        shard = _readable(table, number)
        added_since = {service_id for service_id in shard.rows if shards.number_of(service_id) == number}
        rows = _true_rows(table, found | added_since, row_of)
        if rows == shard.rows and listed == shard.version:
            return Rebuilt(services=len(rows))
        try:
            table.transact(*shard.with_rows(rows, above=listed).writes())
        except Lost:  # one of its services changed meanwhile
            continue
        return Rebuilt(
            services=len(rows),
            missing=len(rows.keys() - shard.rows.keys()),
            wrong=sum(rows[service_id] != shard.rows[service_id] for service_id in rows.keys() & shard.rows.keys()),
            left_over=len(shard.rows.keys() - rows.keys()),
            shards_written=1,
        )
    raise Unavailable(f"shard {number} of the service list changes all the time; run this again when less goes on")


def _readable(table: Table, number: int) -> Shard:
    try:
        return shards.read(table, number)
    except DamagedShard as damage:
        return damage.without_rows


def _true_rows(table: Table, service_ids: set[str], row_of: Callable[[Item], Row | None]) -> dict[str, Row]:
    items = table.get_many([(f"SVC#{service_id}", "META") for service_id in sorted(service_ids)])
    rows = (row_of(item) for item in items.values())
    return {row["id"]: row for row in rows if row is not None}


def _sum(one: Rebuilt, other: Rebuilt) -> Rebuilt:
    return Rebuilt(
        one.services + other.services,
        one.missing + other.missing,
        one.wrong + other.wrong,
        one.left_over + other.left_over,
        one.shards_written + other.shards_written,
    )

"""What hosts and customers' limits were promised to: one counter item each, changed only with the service it is for.

The condition is in the same transaction as the service, so that parallel creates never promise more than there is.
"""

from typing import Any

from chalicelib.domain.panel import CustomerLimits
from chalicelib.domain.placement import Amount
from chalicelib.store.table import Key, Table, update

_FIELDS = ("cpu_millis", "memory_mb", "disk_mb", "services")


class Promises:
    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, owner_ids: list[str]) -> dict[str, dict[str, int]]:
        """What each host or customer was promised: cpu_millis, memory_mb, disk_mb, services."""
        found = self._table.get_many([_key(owner_id) for owner_id in owner_ids])
        nothing = dict.fromkeys(_FIELDS, 0)
        return {
            owner_id: {field: found.get(_key(owner_id), nothing).get(field, 0) for field in _FIELDS}
            for owner_id in owner_ids
        }


def on_host(host_id: str, more: Amount, services: int, capacity: Amount | None) -> dict[str, Any]:
    """The write that promises `more` of a host, if it is there; None: whatever it has, for what is given back."""
    limits = capacity.model_dump() if capacity else {}
    return _promise(host_id, {**more.model_dump(), "services": services}, limits)


def to_customer(customer_id: str, more: Amount, services: int, limits: CustomerLimits) -> dict[str, Any]:
    """The write that counts `more` of a customer's limits, if they allow it."""
    given = {name: value for name, value in limits.model_dump().items() if value is not None}
    return _promise(customer_id, {**more.model_dump(), "services": services}, given)


def _promise(owner_id: str, more: dict[str, int], limits: dict[str, int]) -> dict[str, Any]:
    rooms = {field: limits[field] - more[field] for field in limits if more.get(field, 0) > 0}
    # One that was promised nothing yet has no counters; what is more than there is does not fit there either.
    conditions = [
        f"(attribute_not_exists({field}) OR {field} <= :room_{field})" if room >= 0 else f"{field} <= :room_{field}"
        for field, room in rooms.items()
    ]
    values: dict[str, Any] = {**more, **{f"room_{field}": room for field, room in rooms.items()}}
    return update(
        _key(owner_id),
        {},
        " AND ".join(conditions),
        expressions=tuple(f"{field} = if_not_exists({field}, :zero) + :{field}" for field in more),
        zero=0,
        **values,
    )


def _key(owner_id: str) -> Key:
    return (f"PROMISED#{owner_id}", "PROMISED")

"""Finding a service a host with room for what it is promised, and holding a customer to its limits."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import Conflict, NoRoom, NotFound, OverLimit, ValidationFailed
from chalicelib.domain.panel import Customer, CustomerLimits, Host
from chalicelib.domain.placement import Amount, Candidate, Need, Overcommit, capacity_of, choose, too_small
from chalicelib.domain.words import finding
from chalicelib.store.services import Room
from chalicelib.wiring import adapters


@dataclass(frozen=True)
class Wish:
    """Where a service may go."""

    host_id: str | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Place:
    host_id: str
    reason: str


def find_place(need: Need, wish: Wish) -> Place:
    """Raise `ValidationFailed` for a host that there is not, `Conflict` with each host's reason if none fits."""
    panel = adapters()
    hosts = panel.hosts.all()
    if wish.host_id is not None and wish.host_id not in {host.id for host in hosts}:
        raise ValidationFailed("no such host", [finding("host_id", "unknown", "there is no such host")])
    promised = panel.promises.of([host.id for host in hosts])
    candidates = [
        Candidate(host, Amount.model_validate(promised[host.id]), capacity_of(host, _overcommit())) for host in hosts
    ]
    chosen, reason = choose(candidates, need, wish.labels or {}, wish.host_id)
    return Place(chosen.host.id, reason)


def hold_to_machine(host_id: str, largest: Amount) -> None:
    """Raise `NoRoom` if the host's machine cannot run a container of this size."""
    host = adapters().hosts.get(host_id)
    reason = too_small(host, largest)
    if reason:
        details = {"hosts": [{"host_id": host.id, "name": host.name, "reason": reason}]}
        raise NoRoom(f"its host cannot run this: {host.name} {reason}", details)


def room_for(host_id: str, customer_id: str) -> Room:
    """What may be promised of a host and to a customer; the write that promises holds it against what was.

    Raise `NoRoom` if the host was removed meanwhile, `Conflict` if the customer was.
    """
    try:
        host = adapters().hosts.get(host_id)
    except NotFound as error:
        raise NoRoom("the host was removed meanwhile") from error
    try:
        customer = adapters().customers.get(customer_id)
    except NotFound as error:
        raise Conflict("the customer was removed meanwhile") from error
    return Room(capacity_of(host, _overcommit()) or Amount(), customer.limits)


def hold_to_limits(customer: Customer, more: Amount, services: int) -> None:
    """Raise `ValidationFailed`, naming each limit of the customer that this would pass."""
    used = promised_to([customer.id])[customer.id]
    wanted = {"cpu_millis": more.cpu_millis, "memory_mb": more.memory_mb, "services": services}
    passed = [
        finding(
            f"customer.limits.{field.removesuffix('_millis')}",
            "customer-limit",
            f"the customer may have {_said(field, limit)}, has {_said(field, used[field])}, "
            f"and this would add {_said(field, wanted[field])}",
        )
        for field, limit in customer.limits.model_dump().items()
        if limit is not None and wanted[field] > 0 and used[field] + wanted[field] > limit
    ]
    if passed:
        raise ValidationFailed(passed[0]["message"], passed)


@contextmanager
def naming_the_limit(customer_id: str, more: Amount) -> Iterator[None]:
    """Have a limit that was reached meanwhile told as one that was reached before."""
    try:
        yield
    except OverLimit:
        hold_to_limits(adapters().customers.get(customer_id), more, 0)
        raise


def refuse_below_use(customer: Customer, limits: CustomerLimits) -> None:
    """Raise `ValidationFailed`, naming each limit that would be new and below what the customer has by now."""
    before = customer.limits.model_dump()
    changed = {field: limit for field, limit in limits.model_dump().items() if limit not in (None, before[field])}
    if not changed:
        return
    used = promised_to([customer.id])[customer.id]
    below = [
        finding(
            f"limits.{field.removesuffix('_millis')}",
            "below-use",
            f"the customer has {_said(field, used[field])} by now, which {_said(field, limit)} would not hold",
        )
        for field, limit in changed.items()
        if limit < used[field]
    ]
    if below:
        raise ValidationFailed(below[0]["message"], below)


def promised_to(customer_ids: list[str]) -> dict[str, dict[str, int]]:
    """What each customer has of its limits, by their names: the sums of its services, and how many they are."""
    promised = adapters().promises.of(customer_ids)
    return {
        customer_id: {field: amounts[field] for field in CustomerLimits.model_fields}
        for customer_id, amounts in promised.items()
    }


def capacity_view(host: Host) -> dict[str, Any]:
    """A host's capacity and what of it is reserved, as the API shows it; capacity is null before the first check."""
    capacity = capacity_of(host, _overcommit())
    promised = adapters().promises.of([host.id])[host.id]
    return {
        "capacity": {"cpu": capacity.cpu_millis / 1000, "memory_mb": capacity.memory_mb, "disk_mb": capacity.disk_mb}
        if capacity
        else None,
        "reserved": {
            "cpu": promised["cpu_millis"] / 1000,
            "memory_mb": promised["memory_mb"],
            "disk_mb": promised["disk_mb"],
            "services": promised["services"],
        },
    }


def _overcommit() -> Overcommit:
    settings = adapters().settings
    return Overcommit(settings.cpu_overcommit_percent, settings.memory_overcommit_percent)


def _said(field: str, amount: int) -> str:
    """An amount of a customer's limit, in the unit that callers give it in."""
    if field == "memory_mb":
        return f"{amount} MB of memory"
    count, noun = (amount / 1000, "core") if field == "cpu_millis" else (amount, "service")
    return f"{count:g} {noun}{'' if count == 1 else 's'}"

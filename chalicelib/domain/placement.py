"""Where a service goes: the host with the most memory left among those that it fits on, and why not the others.

What is compared is what was promised (the limits of the services on a host), not what is used at this instant: a
promise must hold when all use it at once. Cores may be promised several times over, memory and disk may not. To one
container nothing is promised that the machine does not have: Docker would not start it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from chalicelib.domain.errors import Conflict
from chalicelib.domain.panel import Host
from chalicelib.domain.reach import is_anothers
from chalicelib.domain.words import Noun


class Amount(Noun):
    """So much of a host: thousandths of a core, MiB of memory, MiB of disk."""

    cpu_millis: int = 0
    memory_mb: int = 0
    disk_mb: int = 0

    def plus(self, other: "Amount") -> "Amount":
        return Amount(
            cpu_millis=self.cpu_millis + other.cpu_millis,
            memory_mb=self.memory_mb + other.memory_mb,
            disk_mb=self.disk_mb + other.disk_mb,
        )

    def minus(self, other: "Amount") -> "Amount":
        return self.plus(Amount(cpu_millis=-other.cpu_millis, memory_mb=-other.memory_mb, disk_mb=-other.disk_mb))


@dataclass(frozen=True)
class Candidate:
    """A host as far as placing goes; `reserved` is what its services were promised."""

    host: Host
    reserved: Amount
    capacity: Amount | None


@dataclass(frozen=True)
class Overcommit:
    """How far cores may be promised, and how much memory the host keeps for itself, in percent."""

    cpu_percent: int
    memory_percent: int


def capacity_of(host: Host, overcommit: Overcommit) -> Amount | None:
    """What may be promised of a host; None before it was found to have any."""
    facts = host.facts
    if not {"cpus", "memory_mb", "disk_total_mb"} <= facts.keys():
        return None
    return Amount(
        cpu_millis=int(facts["cpus"]) * 10 * overcommit.cpu_percent,
        memory_mb=int(facts["memory_mb"]) * overcommit.memory_percent // 100,
        disk_mb=int(facts["disk_total_mb"]),
    )


@dataclass(frozen=True)
class Need:
    """What a service is to be promised: in all, and at most to one of its containers."""

    total: Amount
    largest: Amount


def choose(
    candidates: Sequence[Candidate], need: Need, selector: Mapping[str, str], host_id: str | None
) -> tuple[Candidate, str]:
    """The host and the reason. Raise `Conflict`, with what speaks against each host, if none fits."""
    against = {candidate.host.id: _against(candidate, need, selector, host_id) for candidate in candidates}
    fitting = [candidate for candidate in candidates if against[candidate.host.id] is None]
    if not fitting:
        reasons = [
            {"host_id": candidate.host.id, "name": candidate.host.name, "reason": against[candidate.host.id]}
            for candidate in candidates
            if host_id in (None, candidate.host.id)
        ]
        first = f": {reasons[0]['name']} {reasons[0]['reason']}" if len(reasons) == 1 else ""
        none = "there is no host; add one with POST /api/hosts"
        raise Conflict(f"no host can take this service{first}" if reasons else none, {"hosts": reasons})
    best = min(fitting, key=lambda candidate: (_filled(candidate, need.total), candidate.host.id))
    if host_id:
        return best, f"{best.host.name}, as asked for"
    if len(fitting) == 1:
        return best, f"{best.host.name}, the only host that it fits on"
    share = int(100 * _filled(best, need.total))
    return best, f"{best.host.name}: {share}% of its memory promised then, the least of {len(fitting)} that it fits on"


def too_small(host: Host, largest: Amount) -> str | None:
    """Why the machine cannot run a container of this size, in words that follow the host's name; None if it can."""
    cpu_millis, memory_mb = 1000 * int(host.facts.get("cpus", 0)), int(host.facts.get("memory_mb", 0))
    if cpu_millis and largest.cpu_millis > cpu_millis:
        return f"has {cpu_millis / 1000:g} cores, and one container is to have {largest.cpu_millis / 1000:g}"
    if memory_mb and largest.memory_mb > memory_mb:
        return f"has {memory_mb} MB of memory, and one container is to have {largest.memory_mb} MB"
    return None


def _against(candidate: Candidate, need: Need, selector: Mapping[str, str], host_id: str | None) -> str | None:
    """Why the service cannot go there, in words that follow the host's name; None if it can."""
    host, capacity = candidate.host, candidate.capacity
    if host_id and host.id != host_id:
        return "was not asked for"
    if capacity is None:
        return _unknown(host)
    # One that was asked for is tried, ready or not: the job then says what is the matter with it.
    if host.status != "ready" and not host_id:
        return _unready(host)
    if host.draining:
        return "is being drained"
    missing = [f"{name}={value}" for name, value in selector.items() if host.labels.get(name) != value]
    if missing:
        return f"lacks the label {', '.join(missing)}"
    if small := too_small(host, need.largest):
        return small
    total = candidate.reserved.plus(need.total)
    for what, wanted, there in (
        ("memory", total.memory_mb, capacity.memory_mb),
        ("disk", total.disk_mb, capacity.disk_mb),
    ):
        if wanted > there:
            return f"has not enough {what}: {wanted} MB would be promised of {there} MB"
    if total.cpu_millis > capacity.cpu_millis:
        return (
            f"has not enough cpu: {total.cpu_millis / 1000:g} cores would be promised of {capacity.cpu_millis / 1000:g}"
        )
    return None


def _unknown(host: Host) -> str:
    if is_anothers(host):
        return "is a host of another installation of Slipway"
    return "was never found in order: check it with POST /api/hosts/{id}/check"


def _unready(host: Host) -> str:
    lost = next((problem for problem in host.problems if "since" in problem), None)
    if lost:
        return f"is not ready: {lost['check']} since {lost['since']}; it is again once it is reached"
    return "is not ready: check it with POST /api/hosts/{id}/check"


def _filled(candidate: Candidate, need: Amount) -> Fraction:
    """The part of its memory that would be promised."""
    assert candidate.capacity  # else it does not fit
    return Fraction(candidate.reserved.plus(need).memory_mb, max(candidate.capacity.memory_mb, 1))

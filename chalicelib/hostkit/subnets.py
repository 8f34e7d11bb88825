"""One small network per service: a free /28 of the operator's pool, chosen so that no two commands choose the same.

A stock Docker has 31 networks to give; a /16 pool of /28s has 4,096. The pool is only used where neither another Docker
network nor a route of the host overlaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import engine
from .fence import whole_host
from .refusals import Refused

SIZE = 16  # addresses in a /28: room for 13 containers beside the gateway
ATTEMPTS = 5


def create(name: str, labels: dict[str, str], pool: str, internal: bool = False) -> None:
    """Create the network. Under one lock of the whole host, since the choice is only good until the next one."""
    with whole_host("subnets"):
        free = (subnet for subnet in free_subnets(pool, engine.get("/networks")))
        for _, subnet in zip(range(ATTEMPTS), free):  # noqa: B905 - python 3.9 has no `strict`
            if _created(name, subnet, labels, internal):
                return
    raise Refused(
        "HostNotReady", f"no free network is left in {pool}; remove unused networks or give the host another pool"
    )


def _created(name: str, subnet: str, labels: dict[str, str], internal: bool) -> bool:
    body = {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Internal": internal,
        "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
        "Labels": labels,
    }
    try:
        engine.post("/networks/create", body)
    except engine.EngineError as error:
        if "already exists" in error.message:
            return True
        if "verlaps" in error.message:  # an address range the listing does not show: take the next one
            return False
        raise
    return True


def count_free(pool: str, networks: Iterable[dict[str, Any]]) -> int:
    return sum(1 for _ in free_subnets(pool, networks))


def free_subnets(pool: str, networks: Iterable[dict[str, Any]]) -> Iterator[str]:
    first, last = span(pool)
    taken: set[int] = set()
    for low, high in [*_docker_spans(networks), *_route_spans()]:
        taken.update(range(max(low, first) // SIZE, min(high, last) // SIZE + 1))
    for block in range(first // SIZE, (last + 1) // SIZE):
        if block not in taken:
            yield f"{_dotted(block * SIZE)}/28"


def span(cidr: str) -> tuple[int, int]:
    address, _, bits = cidr.partition("/")
    size = 1 << (32 - int(bits or 32))
    first = _number(address) // size * size
    return first, first + size - 1


def _docker_spans(networks: Iterable[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or []:
            if "." in config.get("Subnet", ""):
                yield span(config["Subnet"])


def _route_spans() -> Iterator[tuple[int, int]]:
    with open("/proc/net/route", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            base, mask = (int.from_bytes(bytes.fromhex(fields[column]), "little") for column in (1, 7))
            if mask:  # the default route overlaps everything and means nothing
                yield base, base | (~mask & 0xFFFFFFFF)


def _number(address: str) -> int:
    value = 0
    for part in address.split("."):
        value = value * 256 + int(part)
    return value


def _dotted(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

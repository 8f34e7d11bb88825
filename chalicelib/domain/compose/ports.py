"""Ports: both ways of writing them, which one is routed, which ones are published on the host."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.domain.compose.findings import Verdict, under
from chalicelib.domain.compose.values import DROP, few, set_of, table, text, whole, wrong

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_SHORT = re.compile(
    r"(?:(?P<ip>\[[^\[\]/]*\]|[^\[\]:/]*):)??(?:(?P<published>[\d-]*):)?(?P<target>[\d-]+)(?:/(?P<protocol>\w+))?",
    re.ASCII,
)
_MOST_IN_RANGE = 100
_MOST_PORTS = 200
HIGHEST_PORT: Final = 65535

# Ports of databases, queues, mail and shells: published in many files, and never what a browser is routed to.
NOT_HTTP: Final = frozenset({
    21, 22, 23, 25, 53, 110, 111, 123, 139, 143, 161, 389, 445, 465, 514, 587, 636, 873, 993, 995, 1194, 1433, 1521,
    1883, 2049, 2181, 3306, 3389, 4222, 5222, 5432, 5433, 5671, 5672, 6379, 6380, 6432, 6667, 7000, 7687, 8883, 9042,
    9092, 9300, 11211, 25565, 26257, 27017, 27018, 27019, 33060, 51820,
})  # fmt: skip


@dataclass(frozen=True)
class Port:
    """A container's port as the file asks for it. `published` 0: on any free port of the host."""

    target: int
    protocol: str = "tcp"
    published: int = 0
    ip: str = ""
    path: str = ""

    @property
    def looks_http(self) -> bool:
        return self.protocol == "tcp" and self.target not in NOT_HTTP


def ports(value: Any, path: str, verdict: Verdict) -> Any:
    if not isinstance(value, list):
        return wrong(value, path, verdict, "a list of ports")
    found: list[Port] = []
    for index, item in enumerate(few(value, path, verdict, _MOST_PORTS)):
        at = under(path, index)
        found += _long(item, at, verdict) if isinstance(item, dict) else _short(item, at, verdict)
        if len(found) > _MOST_PORTS:
            break
    return few(found, path, verdict, _MOST_PORTS)


def exposed(value: Any, path: str, verdict: Verdict) -> Any:
    """`expose`: texts of a port or a range, with a protocol perhaps."""
    return set_of(_exposed_port)(value, path, verdict)


def exposed_ports(entries: list[str], path: str) -> list[Port]:
    """The single ports of a read `expose` list; a range counts by its first."""
    found = []
    for index, entry in enumerate(entries):
        number, _, protocol = entry.partition("/")
        found.append(Port(int(number.partition("-")[0]), protocol or "tcp", path=under(path, index)))
    return found


def _exposed_port(item: Any, path: str, verdict: Verdict) -> Any:
    written = str(item) if whole(item) is not None else item
    if not isinstance(written, str):
        return wrong(item, path, verdict, "a port")
    number, _, protocol = written.partition("/")
    if _span(number) is None or protocol not in ("", "tcp", "udp"):
        verdict.refuse(path, "port", "write a port from 1 to 65535, with /tcp or /udp perhaps")
        return DROP
    return written


def _short(item: Any, path: str, verdict: Verdict) -> list[Port]:
    written = str(item) if whole(item) is not None else item
    parts = _SHORT.fullmatch(written) if isinstance(written, str) else None
    if parts is None:
        verdict.refuse(path, "port", "write HOST:CONTAINER, such as 8080:80, or a container's port alone")
        return []
    return _expanded(
        parts["target"], parts["published"], parts["protocol"], (parts["ip"] or "").strip("[]"), path, verdict
    )


_LONG = table(
    dict.fromkeys(("target", "published"), lambda value, _path, _verdict: value)
    | dict.fromkeys(("protocol", "mode", "host_ip", "name", "app_protocol"), text)
)


def _long(item: dict[str, Any], path: str, verdict: Verdict) -> list[Port]:
    read: dict[str, Any] = _LONG(item, path, verdict)
    if read.get("mode", "ingress") not in ("ingress", "host"):
        verdict.refuse(under(path, "mode"), "port", "write ingress or host")
    published = read.get("published")
    return _expanded(
        str(read.get("target", "")),
        None if published is None else str(published),
        read.get("protocol"),
        read.get("host_ip", ""),
        path,
        verdict,
    )


def _expanded(
    target: str, published: str | None, protocol: str | None, ip: str, path: str, verdict: Verdict
) -> list[Port]:
    inside = _span(target)
    outside = _span(published, lowest=0) if published else None
    if (
        inside is None
        or (published and outside is None)
        or (protocol or "tcp") not in ("tcp", "udp")
        or not _address(ip)
    ):
        verdict.refuse(path, "port", "write ports from 1 to 65535, tcp or udp, and an IP address if any")
        return []
    if max(len(inside), len(outside or ())) > _MOST_IN_RANGE:
        verdict.refuse(path, "port", f"a range has at most {_MOST_IN_RANGE} ports")
        return []
    if outside is None or (len(inside) == 1 and len(outside) > 1):  # Docker takes any free port, or any of the range
        return [Port(port, protocol or "tcp", 0, ip, path) for port in inside]
    if len(outside) != len(inside):
        verdict.refuse(path, "port", "give both ranges the same length")
        return []
    return [Port(port, protocol or "tcp", at, ip, path) for port, at in zip(inside, outside, strict=True)]


def _span(written: str, lowest: int = 1) -> range | None:
    parts = _RANGE.fullmatch(written)
    if parts is None:
        return None
    first, last = int(parts[1]), int(parts[2] or parts[1])
    return range(first, last + 1) if lowest <= first <= last <= HIGHEST_PORT else None


def _address(ip: str) -> bool:
    if not ip:
        return True
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        return False
    return True

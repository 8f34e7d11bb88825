"""The verb `preflight`: can this host take the release now? It looks, and touches nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from . import edge_network, engine, places, subnets
from .refusals import Refused

LISTEN, UDP_BOUND = "0A", "07"
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def preflight(request: dict[str, Any]) -> dict[str, Any]:
    service = places.service_id(request["service"])
    try:
        networks = engine.get("/networks")
    except Refused as refusal:
        return {"disk_free_mb": None, "missing_images": [], "problems": [problem("docker", refusal.message)]}
    free_mb = disk()[1]
    trouble = edge_network.belongs_to_another(request["installation"])
    if trouble:
        return {"disk_free_mb": free_mb, "missing_images": [], "problems": [problem("other_installation", trouble)]}
    problems = [*_disk(free_mb, request["min_disk_mb"]), *_ports(service, request["ports"])]
    own = sum(1 for network in networks if (network.get("Labels") or {}).get("slipway.service") == service)
    more = max(0, int(request["networks"]) - own)
    if len(list(islice(subnets.free_subnets(request["pool"], networks), more))) < more:
        problems.append(problem("pool", f"{request['pool']} has no room for {more} more network(s)"))
    missing = [image for image in request.get("images", []) if engine.found(f"/images/{image}/json") is None]
    return {"disk_free_mb": free_mb, "missing_images": missing, "problems": problems}


def problem(check: str, message: str) -> dict[str, str]:
    return {"check": check, "message": message}


def disk() -> tuple[int, int]:
    """Megabytes in all and free where Docker keeps its data, as far as this user may see it."""
    root = data_root()
    while True:
        try:
            stat = os.statvfs(root)
        except OSError:  # its parent may be closed to us: the nearest folder we can see is the best guess
            root = os.path.dirname(root)
            continue
        return stat.f_blocks * stat.f_frsize >> 20, stat.f_bavail * stat.f_frsize >> 20


def data_root() -> str:
    """The engine's folder, as told by where it keeps the edge's files: for `/info` it starts programs (6 ms)."""
    edge = engine.found(f"/containers/{edge_network.CONTAINER}/json") or {}
    root, file_of_edge, _ = edge.get("ResolvConfPath", "").partition(f"/containers/{edge.get('Id')}/")
    return str(root if root and file_of_edge else engine.get("/info")["DockerRootDir"])


def _disk(free_mb: int, least_mb: int) -> list[dict[str, str]]:
    if free_mb >= least_mb:
        return []
    return [problem("disk", f"{free_mb} MB free where Docker keeps its data, {least_mb} MB needed")]


def _ports(service: str, wanted: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    if not wanted:
        return
    own, others = _container_ports(service)
    taken = [(*key, _holder(name)) for key, name in others.items()]
    taken += [(*key, "by a program on the host") for key in _listening() if not _held(key, own)]
    for port in wanted:
        ip, number, protocol = port.get("ip") or "", int(port["port"]), port.get("protocol") or "tcp"
        holder = next((by for *key, by in taken if _clash((protocol, ip, number), key)), None)
        if holder:
            yield problem("ports", f"host port {number}/{protocol} is already taken {holder}")


def _holder(container: str) -> str:
    """Customers read this: what another one's service is called is not for them."""
    return "by another service" if container.startswith("svc_") else f"by container {container}"


def _held(key: tuple[str, str, int], own: set[tuple[str, str, int]]) -> bool:
    """A port this service's own containers publish is listened on by Docker for them; the new release takes it over."""
    return any(_clash(key, published) for published in own)


def _clash(one: Any, other: Any) -> bool:
    same = one[0] == other[0] and one[2] == other[2]
    return same and (one[1] == other[1] or one[1] in EVERYWHERE or other[1] in EVERYWHERE)


def _container_ports(service: str) -> tuple[set[tuple[str, str, int]], dict[tuple[str, str, int], str]]:
    own, others = set(), {}
    for row in engine.get("/containers/json"):
        for port in row.get("Ports") or []:
            if "PublicPort" not in port:
                continue
            key = (port["Type"], port.get("IP", ""), port["PublicPort"])
            if (row.get("Labels") or {}).get("slipway.service") == service:
                own.add(key)
            else:
                others[key] = row["Names"][0].lstrip("/")
    return own, others


def _listening() -> Iterator[tuple[str, str, int]]:
    for table, wanted in (("tcp", LISTEN), ("tcp6", LISTEN), ("udp", UDP_BOUND), ("udp6", UDP_BOUND)):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as rows:
                lines = list(rows)[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == wanted:
                yield table[:3], dotted(address), int(port, 16)


def dotted(text: str) -> str:
    raw = bytes.fromhex(text)
    if len(raw) == 4:  # noqa: PLR2004 - bytes of an IPv4 address
        return ".".join(str(byte) for byte in reversed(raw))
    if not any(raw):
        return "::"
    mapped = raw[8:12] == b"\0\0\xff\xff" or raw[8:12] == b"\xff\xff\0\0"
    return ".".join(str(byte) for byte in reversed(raw[12:])) if mapped else text

"""The verb `listening`: on which addresses and ports the service's containers really listen.

Asked when a release does not answer: mostly it listens on another port, or on 127.0.0.1, where nobody else reaches it.
The kernel tells it of any process to any user, in that process's own network; no program in the image is needed.
"""

from __future__ import annotations

from typing import Any

from . import engine, places
from .preflight import LISTEN, dotted

DOCKERS_OWN = "127.0.0.11"  # the resolver that Docker puts into every container


def listening(request: dict[str, Any]) -> dict[str, Any]:
    """By compose service: `[{ip, port}]`; null where it could not be seen."""
    service = places.service_id(request["service"])
    rows = engine.get("/containers/json", filters={"label": [f"slipway.service={service}"]})
    found: dict[str, Any] = {}
    for row in rows:
        name = row["Labels"].get("com.docker.compose.service") or row["Id"]
        detail = engine.found(f"/containers/{row['Id']}/json")
        seen = _sockets(detail["State"]["Pid"]) if detail and detail["State"]["Pid"] else None
        found[name] = seen if found.get(name) is None else found[name] + (seen or [])
    return {"listening": found}


def _sockets(pid: int) -> list[dict[str, Any]] | None:
    sockets: dict[tuple[str, int], None] = {}
    readable = False
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as rows:
                lines = list(rows)[1:]
        except OSError:  # a kernel without IPv6, one that hides others' processes, or a process that has just ended
            continue
        readable = True
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == LISTEN and _readable(address) != DOCKERS_OWN:
                sockets[_readable(address), int(port, 16)] = None
    return [{"ip": ip, "port": port} for ip, port in sorted(sockets)] if readable else None


def _readable(address: str) -> str:
    return "::1" if address == "00000000000000000000000001000000" else dotted(address)

"""The verbs `route` and `unroute`: which host names lead to a service.

A route names an alias on the service's own network, so a redeploy changes no route; it is written only when something
differs, since every load of Caddy's configuration closes idle connections.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from . import caddy, edge_network, places
from .fence import fenced, whole_host
from .refusals import Refused

ANSWER_S = 6.0
NOT_YET = (502, 503, 504)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def route(request: dict[str, Any]) -> dict[str, Any]:
    """Lead the hosts to the service, then ask as a visitor would until the service itself answers."""
    service = places.service_id(request["service"])
    hosts = sorted(host_name(host) for host in request["hosts"])
    upstream = {name: request["upstream"][name] for name in ("network", "alias", "port")}
    with fenced(service, request["fence"]), whole_host("edge"):
        edge_network.connect(upstream["network"])
        _take_from_others(service, hosts)
        _write(service, {"hosts": hosts, "upstream": upstream})
        changed = caddy.load()
    return {"changed": changed, "answers": _answered(hosts[0], (request.get("check") or {}).get("path", "/"))}


def unroute(request: dict[str, Any]) -> dict[str, Any]:
    service = places.service_id(request["service"])
    with fenced(service, request["fence"]):
        return {"changed": withdraw(service)}


def withdraw(service: str) -> bool:
    """Without a fence of its own, for the verb that holds one."""
    path = f"{places.ROUTES}/{service}.json"
    with whole_host("edge"):
        if not os.path.exists(path):
            return False
        os.unlink(path)
        caddy.load()
    return True


def host_name(text: Any) -> str:
    if not isinstance(text, str) or not _HOST_NAME.fullmatch(text):
        raise Refused("CommandFailed", f"hosts: {text!r} is not a lowercase host name")
    return text


def _take_from_others(service: str, hosts: list[str]) -> None:
    for other, known in caddy.routes().items():
        left = [host for host in known["hosts"] if host not in hosts]
        if other == service or left == known["hosts"]:
            continue
        if left:
            _write(other, {**known, "hosts": left})
        else:
            os.unlink(f"{places.ROUTES}/{other}.json")


def _write(service: str, wanted: dict[str, Any]) -> None:
    path = f"{places.ROUTES}/{service}.json"
    if places.read_json(path) != wanted:
        places.write(path, json.dumps(wanted))


def _answered(host: str, path: str) -> int | None:
    deadline = time.monotonic() + ANSWER_S
    while True:
        left = deadline - time.monotonic()
        status = caddy.status_through(host, path, max(0.1, left))
        if (status is not None and status not in NOT_YET) or left <= 0:
            return status
        time.sleep(0.05)

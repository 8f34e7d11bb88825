"""The verb `inventory`: every service that this host holds something of, by its labels, files and routes, and whose
host it is.

What is left of a service that nobody knows any more is found by it. Things without our label are never looked at.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any

from . import edge_network, engine, places
from .together import together

LABEL = "slipway.service"
_SERVICE_ID = re.compile(r"svc_[a-z0-9]{16}")


def inventory(_request: dict[str, Any]) -> dict[str, Any]:
    labelled = {"label": [LABEL]}
    installation, containers, volumes, networks = together(
        edge_network.installation,
        partial(engine.get, "/containers/json", all=1, filters=labelled),
        partial(engine.get, "/volumes", filters=labelled),
        partial(engine.get, "/networks", filters=labelled),
    )
    found: dict[str, dict[str, list[str]]] = {}
    for kind, rows, name in (
        ("containers", containers, "Id"),
        ("volumes", volumes["Volumes"] or [], "Name"),
        ("networks", networks, "Name"),
    ):
        for row in rows:
            _note(found, row["Labels"][LABEL], kind, row[name])
    for service in _names(places.SERVICES, ""):
        _note(found, service, "files", f"{places.SERVICES}/{service}")
    for service in _names(places.ROUTES, ".json"):
        _note(found, service, "routes", f"{places.ROUTES}/{service}.json")
    return {"services": found, "installation": installation}


def _names(folder: str, ending: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    kept = [name[: len(name) - len(ending)] for name in names if name.endswith(ending)]
    return [name for name in kept if _SERVICE_ID.fullmatch(name)]


def _note(found: dict[str, dict[str, list[str]]], service: str, kind: str, what: str) -> None:
    if _SERVICE_ID.fullmatch(service):  # a label like ours that we never gave is not ours
        found.setdefault(service, {}).setdefault(kind, []).append(what)

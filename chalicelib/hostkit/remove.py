"""The verb `remove`: nothing of the service is left on the host, and the answer is what a second look saw.

It needs no compose file and may be repeated. The service's lock file stays, a few bytes, so that a command of an older
job that arrives now is still refused.
"""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from typing import Any

from . import built, edge_network, engine, jobs, places, routes
from .fence import fenced, refuse_stale
from .together import together

GONE_S = 20.0
SETTLED_S = 5.0
IN_USE = "has active endpoints"  # a network whose container the engine is just starting


def remove(request: dict[str, Any]) -> dict[str, Any]:
    service = places.service_id(request["service"])
    refuse_stale(service, request["fence"])
    for folder in jobs.of_service(service):
        jobs.end(folder)  # before the lock: a job still at work holds it
    with fenced(service, request["fence"]):
        routes.withdraw(service)
        _clear_engine(service)
        built.remove_all(service)
        for folder in _files(service):
            shutil.rmtree(folder, ignore_errors=True)  # what could not be deleted is in the answer
        return {"left": _left(service)}


def _clear_engine(service: str) -> None:
    """Again while something is left for a moment: what Compose asked for before it was ended, the engine may yet do."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        together(*(partial(_remove_container, name) for name in _containers(service)))
        together(
            *(partial(_remove_network, name) for name in _networks(service)),
            *(partial(_remove, f"/volumes/{name}") for name in _volumes(service)),
        )
        if not (_containers(service) or _networks(service) or _volumes(service)) or time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _left(service: str) -> dict[str, Any]:
    return {
        "containers": _containers(service),
        "volumes": _volumes(service),
        "networks": _networks(service),
        "images": built.references(service),
        "files": _files(service),
        "route": os.path.exists(f"{places.ROUTES}/{service}.json"),
    }


def _containers(service: str) -> list[str]:
    return _labelled(service, lambda filters: engine.get("/containers/json", all=1, filters=filters), "Id")


def _networks(service: str) -> list[str]:
    return _labelled(service, lambda filters: engine.get("/networks", filters=filters), "Id")


def _volumes(service: str) -> list[str]:
    return _labelled(service, lambda filters: engine.get("/volumes", filters=filters)["Volumes"] or [], "Name")


def _labelled(service: str, listing: Any, key: str) -> list[str]:
    """By our label, and by Compose's: an anonymous volume or a one-off container carries only one of them."""
    labels = (f"slipway.service={service}", f"com.docker.compose.project={service}")
    return sorted({row[key] for label in labels for row in listing({"label": [label]})})


def _files(service: str) -> list[str]:
    folders = [places.service_folder(service), *jobs.of_service(service)]
    return [folder for folder in folders if os.path.exists(folder)]


def _remove_container(container: str) -> None:
    deadline = time.monotonic() + GONE_S
    while not _remove(f"/containers/{container}", force=1, v=1) and time.monotonic() < deadline:
        time.sleep(0.1)  # "removal in progress": somebody else began it


def _remove_network(network: str) -> None:
    detail = engine.found(f"/networks/{network}")
    for container in (detail or {}).get("Containers") or {}:
        edge_network.disconnect(network, container)
    _remove(f"/networks/{network}")


def _remove(path: str, **query: Any) -> bool:
    try:
        engine.delete(path, **query)
    except engine.EngineError as error:
        if error.status == engine.CONFLICT or IN_USE in error.message:  # or being removed: the second look will tell
            return False
        if error.status != engine.NOT_FOUND:
            raise
    return True

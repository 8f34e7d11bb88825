"""The verb `upload`: a release's files and networks are on the host, and what Compose makes of them is known.

Nothing runs yet. Networks, Compose's own reading and the look for images go at once: each waits for something else.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from . import compose, edge_network, engine, places, subnets, volumes
from .fence import fenced
from .refusals import Refused
from .resolved import resolved
from .together import together

CONFIG_TIMEOUT_S = 15


def upload(request: dict[str, Any]) -> dict[str, Any]:
    service = places.service_id(request["service"])
    path = places.compose_file(service, request["release"])
    if any(network.get("edge") for network in request["networks"]):
        edge_network.expect()
    with fenced(service, request["fence"]):
        places.write(path, request["compose"])
        networks = partial(_ready_networks, service, request["networks"], request["pool"])
        ask = partial(_asked, service, path)
        reading = partial(resolved, service, request["compose"], compose.identity(), ask)
        lost = partial(volumes.missing, service, json.loads(request["compose"]))
        answer, images, missing, _ = together(reading, partial(_images, request["images"]), lost, networks)
    return {
        "resolved": answer,
        "missing_images": [reference for reference, image in images.items() if image is None],
        # An image without a digest came from no registry, so there is no newer one to be had.
        "built_here": [reference for reference, image in images.items() if image and not image.get("RepoDigests")],
        "missing_volumes": missing,
        "images": {reference: image and image["Id"] for reference, image in images.items()},
    }


def _asked(service: str, path: str) -> Any:
    code, output, errors = compose.run(
        [*compose.project(service, path), "config", "--format", "json"], CONFIG_TIMEOUT_S
    )
    if code != 0:
        raise Refused("CommandFailed", f"compose config: {errors.strip()[-2000:]}")
    return json.loads(output)


def _images(references: list[str]) -> dict[str, dict[str, Any] | None]:
    inspected = together(*(partial(engine.found, f"/images/{reference}/json") for reference in references))
    return dict(zip(references, inspected))  # noqa: B905


def _ready_networks(service: str, wanted: list[dict[str, Any]], pool: str) -> None:
    existing = {network["Name"]: network for network in engine.get("/networks")}
    together(*(partial(_ready, service, network, existing.get(network["name"]), pool) for network in wanted))


def _ready(service: str, wanted: dict[str, Any], existing: dict[str, Any] | None, pool: str) -> None:
    name, edge = wanted["name"], bool(wanted.get("edge"))
    if existing is None:
        labels = {"slipway.service": service, **({"slipway.edge": "1"} if edge else {})}
        subnets.create(name, labels, pool, internal=bool(wanted.get("internal")))
    elif (existing.get("Labels") or {}).get("slipway.service") != service:
        raise Refused("HostNotReady", f"network {name} exists on the host and is not this service's")

"""The verb `edge`: one Caddy per host, in a container of its own, is there and runs as asked.

It runs as the SSH user without privileges, its administration answers on a unix socket in a folder only that user can
enter, and it is plugged into one small network per service, so tenants never share one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from functools import partial
from typing import Any

from . import caddy, edge_network, engine, places, subnets
from .fence import whole_host
from .pull import pull
from .refusals import Refused
from .together import together

STARTED_S = 10.0
DEFAULT_POOL = "10.201.0.0/16"


def edge(request: dict[str, Any]) -> dict[str, Any]:
    asked = {name: request.get(name) for name in ("image", "http_port", "https_port", "tls", "email")}
    edge_network.expect_ours(request["installation"])
    image = _image(request["image"])  # before the lock: a pull may take minutes, and routes need it
    with whole_host("edge"):
        edge_network.expect_ours(request["installation"])  # another may have come while the image was pulled
        for folder in (places.ROUTES, places.EDGE + "/run", places.EDGE + "/data"):
            os.makedirs(folder, exist_ok=True)
        places.write(caddy.SETTINGS, json.dumps(asked))
        caddy.write()
        created = _running(_body(asked, image, request["installation"]), request.get("pool") or DEFAULT_POOL)
        _plugged_in()
        _answering()
        caddy.load(force=created)
    return {"state": "running", "created": created}


def _image(reference: str) -> str:
    lines: list[str] = []
    image = engine.found(f"/images/{reference}/json")
    if image is None and pull(reference, None, lines.append):
        image = engine.found(f"/images/{reference}/json")
    if image is None:
        raise Refused(
            "HostNotReady", f"the edge's image {reference} is not on the host and could not be pulled: {lines[-1]}"
        )
    return str(image["Id"])


def _running(body: dict[str, Any], pool: str) -> bool:
    """Whether the container had to be made."""
    there = engine.found(f"/containers/{edge_network.CONTAINER}/json")
    if there and there["Config"]["Labels"].get("slipway.edge.spec") == body["Labels"]["slipway.edge.spec"]:
        if not there["State"]["Running"]:
            _start()
        return False
    if there:
        engine.delete(f"/containers/{edge_network.CONTAINER}", force=1)
    if engine.found(f"/networks/{edge_network.NETWORK}") is None:
        subnets.create(edge_network.NETWORK, {"slipway.edge": "1"}, pool)
    engine.post("/containers/create", body, name=edge_network.CONTAINER)
    _start()
    return True


def _start() -> None:
    try:
        engine.post(f"/containers/{edge_network.CONTAINER}/start")
    except engine.EngineError as error:
        raise Refused("HostNotReady", f"the edge proxy cannot start: {error.message}") from error


def _body(asked: dict[str, Any], image: str, installation: str) -> dict[str, Any]:
    ports = {"80/tcp": asked["http_port"], "443/tcp": asked["https_port"]}
    published = {inside: [{"HostPort": str(outside)}] for inside, outside in ports.items() if outside}
    body: dict[str, Any] = {
        "Image": asked["image"],
        "Entrypoint": [],
        "Cmd": ["caddy", "run", "--config", caddy.INSIDE + "/caddy.json"],
        "User": f"{os.getuid()}:{os.getgid()}",
        "Env": [
            f"HOME={caddy.INSIDE}/data",
            f"XDG_DATA_HOME={caddy.INSIDE}/data",
            f"XDG_CONFIG_HOME={caddy.INSIDE}/data",
        ],
        "ExposedPorts": {inside: {} for inside in published},
        "HostConfig": {
            "Binds": [f"{os.path.abspath(places.EDGE)}:{caddy.INSIDE}"],
            "PortBindings": published,
            "NetworkMode": edge_network.NETWORK,
            # An engine that was killed takes the containers it finds running for stopped by hand, and leaves them so.
            "RestartPolicy": {"Name": "always"},
            # The public image's binary carries this one capability and could not start without it.
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_BIND_SERVICE"],
            "SecurityOpt": ["no-new-privileges"],
            "Sysctls": _sysctls(),
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }
    spec = hashlib.sha256(json.dumps([body, image, installation], sort_keys=True).encode()).hexdigest()[:16]
    labels = {"slipway.edge": "1", "slipway.edge.spec": spec, edge_network.INSTALLATION: installation}
    return {**body, "Labels": labels}


def _sysctls() -> dict[str, str]:
    wanted = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if os.path.exists("/proc/sys/net/ipv4/tcp_migrate_req"):
        # Caddy changes its listeners on every change of a route; without this the kernel resets what waits on the old.
        wanted["net.ipv4.tcp_migrate_req"] = "1"
    return wanted


def _plugged_in() -> None:
    networks = engine.get("/networks", filters={"label": ["slipway.service", "slipway.edge=1"]})
    together(*(partial(edge_network.connect, network["Name"]) for network in networks))


def _answering() -> None:
    deadline = time.monotonic() + STARTED_S
    while not caddy.answers():
        if time.monotonic() > deadline:
            raise Refused("HostNotReady", "the edge proxy started and does not answer; see `docker logs slipway-edge`")
        time.sleep(0.02)

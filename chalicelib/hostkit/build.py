"""Building a release's images from its repository, by the engine's own builder, under limits.

The Dockerfile's text comes with the request: it was judged, and every stage of it labelled with its service. The
builder begins from layers it has, and only finds those with that label, so that one customer's build never begins from
another's. Closing the connection ends the build.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

from . import built, context, engine, places
from .fence import fenced
from .preflight import disk
from .pull import pull
from .refusals import Refused

LOCK_WAIT_S = 60.0
IDLE_S = 3600  # a step may be silent for as long as the whole build may take
PERIOD_US = 100_000
OWN_DOCKERFILE = ".slipway.Dockerfile"

Say = Callable[[str], None]


def build(folder: str, request: dict[str, Any], say: Say) -> int:
    """Each of `builds` in turn; the images' ids are the job's result."""
    service = places.service_id(request["service"])
    with fenced(service, request["fence"], LOCK_WAIT_S):
        _make_room(request["min_disk_mb"], say)
        for reference in request.get("pull", []):
            if not pull(reference, request.get("registry_auth"), say):
                return 1
        images = {}
        for wanted in request["builds"]:
            image = _one(folder, service, wanted, request, say)
            if image is None:
                return 1
            images[wanted["service"]] = image
    places.write(folder + "/result.json", json.dumps({"images": images}))
    return 0


def _make_room(least_mb: int, say: Say) -> None:
    """What was kept to make later builds quick goes first when the disk is nearly full."""
    if disk()[1] < 2 * least_mb:
        say("the disk is nearly full: removing layers kept for later builds")
        built.prune({"label": ["slipway.service"]})
    free = disk()[1]
    if free < least_mb:
        raise Refused("HostNotReady", f"{free} MB free where Docker keeps its data, {least_mb} MB needed")


def _one(folder: str, service: str, wanted: dict[str, Any], request: dict[str, Any], say: Say) -> str | None:
    root = places.source_folder(service)
    inside = _inside(root, wanted["context"])
    dockerfile = wanted["dockerfile"] or OWN_DOCKERFILE
    path = folder + "/context.tar"
    try:
        with open(path, "w+b") as tar:
            ignore = {context.IGNORE: wanted["ignore"]} if wanted["ignore"] else {}
            context.write(inside, root, {dockerfile: wanted["text"], **ignore}, tar)
            tar.flush()
            tar.seek(0)
            query = _query(wanted, dockerfile, request["limits"])
            headers = _credentials(request.get("registry_auth") or {})
            with engine.Stream(
                "POST", f"/v{engine.api()}/build", None, query, headers, timeout=IDLE_S, tar=tar
            ) as stream:
                return _told(stream, wanted["service"] if len(request["builds"]) > 1 else "", say)
    except engine.EngineError as error:
        say(f"error: {error.message}")
        return None
    finally:
        os.unlink(path)


def _inside(root: str, name: str) -> str:
    folder, home = os.path.realpath(f"{root}/{name}"), os.path.realpath(root)
    if folder != home and not folder.startswith(home + os.sep):
        raise Refused("RepositoryRefused", f"the build's folder {name} leads out of the repository")
    if not os.path.isdir(folder):
        raise Refused("BuildFailed", f"the repository has no folder {name}")
    return folder


def _query(wanted: dict[str, Any], dockerfile: str, limits: dict[str, int]) -> dict[str, Any]:
    memory = limits["memory_mb"] << 20
    return {
        "dockerfile": dockerfile,
        "t": wanted["tag"],
        "labels": wanted["labels"],
        "buildargs": wanted["args"],
        **({"target": wanted["target"]} if wanted["target"] else {}),
        "rm": 1,
        "forcerm": 1,
        "memory": memory,
        "memswap": memory,
        "cpuperiod": PERIOD_US,
        "cpuquota": limits["cpu_millis"] * PERIOD_US // 1000,
    }


def _credentials(logins: dict[str, Any]) -> dict[str, str]:
    if not logins:
        return {}
    return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(logins).encode()).decode()}


def _told(stream: engine.Stream, name: str, say: Say) -> str | None:
    """The image's id; None where the build failed, which its last line then says."""
    image = None
    for line in stream.lines():
        event = json.loads(line)
        if "error" in event:
            say(f"error: {event['error'].strip()}")
            return None
        image = (event.get("aux") or {}).get("ID") or image
        for text in event.get("stream", "").splitlines():
            if text.strip():
                say(f"{name}: {text}" if name else text)
    return image

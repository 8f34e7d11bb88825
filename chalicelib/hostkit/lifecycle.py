"""The verb `lifecycle`: start, stop or restart what a release left, in the order Compose knows, and look."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from . import compose, engine, places, volumes
from .fence import fenced
from .observe import observe
from .refusals import Refused

GRACE_S = 15.0
LONGEST_S = 75.0


def lifecycle(request: dict[str, Any]) -> dict[str, Any]:
    service = places.service_id(request["service"])
    path = places.compose_file(service, request["release"])
    text = places.read(path)
    if text is None:
        message = (
            f"release {request['release']} of {service} is not on this host; redeploy it: that puts its files there"
        )
        raise Refused("CommandFailed", message)
    with fenced(service, request["fence"]):
        grace = request.get("timeout_s")
        project = json.loads(text)
        words = _words(request["action"], _incomplete(service, project), grace)
        # What has its containers has its volumes: the engine lets nobody remove one that is in use.
        made = volumes.missing(service, project) if words[0] == "up" else []
        limit = LONGEST_S if grace is None else grace + GRACE_S
        code, _, errors = compose.run([*compose.project(service, path), *words], limit)
    if code != 0:
        raise Refused("CommandFailed", f"compose {words[0]}: {errors.strip()[-2000:]}", {"rc": code})
    seen: dict[str, Any] = observe({"services": [service], "storage": False})["services"][service]
    return {**seen, "made_volumes": made}


def _words(action: str, incomplete: bool, grace_s: int | None) -> list[str]:
    """Without `grace_s` each container has the time to stop that its author gave it, or Docker's ten seconds."""
    grace = [] if grace_s is None else ["--timeout", str(int(grace_s))]
    if action == "stop":
        return ["stop", *grace]
    if incomplete:  # `start` only knows containers that are there
        return ["up", "--detach", "--no-build", "--pull", "never"]
    return {"start": ["start"], "restart": ["restart", *grace]}[action]


def _incomplete(service: str, project: dict[str, Any]) -> bool:
    rows = engine.get("/containers/json", all=1, filters={"label": [f"com.docker.compose.project={service}"]})
    there = Counter(row["Labels"].get("com.docker.compose.service") for row in rows)
    return any(there[name] < one.get("deploy", {}).get("replicas", 1) for name, one in project["services"].items())

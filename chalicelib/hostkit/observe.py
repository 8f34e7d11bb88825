"""The verb `observe`: what really runs. It changes nothing."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from . import clock, edge_network, engine, places, plain_http
from .measure import measured
from .together import together

NEVER = "0001-01-01T00:00:00Z"
PROBE_S = 2.0
GOOD = (200, 400)  # as a deploy judges a health check


def observe(request: dict[str, Any]) -> dict[str, Any]:
    """Each service asked for, with its containers; an unknown one has none.

    With an `installation`, whether the edge runs and is that one's.
    """
    services = [places.service_id(service) for service in request["services"]]
    sizes, probes = bool(request.get("storage")), request.get("probe") or {}
    listed = _listed(services)
    details = dict(together(*(partial(_inspected, row["Id"], sizes) for row in listed)))
    present = [detail for detail in details.values() if detail]  # one may have gone since the listing
    images, used = _digests({detail["Image"] for detail in present}), measured(present, request.get("window_ms") or 0)
    volumes = _volume_sizes() if sizes else {}
    of = {name: [detail for detail in present if _service(detail) == name] for name in services}
    probed = dict(together(*(partial(_probed, name, of[name], probes[name]) for name in services if name in probes)))
    answer = {
        name: {
            "containers": [_container(detail, images, used.get(detail["Id"]) or {}) for detail in of[name]],
            "storage_mb": _storage(of[name], volumes) if sizes else None,
            "probe": probed.get(name),
        }
        for name in services
    }
    ours = request.get("installation")
    return {"at": clock.now(), "services": answer, "edge_serves": edge_network.serves(ours) if ours else None}


def _service(detail: dict[str, Any]) -> str:
    return str(detail["Config"]["Labels"]["slipway.service"])


def _listed(services: list[str]) -> list[dict[str, Any]]:
    label = f"slipway.service={services[0]}" if len(services) == 1 else "slipway.service"
    rows = engine.get("/containers/json", all=1, filters={"label": [label]})
    return [row for row in rows if row["Labels"]["slipway.service"] in services]


def _inspected(container: str, sizes: bool) -> tuple[str, dict[str, Any] | None]:
    return container, engine.found(f"/containers/{container}/json", **({"size": 1} if sizes else {}))


def _digests(images: set[str]) -> dict[str, list[str]]:
    ordered = sorted(images)
    inspected = together(*(partial(engine.found, f"/images/{image}/json") for image in ordered))
    return {image: (found or {}).get("RepoDigests") or [] for image, found in zip(ordered, inspected)}  # noqa: B905


def _container(detail: dict[str, Any], images: dict[str, list[str]], used: dict[str, Any]) -> dict[str, Any]:
    state, config, limits = detail["State"], detail["Config"], detail["HostConfig"]
    cpu, memory = used.get("cpu"), used.get("memory")
    return {
        "id": detail["Id"],
        "name": detail["Name"].lstrip("/"),
        "service": config["Labels"].get("com.docker.compose.service"),
        "release": config["Labels"].get("slipway.release"),
        "state": state["Status"],
        "health": (state.get("Health") or {}).get("Status", "none"),
        "exit_code": state["ExitCode"],
        "oom_killed": state["OOMKilled"],
        "restart_count": detail["RestartCount"],
        "started_at": _time(state["StartedAt"]),
        "up_s": _up_s(state),
        "finished_at": _time(state["FinishedAt"]),
        "image": config["Image"],
        "image_id": detail["Image"],
        "digests": images.get(detail["Image"], []),
        "restart_policy": limits["RestartPolicy"]["Name"] or "no",
        "ips": {
            name: end["IPAddress"] for name, end in detail["NetworkSettings"]["Networks"].items() if end["IPAddress"]
        },
        "cpu_usage": None if cpu is None else round(cpu, 4),
        "cpu_limit": _cpu_limit(limits),
        "memory_usage_mb": None if memory is None else round(memory / (1 << 20), 1),
        "memory_limit_mb": limits["Memory"] // (1 << 20) or None,
    }


def _cpu_limit(limits: dict[str, Any]) -> float | None:
    if limits.get("NanoCpus"):
        return float(limits["NanoCpus"]) / 10**9
    if limits.get("CpuQuota", 0) > 0:
        return float(limits["CpuQuota"]) / (limits.get("CpuPeriod") or 100_000)
    return None


def _up_s(state: dict[str, Any]) -> float | None:
    """By the host's own clock, which another machine's may be far from."""
    if not state["Running"] or state["Restarting"]:
        return None
    return round(time.time() - clock.nanoseconds(state["StartedAt"]) / 10**9, 1)


def _time(text: str) -> str | None:
    return None if text == NEVER else text


def _volume_sizes() -> dict[str, int | None]:
    """Only the engine may look into its volumes. Engines before API 1.42 count images too, which takes them longer."""
    usage = engine.request("GET", "/system/df", query={"type": "volume"}, timeout=120)
    sizes = {}
    for volume in usage.get("Volumes") or []:
        size = (volume.get("UsageData") or {}).get("Size", -1)
        sizes[volume["Name"]] = size if size >= 0 else None
    return sizes


def _storage(containers: list[dict[str, Any]], volumes: dict[str, int | None]) -> int | None:
    mounted = {mount["Name"] for detail in containers for mount in detail["Mounts"] if mount["Type"] == "volume"}
    parts = [*(detail.get("SizeRw") for detail in containers), *(volumes.get(name) for name in mounted)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None  # a sum with an unknown part would be a number nobody measured
    return -(-sum(known) // (1 << 20))


def _probed(name: str, containers: list[dict[str, Any]], probe: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return name, _probe(containers, probe)


def _probe(containers: list[dict[str, Any]], probe: dict[str, Any]) -> dict[str, Any]:
    running = [
        detail
        for detail in containers
        if detail["State"]["Running"]
        and detail["Config"]["Labels"].get("com.docker.compose.service") == probe["service"]
    ]
    if not running:
        return {"ok": False, "message": f"{probe['service']} is not running"}
    ends = running[0]["NetworkSettings"]["Networks"].values()
    address = next((end["IPAddress"] for end in ends if end["IPAddress"]), None)
    if address is None:
        return {"ok": False, "message": f"{probe['service']} has no address"}
    path, port = probe.get("path"), int(probe["port"])
    if path is None:  # no request that the app would see and count: its author asked for none
        listens = plain_http.listens((address, port), PROBE_S)
        return {"ok": listens, "message": f"nothing listens on port {port} of {probe['service']}"}
    status = plain_http.status((address, port), path, f"{address}:{port}", PROBE_S)
    if status is None:
        return {"ok": False, "message": f"nothing answers HTTP on port {port} of {probe['service']}"}
    return {
        "ok": GOOD[0] <= status < GOOD[1],
        "message": f"GET {path} on port {port} of {probe['service']} answered {status}",
    }

"""The verb `check`: what this host is, and what it lacks. What is missing is a problem in the answer, not an error."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from . import compose, edge_network, engine, subnets
from .preflight import disk, problem
from .refusals import Refused
from .version import version

OLDEST_API = (1, 41)  # Docker 20.10
OLDEST_PYTHON = (3, 9)


def check(request: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "kit_version": version(),
        "python": "{}.{}.{}".format(*sys.version_info),
        "arch": os.uname().machine,
        "cpus": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "pool": request["pool"],
        **dict.fromkeys(
            ("docker", "api", "engine_id", "hostname", "compose", "disk_total_mb", "disk_free_mb", "pool_free")
        ),
        "problems": [],
    }
    if sys.version_info < OLDEST_PYTHON:
        answer["problems"].append(problem("python", f"python3 is {answer['python']}; 3.9 or newer is needed"))
    _docker(answer, request)
    _compose(answer)
    return answer


def _docker(answer: dict[str, Any], request: dict[str, Any]) -> None:
    problems = answer["problems"]
    try:
        known = engine.get("/version")
    except Refused as refusal:
        problems.append(problem("docker", refusal.message))
        return
    answer["docker"], answer["api"] = known["Version"], known["ApiVersion"]
    if tuple(int(part) for part in known["ApiVersion"].split(".")) < OLDEST_API:
        problems.append(problem("docker", f"Docker is {known['Version']}; 20.10 or newer is needed"))
    trouble = edge_network.belongs_to_another(request["installation"])
    if trouble:
        problems.append(problem("other_installation", trouble))
    info = engine.get("/info")
    answer["engine_id"], answer["hostname"] = info["ID"] or None, info["Name"]
    answer["disk_total_mb"], answer["disk_free_mb"] = disk()
    if answer["disk_free_mb"] < request["min_disk_mb"]:
        least = request["min_disk_mb"]
        problems.append(
            problem("disk", f"{answer['disk_free_mb']} MB free where Docker keeps its data, {least} MB needed")
        )
    answer["pool_free"] = subnets.count_free(request["pool"], engine.get("/networks"))
    if not answer["pool_free"]:
        problems.append(problem("pool", f"every /28 of {request['pool']} is in use on this host; give it another pool"))


def _compose(answer: dict[str, Any]) -> None:
    if compose.binary() is None:
        found = (
            "only the old docker-compose was found"
            if shutil.which("docker-compose")
            else "Docker Compose v2 was not found"
        )
        answer["problems"].append(problem("compose", f"{found}; install the docker-compose-plugin package"))
        return
    try:
        code, output, _ = compose.run(["version", "--short"], 10)
    except (Refused, OSError) as error:
        answer["problems"].append(problem("compose", f"Docker Compose cannot run: {error}"))
        return
    answer["compose"] = output.strip().lstrip("v") or None
    if code != 0 or answer["compose"] is None or int(answer["compose"].partition(".")[0]) < 2:  # noqa: PLR2004
        answer["problems"].append(
            problem("compose", "Docker Compose v2 is needed; install the docker-compose-plugin package")
        )

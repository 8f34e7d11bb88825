"""The verbs `start`, `job` and `cancel`: long work that outlives the connection that began it.

A job is a folder named after it, so starting it twice starts it once. In it: `start` (what was asked), `pid` (process
and its start time, against reused numbers), `log`, and at the end `rc`, written whole. A process that is gone without
an `rc` is `lost`: the machine went down or somebody killed it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any

from . import clock, places, processes
from .fence import refuse_stale
from .refusals import Refused

POLL_S = 0.015
TERM_S = 5.0
TAIL_BYTES = 1 << 16


def start(request: dict[str, Any]) -> dict[str, Any]:
    """Begin the job if nobody did, then wait inside for its end, up to `wait_s`."""
    places.service_id(request["service"])
    folder = _folder(request)
    refuse_stale(request["service"], request["fence"])
    if not _taken(folder):
        return job(request)
    asked = {name: request[name] for name in ("service", "fence", "kind", "release")}
    places.write(folder + "/start", json.dumps({**asked, "at": time.time()}))
    from . import runner  # noqa: PLC0415 - only who begins a job pays for what it takes

    ended = runner.detach(folder, request)
    select.select([ended], [], [], request.get("wait_s", 0))
    os.close(ended)
    return _answer(folder, request)


def job(request: dict[str, Any]) -> dict[str, Any]:
    folder = _folder(request)
    deadline = time.monotonic() + request.get("wait_s", 0)
    while state(folder) == "running" and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return _answer(folder, request)


def cancel(request: dict[str, Any]) -> dict[str, Any]:
    """TERM to everything the job started, KILL after five seconds; a lost job's leftovers too."""
    folder = _folder(request)
    end(folder)
    return _answer(folder, request)


def end(folder: str) -> None:
    if state(folder) in ("none", "done"):
        return
    _signal(folder, signal.SIGTERM)
    deadline = time.monotonic() + TERM_S
    while _alive(folder) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    _signal(folder, signal.SIGKILL)
    deadline = time.monotonic() + TERM_S
    while any(_processes(folder)) and time.monotonic() < deadline:  # the lock is free when the last of them is gone
        time.sleep(POLL_S)
    if places.read(folder + "/rc") is None:
        places.write(folder + "/rc", str(128 + signal.SIGKILL))


def state(folder: str) -> str:
    if not os.path.isdir(folder):
        return "none"
    if os.path.exists(folder + "/rc"):
        return "done"
    if _alive(folder):
        return "running"
    return "done" if os.path.exists(folder + "/rc") else "lost"  # it may have ended between the two looks


def of_service(service: str) -> list[str]:
    """The folders of the jobs that were started for this service."""
    return [folder for folder in folders() if (places.read_json(folder + "/start") or {}).get("service") == service]


def folders() -> list[str]:
    names = os.listdir(places.JOBS) if os.path.isdir(places.JOBS) else []
    return [f"{places.JOBS}/{name}" for name in names]


def _folder(request: dict[str, Any]) -> str:
    return f"{places.JOBS}/{places.job_name(request['job'])}"


def _taken(folder: str) -> bool:
    os.makedirs(places.JOBS, exist_ok=True)
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    return True


def _alive(folder: str) -> bool:
    written = places.read(folder + "/pid")
    if written is None:
        return time.time() - os.stat(folder).st_mtime < TERM_S  # between its folder and its first line
    pid, started = written.split()
    return processes.started(int(pid)) == started


def _signal(folder: str, number: int) -> None:
    for pid in _processes(folder):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _processes(folder: str) -> Iterator[int]:
    # By what they hold open rather than by number alone: the group's number may be another's by now.
    return processes.writing_to(os.path.abspath(folder + "/log"))


def _answer(folder: str, request: dict[str, Any]) -> dict[str, Any]:
    refusal = places.read_json(folder + "/refusal")
    if refusal is not None:
        raise Refused(**refusal)
    now = state(folder)
    code = places.read(folder + "/rc")
    asked = places.read_json(folder + "/start") or {}
    output, is_whole = _tail(folder + "/log", request.get("tail_lines", 50) if now == "running" else None)
    return {
        "state": now,
        "rc": None if code is None else int(code),
        "output": output,
        "truncated": not is_whole,
        "started_at": clock.rfc3339(asked["at"]) if asked else None,
        "ended_at": clock.rfc3339(os.stat(folder + "/rc").st_mtime) if now == "done" else None,
    }


def _tail(path: str, lines: int | None) -> tuple[str, bool]:
    """The last lines, or all that is not too much; and whether that is everything."""
    try:
        with open(path, "rb") as log:
            size = os.fstat(log.fileno()).st_size
            log.seek(max(0, size - TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "", True
    if lines is None:
        return text, size <= TAIL_BYTES
    found = text.splitlines()
    return "\n".join(found[-lines:]), size <= TAIL_BYTES and len(found) <= lines

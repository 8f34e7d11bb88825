"""The process behind a job: its own session, its output in the job's log, its exit code in `rc`.

`up` holds the service's lock from before Compose starts until Compose has ended; Compose inherits the lock, so even a
runner that was killed does not let a second command in beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from . import compose, edge_network, engine, jobs, places, processes
from .fence import fenced
from .prune import prune, prune_is_due
from .pull import pull
from .refusals import Refused

LOCK_WAIT_S = 60.0
TERM_S = 5.0
TIMED_OUT = 124


class Ended(Exception):
    pass


class TooLong(Exception):
    pass


def detach(folder: str, request: dict[str, Any]) -> int:
    """Start the runner. The descriptor returned is readable once it has ended."""
    ended, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        try:
            _become(folder, {"up": _up, "pull": _pull, "fetch": _fetch, "build": _build}[request["kind"]], request)
            os.close(held)  # whoever waits for the job need not wait for the broom
            _tidy()
        finally:
            os._exit(0)
    os.close(held)
    return ended


def _become(folder: str, work: Callable[[str, dict[str, Any]], int], request: dict[str, Any]) -> None:
    os.setsid()
    _own_output(os.path.abspath(folder + "/log"))
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    places.write(folder + "/pid", f"{os.getpid()} {processes.started(os.getpid())}")
    code = 1
    try:
        code = work(folder, request)
    except Refused as refusal:
        places.write(folder + "/refusal", json.dumps(refusal.as_json()))
        code = 3
    except Ended:
        code = 128 + signal.SIGTERM
    except BaseException:  # a fault of the kit, and nobody above to hear of it: its traceback goes into the job's log
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    places.write(folder + "/rc", str(code))


def _tidy() -> None:
    if prune_is_due():
        prune({folder for folder in jobs.folders() if jobs.state(folder) == "running"})


def _own_output(log: str) -> None:
    """Hold nothing of the connection: one inherited descriptor would keep its channel open."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(output)


def _end(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Ended


def _up(folder: str, request: dict[str, Any]) -> int:
    service = places.service_id(request["service"])
    files = [places.compose_file(service, request["release"])]
    if not os.path.exists(files[0]):
        raise Refused("CommandFailed", f"release {request['release']} of {service} is not on this host")
    pinned = _pinned(places.read_json(files[0]), request.get("images") or {})
    if pinned:
        files.append(os.path.abspath(folder + "/images.json"))
        places.write(files[1], json.dumps({"services": pinned}))
    words = ["up", "--detach", "--remove-orphans", "--no-build", "--pull", "never"]
    with fenced(service, request["fence"], LOCK_WAIT_S) as lock:
        child = compose.began([*compose.project(service, *files), *words], keep=(lock,))
        _plug_in(service)  # meanwhile: it takes the engine 40 ms that nobody then waits for
        return _waited(child, request.get("timeout_s", 600))


def _pinned(project: dict[str, Any], images: dict[str, str]) -> dict[str, Any]:
    """Image ids for the services whose tag means another image by now. Where it does not, the tag stays: Compose would
    replace a container whose image is only written otherwise."""
    moved = {}
    for name, image in images.items():
        tagged = (
            engine.found(f"/images/{project['services'][name]['image']}/json") if name in project["services"] else None
        )
        if tagged is None or tagged["Id"] != image:
            moved[name] = {"image": image}
    return moved


def _plug_in(service: str) -> None:
    try:
        edge_network.connect_service(service)
    except Refused as refusal:  # routing needs it, and routing will say so
        _say(f"edge: {refusal.message}")


def _pull(_: str, request: dict[str, Any]) -> int:
    for reference in request["pull"]:
        if not pull(reference, request.get("registry_auth"), _say):
            return 1
    return 0


def _fetch(folder: str, request: dict[str, Any]) -> int:
    from .fetch import fetch  # noqa: PLC0415 - only repositories need it

    return fetch(folder, request, _say)


def _build(folder: str, request: dict[str, Any]) -> int:
    from .build import build  # noqa: PLC0415 - as above

    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
    try:
        return build(folder, request, _say)
    except TooLong:
        _say(f"the build did not end within {request['timeout_s']:.0f} s")
        return TIMED_OUT
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _waited(child: subprocess.Popen[bytes], timeout: float) -> int:
    # By an alarm: `wait(timeout)` looks again and again, at last every 50 ms, and a deploy waits for it.
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        return child.wait()
    except TooLong:
        _say(f"not finished after {timeout:.0f} s: ended")
        child.terminate()
        return TIMED_OUT
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _buried(child)


def _too_long(*_: object) -> NoReturn:
    raise TooLong


def _buried(child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TERM_S
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()


def _say(line: str) -> None:
    os.write(1, (line + "\n").encode())

"""The verb `agent`: keep the agent running on this host, or end it, or say how it is.

Where the user's systemd may run things while nobody is logged in, it is a unit of that; elsewhere a supervisor of our
own, in a session of its own. Either way one agent at a time works: it holds a lock as long as it lives.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from . import places, processes
from .refusals import Refused

FOLDER = places.HOME + "/agent"
PROGRAM = FOLDER + "/agent.pyz"
CONFIG = FOLDER + "/config.json"
MADE_OF = FOLDER + "/running"  # the program and configuration that the agent at work was started with
PID = FOLDER + "/pid"
UNIT = "slipway-agent.service"
UNIT_FILE = ".config/systemd/user/" + UNIT
UNIT_TEXT = """[Unit]
Description=Slipway's agent: logs and figures of this host's services

[Service]
ExecStart={python} -I -S %h/{program} run
Restart=always
RestartSec=2
StandardOutput=null

[Install]
WantedBy=default.target
"""
STARTS_S, ENDS_S = 10.0, 8.0
COMMAND_S = 15.0
POLL_S = 0.05


def agent(request: dict[str, Any]) -> dict[str, Any]:
    action = {"ensure": _ensure, "stop": _stop, "status": _nothing}.get(str(request.get("action")))
    if action is None:
        raise Refused("CommandFailed", "agent: the action is ensure, stop or status")
    os.makedirs(FOLDER, exist_ok=True)
    with _alone():
        action()
    return _status()


def _ensure() -> None:
    wanted = _made_of()
    if wanted is None:
        raise Refused("CommandFailed", "agent: its program and its configuration are not on this host yet")
    systemd = _systemd_keeps_it()
    if _works() and places.read(MADE_OF) == wanted and _supervisor() == ("systemd" if systemd else "process"):
        return
    _stop()
    places.write(MADE_OF, wanted)
    if systemd:
        _start_unit()
    else:
        _start_supervisor()
    _until(_works, STARTS_S)


def _stop() -> None:
    if os.path.exists(UNIT_FILE) and _systemctl("disable", "--now", UNIT):
        os.unlink(UNIT_FILE)
    pid = _supervisor_pid()
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not _until(lambda: _supervisor_pid() is None, ENDS_S):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # its agent notices, and ends too
    _until(lambda: not _works(), ENDS_S)
    for name in (PID, MADE_OF):
        with suppress(FileNotFoundError):
            os.unlink(name)


def _nothing() -> None:
    """`status` changes nothing."""


def _status() -> dict[str, Any]:
    config = places.read_json(CONFIG) or {}
    secret = str(config.get("token", "")).rpartition("_")[2]
    return {
        "running": _works(),
        "supervisor": _supervisor(),
        "version": _version(),
        "sha256": _hash(PROGRAM),
        "url": config.get("url"),
        "websocket_url": config.get("websocket_url"),
        "token_id": hashlib.sha256(secret.encode()).hexdigest()[:8] if secret else None,
    }


def _supervisor() -> str | None:
    if _supervisor_pid() is not None:
        return "process"
    return "systemd" if os.path.exists(UNIT_FILE) else None


def _version() -> str | None:
    import zipfile  # noqa: PLC0415 - no other verb needs it

    try:
        with zipfile.ZipFile(PROGRAM) as program:
            return program.read("hostkit/agent/VERSION").decode()
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def _made_of() -> str | None:
    parts = [_hash(PROGRAM), _hash(CONFIG)]
    return " ".join(part for part in parts if part) if all(parts) else None


def _hash(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return None


def _works() -> bool:
    """Whether an agent holds its lock."""
    descriptor = os.open(FOLDER + "/run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _supervisor_pid() -> int | None:
    """Of our own supervisor, if it lives."""
    pid, _, started = (places.read(PID) or "").partition(" ")
    return int(pid) if pid.isdigit() and processes.started(int(pid)) == started else None


def _start_supervisor() -> None:
    subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-I", "-S", os.path.abspath(PROGRAM), "supervise"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _systemd_keeps_it() -> bool:
    """Whether this user's systemd answers, and goes on when the user has logged out."""
    if shutil.which("systemctl") is None or not os.path.isdir("/run/systemd/system"):
        return False
    os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    if not _systemctl("show-environment"):
        return False
    return _lingers() or (_run("loginctl", "enable-linger") and _lingers())


def _lingers() -> bool:
    import pwd  # noqa: PLC0415 - no other verb needs it

    return os.path.exists("/var/lib/systemd/linger/" + pwd.getpwuid(os.getuid()).pw_name)


def _start_unit() -> None:
    places.write(UNIT_FILE, UNIT_TEXT.format(python=sys.executable, program=PROGRAM))
    for words in (("daemon-reload",), ("enable", UNIT), ("restart", UNIT)):
        if not _systemctl(*words):
            raise Refused("CommandFailed", f"agent: systemctl --user {' '.join(words)} failed")


def _systemctl(*words: str) -> bool:
    return _run("systemctl", "--user", *words)


def _run(*words: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _until(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


@contextmanager
def _alone() -> Iterator[None]:
    """Two checks of one host at once would start two supervisors."""
    descriptor = os.open(FOLDER + "/ensure.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""`up`: the whole of Slipway in one process, until it is told to stop.

The order is the dependencies' own: the machine (Docker, sshd) first, because the app's settings name its ports; then
AWS; then the public port; then what a new panel needs. It ends in the reverse order, and everything that must survive
is on disk long before.
"""

import fcntl
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import Any

from chalicelib.settings import Settings
from infra.local.cloud import Cloud
from infra.local.front import Front
from infra.local.gateway import Gateway
from infra.local.machine import Machine, MachineError

log = logging.getLogger("slipway.local")

_LOG_BYTES = 10_000_000
_REQUESTS_PER_MINUTE = "60000"


class RunnerError(Exception):
    """Why it cannot run here, in one line."""


@dataclass(frozen=True)
class Options:
    port: int
    state: Path
    ready_file: Path | None
    with_host: bool = True


def up(options: Options) -> None:
    """Serve until SIGINT or SIGTERM. Raise `RunnerError` or `MachineError` if that cannot begin."""
    _stop_on_signals()
    _check_environment()
    with ExitStack() as running:
        running.enter_context(_state(options.state))
        _log_to(options.state / "slipway.log")
        listener = running.enter_context(_listener(options.port))
        api = f"http://127.0.0.1:{listener.getsockname()[1]}"
        machine = running.enter_context(Machine.up(options.state / "machine")) if options.with_host else None
        cloud = Cloud(options.state, {**_limits(), **(_settings(machine) if machine else {})})
        running.callback(cloud.close)
        running.enter_context(Front(listener, Gateway(cloud.app, cloud.config)))
        ready = _ready(api, machine, options.state)
        cloud.start_clock()
        running.enter_context(_ready_file(options.ready_file, ready))
        _say(ready, options.state)
        threading.Event().wait()


def _ready(api: str, machine: Machine | None, state: Path) -> dict[str, str | None]:
    # Both need the environment that Cloud has set.
    from chalicelib.deploy.upkeep import resume_unfinished  # noqa: PLC0415
    from infra.local import bootstrap  # noqa: PLC0415

    bootstrap.warm_up()
    resumed = resume_unfinished()
    if resumed:
        log.info("%s unfinished jobs go on", resumed)
    try:
        panel = bootstrap.run(api, machine, state / "admin-token")
    except bootstrap.BootstrapError as error:
        raise RunnerError(str(error)) from error
    for problem in panel.problems:
        print(f"slipway: this machine cannot take services yet: {problem}", file=sys.stderr)
    return {
        "api": api,
        "websocket": api.replace("http://", "ws://", 1),
        "token": panel.token,
        "host_id": panel.host_id,
        "customer_id": panel.customer_id,
    }


def _limits() -> dict[str, str]:
    """Callers of one machine's loopback are its user's own; the limit only ends what runs away."""
    return {"SLIPWAY_REQUESTS_PER_MINUTE": os.environ.get("SLIPWAY_REQUESTS_PER_MINUTE", _REQUESTS_PER_MINUTE)}


def _settings(machine: Machine) -> dict[str, str]:
    """What the machine decides, and what the user may have decided already."""
    return {
        "SLIPWAY_BASE_DOMAIN": os.environ.get("SLIPWAY_BASE_DOMAIN", "localhost"),
        # The host is this machine, so a repository served here is as near as one from outside.
        "SLIPWAY_GIT_ALLOWED_NETWORKS": os.environ.get("SLIPWAY_GIT_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128"),
        "SLIPWAY_URL_SCHEME": os.environ.get("SLIPWAY_URL_SCHEME", "http"),
        "SLIPWAY_URL_PORT": str(machine.edge_http_port),
        "SLIPWAY_EDGE_HTTP_PORT": str(machine.edge_http_port),
        "SLIPWAY_EDGE_IMAGE": machine.edge_image,
        "SLIPWAY_NETWORK_POOL": machine.pool,
    }


def _check_environment() -> None:
    """Before anything is made, as it would only be found out later."""
    try:
        Settings.from_environment()
    except ValueError as error:
        raise RunnerError(str(error)) from error


@contextmanager
def _state(folder: Path) -> Iterator[None]:
    """The state folder, ours alone while we run."""
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise RunnerError(f"cannot keep state in {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RunnerError(f"{folder} is in use by another runner, process {lock.read().strip()}") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as error:
        raise RunnerError(f"cannot listen on port {port}: {os.strerror(error.errno or 0)}") from error
    with listener:
        yield listener


@contextmanager
def _ready_file(file: Path | None, ready: dict[str, str | None]) -> Iterator[None]:
    if file is None:
        yield
        return
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(ready))
        fresh.replace(file)
    except OSError as error:
        raise RunnerError(f"cannot write {file}: {error.strerror}") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _stop_on_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        raise SystemExit(0)

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)


def _log_to(file: Path) -> None:
    """Everything into a file; only what is wrong onto the terminal."""
    handlers: list[tuple[logging.Handler, int]] = [
        (RotatingFileHandler(file, maxBytes=_LOG_BYTES, backupCount=2), logging.INFO),
        (logging.StreamHandler(), logging.CRITICAL),
    ]
    for handler, level in handlers:
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("slipway").setLevel(logging.INFO)


def _say(ready: dict[str, str | None], state: Path) -> None:
    print(
        f"Slipway answers at {ready['api']} (state and log in {state}; Ctrl-C ends it)\n"
        f"Admin token: {ready['token']}\n\n"
        f"{_first_call(ready)}\n",
        flush=True,
    )


def _first_call(ready: dict[str, str | None]) -> str:
    """A line to paste: a deploy, or the registration of a first host."""
    if ready["host_id"]:
        what, path = "Deploy something:", "services"
        wanted: dict[str, Any] = {
            "name": "hello",
            "customer_id": ready["customer_id"],
            "deploy_method": "template",
            "template_id": "demo",
        }
    else:
        what, path = "Add a Docker host; the answer's public_key goes into its user's authorized_keys:", "hosts"
        wanted = {"name": "first", "address": "docker.example.com", "user": "deploy", "trust_on_first_use": True}
    return (
        f"{what}\n\ncurl -X POST {ready['api']}/api/{path} -H 'Authorization: Bearer {ready['token']}' "
        f"-H 'Content-Type: application/json' -d '{json.dumps(wanted)}'"
    )


def main(options: Options) -> int:
    if sys.platform != "linux":
        print("slipway: the one-machine runner needs Linux: it makes this machine a Docker host", file=sys.stderr)
        return 1
    try:
        up(options)
    except (RunnerError, MachineError) as error:
        print(f"slipway: {error}", file=sys.stderr)
        return 1
    return 0

"""`up`: the whole of Slipway in one process, until it is told to stop.

The order is the dependencies' own: the machine (Docker, sshd) first, because the app's settings name its ports; then
AWS; then the public port; then what a new panel needs. It ends in the reverse order, and everything that must survive
is on disk long before.
"""

import fcntl
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import Any

from chalicelib.settings import Settings
from infra.local.cloud import Cloud
from infra.local.front import Front
from infra.local.gateway import Gateway
from infra.local.machine import Machine, MachineError
from infra.local.page import Site
from infra.local.sockets import Limits

log = logging.getLogger("slipway.local")

_LOG_BYTES = 10_000_000
_PRIVATE = 0o600
_REQUESTS_PER_MINUTE = "60000"
_AGENT_PACE_MS = "20"
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  only where it is asked for


class RunnerError(Exception):
    """Why it cannot run here, in one line."""


@dataclass(frozen=True)
class Options:
    port: int
    state: Path
    ready_file: Path | None
    with_host: bool = True
    addresses: tuple[str, ...] = ("127.0.0.1",)


def up(options: Options) -> None:
    """Serve until SIGINT or SIGTERM. Raise `RunnerError` or `MachineError` if that cannot begin."""
    _stop_on_signals()
    limits = _check_environment()
    with ExitStack() as running:
        running.enter_context(_state(options.state))
        _log_to(options.state / "slipway.log")
        listeners = running.enter_context(_listeners(options.addresses, options.port))
        port = listeners[0].getsockname()[1]
        api = f"http://{options.addresses[0].replace(_EVERY_ADDRESS, '127.0.0.1')}:{port}"
        machine = running.enter_context(Machine.up(options.state / "machine")) if options.with_host else None
        settings = {**_limits(), **urls(options.addresses, port), **(_settings(machine) if machine else {})}
        cloud = Cloud(options.state, settings, limits)
        running.callback(cloud.close)
        running.enter_context(Front(listeners, Site(Gateway(cloud.app, cloud.config)), cloud.sockets))
        ready = _ready(api, machine, options.state)
        _settle()
        cloud.start_clock()
        running.enter_context(_ready_file(options.ready_file, ready))
        _say(ready, options.state)
        threading.Event().wait()


def urls(addresses: Sequence[str], port: int) -> dict[str, str]:
    """By which others reach us: by the first address that is not this machine's alone."""
    known = (_own_address() if address == _EVERY_ADDRESS else address for address in addresses)
    others = [address for address in known if not ipaddress.ip_address(address).is_loopback]
    place = f"{(others or ['127.0.0.1'])[0]}:{port}"
    return {
        "SLIPWAY_PUBLIC_URL": os.environ.get("SLIPWAY_PUBLIC_URL", f"http://{place}"),
        "SLIPWAY_WEBSOCKET_URL": os.environ.get("SLIPWAY_WEBSOCKET_URL", f"ws://{place}"),
    }


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


def _settle() -> None:
    """What is loaded by now stays: looking through all of it for garbage again and again would hold everyone up."""
    gc.collect()
    gc.freeze()


def _limits() -> dict[str, str]:
    """Callers of one machine are its user's own; the limit only ends what runs away. Batches cost nothing."""
    ours = {"SLIPWAY_REQUESTS_PER_MINUTE": _REQUESTS_PER_MINUTE, "SLIPWAY_AGENT_PACE_MS": _AGENT_PACE_MS}
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def _own_address() -> str:
    """The address this machine shows to others; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:  # no network at all
            return "127.0.0.1"
        return str(asking.getsockname()[0])


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


def _check_environment() -> Limits:
    """Before anything is made, as it would only be found out later."""
    try:
        Settings.from_environment()
        return Limits.from_environment()
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
def _listeners(addresses: Sequence[str], port: int) -> Iterator[list[socket.socket]]:
    """One an address, all on one port; where any port will do, the one the first gets."""
    with ExitStack() as opened:
        listeners: list[socket.socket] = []
        for address in addresses:
            try:
                listener = opened.enter_context(socket.create_server((address, port), backlog=1024))
            except OSError as error:
                where = f"port {port}" if address == "127.0.0.1" else f"{address} port {port}"
                raise RunnerError(f"cannot listen on {where}: {os.strerror(error.errno or 0)}") from error
            port = listener.getsockname()[1]
            listeners.append(listener)
        yield listeners


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


class _PrivateLog(RotatingFileHandler):
    """Readable by its owner alone, as all of the state is; one from before is made so."""

    def _open(self) -> TextIOWrapper:
        file = open(self.baseFilename, "ab", opener=_for_its_owner)  # noqa: SIM115
        os.fchmod(file.fileno(), _PRIVATE)
        return TextIOWrapper(file, encoding=self.encoding)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE)


def _log_to(file: Path) -> None:
    """Everything into a file; only what is wrong onto the terminal."""
    handlers: list[tuple[logging.Handler, int]] = [
        (_PrivateLog(file, maxBytes=_LOG_BYTES, backupCount=2), logging.INFO),
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
        f"Slipway answers at {ready['api']}, live logs in a browser too (state and log in {state}; Ctrl-C ends it)\n"
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

"""This machine as a Docker host of its own Slipway: an engine, an sshd on loopback, and the images nobody has to pull.

Nothing here is special to Slipway: the control plane reaches this machine over SSH exactly as it would any other host,
with a pinned key and as an ordinary user. Keys, ports and the address pool are chosen once and kept in the state
folder, so that a host registered yesterday still answers today.
"""

import ipaddress
import json
import logging
import os
import secrets
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local import engine, images, installations, login, sshd
from infra.local.daemon import Daemon, MachineError
from infra.local.engine import Engine
from infra.local.login import Login

__all__ = ["Machine", "MachineError"]

_log = logging.getLogger("slipway.machine")
_ADDRESS = "127.0.0.1"
_PUBLIC_EDGE = "caddy:2"
_EDGE_PORTS = range(8080, 8180)
_POOLS = tuple(f"10.{second}.0.0/16" for second in range(201, 251))
_PULL_SECONDS = 120


@dataclass(frozen=True)
class Machine:
    """The machine, ready to be registered as a host; `close` ends what `up` started and nothing else."""

    address: str
    port: int
    user: str
    private_key: str
    host_key: str
    docker_host: str
    edge_image: str
    demo_image: str
    edge_http_port: int
    pool: str
    started: ExitStack

    @classmethod
    def up(cls, state_dir: Path) -> "Machine":
        """Start what is missing; one line of MachineError if this machine cannot be a host."""
        if os.uname().sysname != "Linux":
            raise MachineError("Docker hosts are Linux machines: run Slipway in a Linux virtual machine")
        state_dir.mkdir(parents=True, exist_ok=True)
        kept = _Kept.load(state_dir / "machine.json")
        with ExitStack() as starting:
            run_dir, who = _login(kept, state_dir, starting)
            docker = _docker(who, state_dir, run_dir, starting)
            edge, demo = _edge_image(docker), _made(images.DEMO, docker)
            _listen(kept, who, docker, run_dir, starting)
            return cls(
                address=_ADDRESS,
                port=kept.ssh_port,
                user=who.user,
                private_key=kept.private_key,
                host_key=kept.host_key,
                docker_host=f"unix://{docker.socket}",
                edge_image=edge,
                demo_image=demo,
                edge_http_port=kept.edge_http_port,
                pool=kept.pool,
                started=starting.pop_all(),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End sshd, the engine if it is ours, and the account, in that order."""
        self.started.close()


@dataclass
class _Kept:
    """What is chosen once and must not change under a registered host."""

    file: Path
    installation: str
    private_key: str
    public_key: str
    host_private_key: str
    host_key: str
    ssh_port: int
    edge_http_port: int
    pool: str

    @classmethod
    def load(cls, file: Path) -> "_Kept":
        if file.exists():
            return cls(file=file, **json.loads(file.read_text()))
        private_key, public_key = sshd.new_key()
        host_private_key, host_key = sshd.new_key()
        kept = cls(
            file=file,
            installation=secrets.token_hex(3),
            private_key=private_key,
            public_key=public_key,
            host_private_key=host_private_key,
            host_key=host_key,
            ssh_port=_free_port(),
            edge_http_port=_edge_port(),
            pool=_free_pool(),
        )
        kept.save()
        return kept

    def save(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.touch(mode=0o600)
        kept = {name: value for name, value in vars(self).items() if name != "file"}
        fresh.write_text(json.dumps(kept, indent=2))
        fresh.replace(self.file)


def _login(kept: _Kept, state_dir: Path, started: ExitStack) -> tuple[Path, Login]:
    """Who logs in, and where the sockets and pid files of this run are."""
    if os.geteuid() != 0:
        run_dir = state_dir.resolve() / "run"
        run_dir.mkdir(mode=0o755, exist_ok=True)
        return run_dir, login.ourselves()
    installations.sweep()
    installations.note(kept.installation, kept.file)
    started.callback(installations.close, kept.installation)
    started.callback(login.remove, kept.installation)
    who = login.make(kept.installation, installations.home(kept.installation, state_dir))
    return installations.run_dir(kept.installation), who


def _docker(who: Login, state_dir: Path, run_dir: Path, started: ExitStack) -> Engine:
    docker = engine.running()
    if docker is None and who.ours:
        docker = engine.start(who, state_dir, run_dir)
        started.callback(engine.stop, docker, state_dir, run_dir)
        _log.info("started a Docker engine of our own: DOCKER_HOST=unix://%s", docker.socket)
    if docker is None:
        raise MachineError(
            f"no Docker that {who.user} may use was found: start Docker and let {who.user} use it "
            f"(usermod -aG docker {who.user}), or run this as root"
        )
    if docker.daemon is None:
        login.join(who, docker.socket.stat().st_gid)
    return docker


def _edge_image(docker: Engine) -> str:
    """The public image where it is or can be had; else one made of this machine's own Caddy."""
    engine.found("docker")
    if images.present(_PUBLIC_EDGE, docker.words):
        return _PUBLIC_EDGE
    made_before = images.present(images.EDGE.reference, docker.words)
    if not made_before and _pulled(_PUBLIC_EDGE, docker):
        return _PUBLIC_EDGE
    return _made(images.EDGE, docker)


def _made(recipe: images.Recipe, docker: Engine) -> str:
    try:
        images.ensure(recipe, docker.words)
    except images.ImageError as error:
        raise MachineError(f"the image {recipe.reference} cannot be made here: {error.message}") from error
    return recipe.reference


def _pulled(reference: str, docker: Engine) -> bool:
    pulling = [*docker.words, "pull", "--quiet", reference]
    try:
        return subprocess.run(pulling, capture_output=True, check=False, timeout=_PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _listen(kept: _Kept, who: Login, docker: Engine, run_dir: Path, started: ExitStack) -> None:
    """An sshd for this one user, on loopback."""
    key_file, config_file = run_dir / "host_key", run_dir / "sshd_config"
    words = (engine.found("sshd"), "-D", "-e", "-f", str(config_file))
    listening = Daemon(words, {"PATH": engine.PATH}, run_dir=run_dir, log_dir=kept.file.parent)
    listening.end_left_over()
    _keep_port(kept)
    key_file.touch(mode=0o600)
    key_file.write_text(kept.host_private_key)
    extra = (*_whom_to_trust(kept, who, run_dir), f"SetEnv DOCKER_HOST=unix://{docker.socket}")
    config_file.write_text(
        sshd.config(address=_ADDRESS, port=kept.ssh_port, user=who.user, host_key_file=str(key_file), extra=extra)
    )
    started.callback(login.end_processes, who)
    started.callback(listening.stop)
    listening.start(lambda: _greets(kept.ssh_port))


def _whom_to_trust(kept: _Kept, who: Login, run_dir: Path) -> tuple[str, ...]:
    if who.ours:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd as root insists on it
        return (f"AuthorizedKeysFile {login.trust(who, kept.public_key)}",)
    keys = run_dir / "authorized_keys"
    keys.write_text(f"{kept.public_key}\n")
    # a person's own folders may be group-writable; whoever runs this as themselves trusts them
    return (f"AuthorizedKeysFile {keys}", "StrictModes no")


def _keep_port(kept: _Kept) -> None:
    if not _is_free(kept.ssh_port, _ADDRESS):
        _log.warning("port %s for sshd was taken by another program; another is used from now on", kept.ssh_port)
        kept.ssh_port = _free_port()
        kept.save()


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((_ADDRESS, port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _is_free(port: int, address: str) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind((_ADDRESS, 0))
        port: int = trial.getsockname()[1]
        return port


def _edge_port() -> int:
    for port in _EDGE_PORTS:
        if _is_free(port, ""):
            return port
    raise MachineError(f"no port from {_EDGE_PORTS.start} to {_EDGE_PORTS.stop - 1} is free for the services' web port")


def _free_pool() -> str:
    """Addresses for the services' networks that lead nowhere else on this machine."""
    listed = subprocess.run([engine.found("ip"), "-json", "-4", "route"], capture_output=True, text=True, check=False)
    named = [route["dst"] for route in json.loads(listed.stdout or "[]") if route.get("dst", "default") != "default"]
    taken = [ipaddress.ip_network(destination, strict=False) for destination in named]
    for pool in _POOLS:
        if not any(ipaddress.ip_network(pool).overlaps(network) for network in taken):
            return pool
    raise MachineError(f"every one of the networks {_POOLS[0]} to {_POOLS[-1]} is routed elsewhere on this machine")

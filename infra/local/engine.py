"""The Docker engine of this machine: the one that answers already, else one of our own while we run.

Ours keeps its images and volumes in the state folder and its socket under /run. Docker changes a machine's firewall and
makes bridges; when ours ends we take back what it left, if no other engine runs.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.local import installations
from infra.local.daemon import Daemon, MachineError
from infra.local.login import Login

_STANDARD_SOCKET = Path("/var/run/docker.sock")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_CGROUPS = Path("/sys/fs/cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Engine:
    """Where the engine listens, and the program to end if it is ours."""

    socket: Path
    daemon: Daemon | None

    @property
    def words(self) -> tuple[str, ...]:
        """What to type before a docker command."""
        return ("docker", "--host", f"unix://{self.socket}")


def running() -> Engine | None:
    """The engine that this process may use already."""
    named = os.environ.get("DOCKER_HOST", "")
    if named and not named.startswith("unix://"):
        raise MachineError(f"DOCKER_HOST is {named}: only an engine on a unix:// socket of this machine can be used")
    path = Path(named.removeprefix("unix://")) if named else _STANDARD_SOCKET
    return Engine(path, None) if answers(path) else None


def start(login: Login, state_dir: Path, run_dir: Path) -> Engine:
    """An engine of our own, which the login may use."""
    at = run_dir / "docker.sock"
    words = (
        found("dockerd"),
        f"--host=unix://{at}",
        f"--group={login.gid}",
        f"--data-root={state_dir.resolve() / 'docker'}",
        f"--exec-root={run_dir / 'exec'}",
        f"--pidfile={run_dir / 'engine.pid'}",
    )
    _remember_firewall(run_dir)
    daemon = Daemon(words, {"PATH": PATH}, run_dir=run_dir, log_dir=state_dir, before=lambda: _end_containerd(run_dir))
    daemon.start(lambda: answers(at), seconds=60)
    return Engine(at, daemon)


def stop(engine: Engine, state_dir: Path, run_dir: Path) -> None:
    """End our own engine, and what it changed on the machine; another's is left alone."""
    if engine.daemon is None:
        return
    bridges = _bridges(engine)
    engine.daemon.stop()
    for folder in (run_dir, state_dir.resolve() / "docker"):
        installations.unmount_below(folder)
    if not _another_runs():
        for bridge in ("docker0", *bridges):
            _quietly("ip", "link", "delete", bridge)
        _restore_firewall(run_dir, ("docker0", *bridges))
        for cgroup in (*_CGROUPS.glob("docker"), *_CGROUPS.glob("*/docker")):
            with contextlib.suppress(OSError):  # rmdir takes only an empty one: nobody else's
                cgroup.rmdir()


def answers(path: Path) -> bool:
    """Does an engine answer there, and may we ask it?"""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def found(program: str) -> str:
    """Where a program is; one line about what to install if it is not."""
    path = shutil.which(program, path=PATH)
    if path is None:
        package = {"dockerd": "docker.io", "docker": "docker.io", "sshd": "openssh-server", "ip": "iproute2"}.get(
            program, program
        )
        raise MachineError(f"{program} was not found: install the package {package} (make install does, as root)")
    return path


def _end_containerd(run_dir: Path) -> None:
    """A killed engine's containerd dies a moment after it; an engine that takes it for alive waits 15 s in vain.

    It takes one for alive that has died and is not collected yet, so the note of its pid goes too.
    """
    pid_file = run_dir / "exec" / "containerd" / "containerd.pid"
    pid = pid_file.read_text().strip() if pid_file.exists() else ""
    command_line = Path("/proc", pid or "none", "cmdline")
    deadline = time.monotonic() + 10
    while _names(command_line, str(run_dir)) and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)
    pid_file.unlink(missing_ok=True)


def _names(command_line: Path, text: str) -> bool:
    try:
        return text in command_line.read_text()
    except OSError:
        return False


def _bridges(engine: Engine) -> list[str]:
    listing = ("network", "ls", "--quiet", "--no-trunc", "--filter", "driver=bridge", "--filter", "type=custom")
    listed = subprocess.run([*engine.words, *listing], capture_output=True, text=True, check=False).stdout
    return [f"br-{network[:12]}" for network in listed.split()]


def _another_runs() -> bool:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            same_network = (entry / "ns/net").readlink() == Path("/proc/self/ns/net").readlink()
            if same_network and (entry / "comm").read_text().strip() == "dockerd":
                return True
        except OSError:
            continue  # it ended while we looked
    return False


def _remember_firewall(run_dir: Path) -> None:
    """How the machine was before the first engine of ours; a killed run's note is older and so is kept."""
    note = run_dir / "before.json"
    if note.exists() or _another_runs():
        return
    policies = {tool: _forward_policy(tool) for tool in _firewalls()}
    note.write_text(json.dumps({"forwarding": _FORWARDING.read_text().strip(), "policies": policies}))


def _restore_firewall(run_dir: Path, bridges: tuple[str, ...]) -> None:
    note = run_dir / "before.json"
    if not note.exists():
        return
    before = json.loads(note.read_text())
    for tool in _firewalls():
        for table in ("filter", "nat", "raw", "mangle"):
            _forget_docker(tool, table, bridges)
        if before["policies"].get(tool):
            _quietly(tool, "-P", "FORWARD", before["policies"][tool])
    _FORWARDING.write_text(before["forwarding"])
    note.unlink()


def _forget_docker(tool: str, table: str, bridges: tuple[str, ...]) -> None:
    """Delete the rules that lead into Docker's chains or name its bridges, then the chains."""
    lines = _rules(tool, table)
    chains = [line.split()[1] for line in lines if re.match(r"-N DOCKER\b", line)]
    for line in lines:
        words = line.split()
        if words[0] == "-A" and words[1] not in chains and {*words[2:]} & {*chains, *bridges}:
            _quietly(tool, "-t", table, "-D", *words[1:])
    for option in ("-F", "-X"):
        for chain in chains:
            _quietly(tool, "-t", table, option, chain)


def _firewalls() -> Iterator[str]:
    yield from (tool for tool in ("iptables", "ip6tables") if shutil.which(tool, path=PATH))


def _forward_policy(tool: str) -> str:
    return next((line.split()[2] for line in _rules(tool, "filter") if line.startswith("-P FORWARD")), "")


def _rules(tool: str, table: str) -> list[str]:
    listed = subprocess.run([tool, "-t", table, "-S"], capture_output=True, text=True, check=False, env={"PATH": PATH})
    return listed.stdout.splitlines()


def _quietly(*words: str) -> None:
    subprocess.run(words, capture_output=True, check=False, env={"PATH": PATH})

import base64
import io
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import paramiko
import pytest

from infra.local import engine, installations, machine
from infra.local.login import Login
from infra.local.machine import Machine, MachineError
from tests.lab import ground

_RUN_AND_WAIT = """
import sys
from contextlib import ExitStack
from pathlib import Path
from infra.local.machine import Machine
machine = Machine.up(Path(sys.argv[1]))
print(machine.user, flush=True)
sys.stdin.read()
"""
_DEMO = "docker run --detach --restart unless-stopped --name demo --env SERVICE_NAME=shop --publish 127.0.0.1:8099:8000"


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_the_demo_runs_over_ssh_as_an_ordinary_user_and_closing_leaves_nothing(state_dir: Path) -> None:
    interfaces, rules, forwarding = (
        socket.if_nameindex(),
        _firewall(),
        Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    )

    with Machine.up(state_dir) as up:
        assert up.user != "root"
        assert _over_ssh(up, "id -u") != "0"
        _over_ssh(up, f"{_DEMO} {up.demo_image}")
        ground.until(lambda: "<h1>Hello from shop</h1>" in _page(), "the demo answers")
        assert _over_ssh(up, f"docker run --rm {up.edge_image} caddy version")

    assert [name for _, name in socket.if_nameindex()] == [name for _, name in interfaces]
    assert _firewall() == rules
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding
    assert up.user not in [entry.pw_name for entry in pwd.getpwall()]
    assert _processes_naming(str(state_dir)) == []
    assert not Path(up.docker_host.removeprefix("unix://")).parent.exists()


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_a_second_run_is_the_same_host_with_the_same_containers(state_dir: Path) -> None:
    with Machine.up(state_dir) as first:
        _over_ssh(first, f"{_DEMO} {first.demo_image}; mkdir -p .slipway; echo kept >.slipway/note")

    with Machine.up(state_dir) as second:
        assert _registered(second) == _registered(first)
        ground.until(lambda: "Hello from shop" in _page(), "the demo is back")
        assert _over_ssh(second, "cat .slipway/note") == "kept"


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_what_a_killed_runner_left_is_ended_and_the_next_run_goes_on(state_dir: Path) -> None:
    words = [sys.executable, "-c", _RUN_AND_WAIT, str(state_dir)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        user = run.stdout.readline().strip()
        run.send_signal(signal.SIGKILL)

    with Machine.up(state_dir) as next_run:
        assert next_run.user == user
        assert _over_ssh(next_run, "docker ps --quiet") == ""
        assert len([pid for pid in _processes_naming(str(state_dir)) if _program(pid) == "dockerd"]) == 1

    assert _processes_naming(str(state_dir)) == []


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_an_engine_or_sshd_that_dies_is_started_again(state_dir: Path) -> None:
    with Machine.up(state_dir) as up:
        run_dir = Path(up.docker_host.removeprefix("unix://")).parent
        for name in ("dockerd", "sshd"):
            pid, _ = json.loads((run_dir / f"{name}.pid").read_text())
            os.kill(pid, signal.SIGKILL)

        ground.until(lambda: _answers(lambda: _over_ssh(up, "docker version")), "the machine serves again")


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_the_next_installation_clears_what_a_deleted_state_folder_left(tmp_path: Path) -> None:
    gone, next_one = tmp_path / "gone", tmp_path / "next"  # below a folder that is closed to others, as /root is
    with Machine.up(gone) as first:
        home = Path(_over_ssh(first, "pwd"))
    assert home.is_dir()
    subprocess.run(["rm", "-r", str(gone)], check=True)

    with Machine.up(next_one) as second:
        assert not home.exists()
        other_home = Path(_over_ssh(second, "pwd"))

    subprocess.run(["rm", "-r", str(next_one)], check=True)
    installations.sweep()
    assert not other_home.exists()


def test_without_root_and_without_docker_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    somebody = Login("ada", 1000, 1000, tmp_path, ours=False)

    with pytest.raises(MachineError, match="usermod -aG docker ada") as refused:
        machine._docker(somebody, tmp_path, tmp_path, ExitStack())

    assert "\n" not in refused.value.message


def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")

    with pytest.raises(MachineError, match=r"only an engine on a unix:// socket"):
        engine.running()


def _registered(host: Machine) -> tuple[object, ...]:
    return host.address, host.port, host.user, host.private_key, host.host_key, host.edge_http_port, host.pool


def _over_ssh(host: Machine, line: str) -> str:
    with paramiko.SSHClient() as client:
        kind, key = host.host_key.split()
        known = f"[{host.address}]:{host.port}"
        client.get_host_keys().add(known, kind, paramiko.Ed25519Key(data=base64.b64decode(key)))
        identity = paramiko.Ed25519Key.from_private_key(io.StringIO(host.private_key))
        client.connect(host.address, host.port, host.user, pkey=identity, allow_agent=False, look_for_keys=False)
        _, out, err = client.exec_command(line)
        text = out.read().decode().strip()
        if out.channel.recv_exit_status() != 0:
            raise OSError(f"{line}: {err.read().decode()}")
        return text


def _page() -> str:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8099/", timeout=2) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (OSError, paramiko.SSHException, EOFError):
        time.sleep(0.1)
        return False
    return True


def _firewall() -> list[str]:
    tables = ("filter", "nat")
    return [
        subprocess.run(["iptables", "-t", table, "-S"], capture_output=True, text=True, check=True).stdout
        for table in tables
    ]


def _processes_naming(text: str) -> list[str]:
    return [
        path.name
        for path in Path("/proc").glob("[0-9]*")
        if text in _command_line(path) and path.name != str(os.getpid())
    ]


def _program(pid: str) -> str:
    return Path(_command_line(Path("/proc", pid)).split("\0")[0]).name


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""  # it ended while we looked

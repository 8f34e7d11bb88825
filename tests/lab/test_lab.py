import base64
import io
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from infra.local import images
from tests.lab import ground
from tests.lab.hosts import Lab, LabHost

pytestmark = pytest.mark.lab

# a lab of its own in another process, which says where it is once it has a container running
_OTHER_RUN = """
import sys
from infra.local import images
from tests.lab.hosts import Lab
with Lab() as lab:
    host = lab.host("h1")
    host.load(images.BUSYBOX)
    host.docker("run", "--detach", "busybox:1", "sleep", "600")
    print(lab.ground.number, host._pid, flush=True)
    sys.stdin.read()
"""


def test_a_host_lets_its_user_in_by_the_pinned_key_and_the_user_reaches_docker(lab_host: LabHost) -> None:
    assert _over_ssh(
        lab_host, "id -un; hostname; docker info --format '{{.Name}}'; docker compose version --short"
    ) == (
        0,
        "deploy\nh1\nh1\n5.6.1\n",
    )


def test_a_session_starts_in_a_home_that_is_the_users_own(lab_host: LabHost) -> None:
    assert _over_ssh(lab_host, "pwd; stat -c %U .; ls /root") == (2, "/home/deploy\ndeploy\n")


def test_the_demo_image_greets_logs_keeps_data_and_stops_at_once(lab_host: LabHost) -> None:
    lab_host.docker(
        "run",
        "--detach",
        "--name=demo",
        "--env=SERVICE_NAME=a <b>",
        "--volume=kept:/data",
        "--publish=8000:8000",
        "slipway/demo:1",
    )
    try:
        address = f"http://{lab_host.address}:8000"
        ground.until(lambda: _body(f"{address}/healthz") == "ok\n", "the demo listens")

        assert "<h1>Hello from a &lt;b&gt;</h1>" in _body(address)
        assert "seen 2 times" in _body(address)
        logged = subprocess.run([*lab_host.docker_words, "logs", "demo"], capture_output=True, text=True, check=True)
        assert logged.stdout.splitlines()[1:] == [f"GET / from {lab_host.address[:-2]}1 view {view}" for view in (1, 2)]
        assert "stderr" in logged.stderr
        lab_host.docker("stop", "--time=60", "demo")
        assert lab_host.docker("inspect", "--format={{.State.ExitCode}}", "demo") == "0"
    finally:
        lab_host.wipe()


def test_the_edge_image_runs_as_an_ordinary_user(lab_host: LabHost) -> None:
    assert lab_host.docker("run", "--rm", "--user=1001:1001", "slipway/caddy:local", "caddy", "version")


def test_an_image_is_made_once(lab_host: LabHost) -> None:
    assert not images.ensure(images.DEMO, lab_host.docker_words)


def test_an_image_pushed_from_one_host_is_pulled_on_the_other_by_its_hub_name(
    lab: Lab, lab_hosts: tuple[LabHost, LabHost]
) -> None:
    first, second = lab_hosts

    lab.registry_push(first, "busybox:1", "library/namesake:1")

    assert "Downloaded newer image" in second.docker("pull", "namesake:1")


def test_a_cut_host_is_silent_and_a_healed_one_answers(lab_host: LabHost) -> None:
    lab_host.cut()
    try:
        with pytest.raises(OSError, match=r"timed out|unreachable|Unable to connect|No route"):
            _over_ssh(lab_host, "true")
    finally:
        lab_host.heal()

    assert _over_ssh(lab_host, "echo back") == (0, "back\n")


def test_a_killed_engine_refuses_and_a_started_one_answers(lab_host: LabHost) -> None:
    lab_host.kill_dockerd()
    assert _over_ssh(lab_host, "docker ps -q")[0] == 1

    lab_host.start_dockerd()

    assert _over_ssh(lab_host, "docker ps -q")[0] == 0


def test_a_full_disk_refuses_writes_and_an_emptied_one_takes_them(lab_host: LabHost) -> None:
    write = "head -c 5000000 /dev/zero >big; code=$?; rm -f big; exit $code"
    lab_host.fill(leave_mb=1)
    assert _over_ssh(lab_host, write)[0] != 0

    lab_host.unfill()

    assert _over_ssh(lab_host, write)[0] == 0


def test_a_host_outlives_many_orphans_that_die_at_once(lab_host: LabHost) -> None:
    orphans = "for i in $(seq 400); do (sleep 0.3 & sleep 0.3 & sleep 0.3 &) ; done; sleep 0.5"
    lab_host.exec("sh", "-c", orphans)

    assert _over_ssh(lab_host, "echo here") == (0, "here\n")


def test_power_loss_stops_everything_and_keeps_the_disk(lab_host: LabHost) -> None:
    _over_ssh(lab_host, "echo remembered >note; sync note")
    lab_host.docker("run", "--detach", "--name=always", "--restart=always", "busybox:1", "sleep", "600")
    try:
        lab_host.crash()
        assert not Path(f"/proc/{lab_host._pid}").exists()
        lab_host.boot()

        assert _over_ssh(lab_host, "cat note") == (0, "remembered\n")
        ground.until(lambda: lab_host.docker("ps", "--format={{.Names}}") == "always", "the container is back")
    finally:
        lab_host.wipe()


def test_two_labs_do_not_collide_and_closing_one_leaves_nothing_of_it(lab: Lab) -> None:
    with Lab() as other:
        host = other.host("h1")
        host.load(images.BUSYBOX)
        host.docker("run", "--detach", "busybox:1", "sleep", "600")
        assert other.ground.number != lab.ground.number

    assert _left(other.ground.number) == []


def test_a_killed_run_takes_its_hosts_along_and_the_next_one_cleans_up(lab: Lab) -> None:
    with _another_run() as (run, number, host_pid):
        assert number not in ground.clean_all(), "a lab in use was cleaned away"
        run.send_signal(signal.SIGKILL)
        run.wait()
        ground.until(lambda: not Path(f"/proc/{host_pid}").exists(), "the host went with the run")

        assert number in ground.clean_all()

    assert _left(number) == []


@contextmanager
def _another_run() -> "Iterator[tuple[subprocess.Popen[str], int, int]]":
    run = subprocess.Popen([sys.executable, "-c", _OTHER_RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        number, host_pid = run.stdout.readline().split()
        yield run, int(number), int(host_pid)


def _left(number: int) -> list[str]:
    """Everything on this machine that still carries a lab's name."""
    prefix, folder = f"slipwaylab{number}", f"/var/tmp/slipway-lab/{number}"
    cgroups = [
        str(path) for pattern in (f"{prefix}-*", f"*/{prefix}-*") for path in Path("/sys/fs/cgroup").glob(pattern)
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f"{folder}/" in line]
    interfaces = [name for name in os.listdir("/sys/class/net") if name == prefix]
    processes = [path.name for path in Path("/proc").glob("[0-9]*") if f"{folder}/".encode() in _command_line(path)]
    folders = [folder] if Path(folder).exists() else []
    loops = ground.loops_of(Path(folder))
    return [*cgroups, *mounts, *interfaces, *processes, *folders, *([loops] if loops else [])]


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it ended while we looked


def _over_ssh(host: LabHost, line: str) -> tuple[int, str]:
    with paramiko.SSHClient() as client:
        kind, key = host.host_key.split()
        client.get_host_keys().add(host.address, kind, paramiko.Ed25519Key(data=base64.b64decode(key)))
        identity = paramiko.Ed25519Key.from_private_key(io.StringIO(host.private_key))
        client.connect(
            host.address, host.port, host.user, pkey=identity, timeout=3, allow_agent=False, look_for_keys=False
        )
        _, out, _ = client.exec_command(line)
        text = out.read().decode()
        return out.channel.recv_exit_status(), text


def _body(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""

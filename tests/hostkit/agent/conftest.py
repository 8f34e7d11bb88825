"""An agent on a lab host, the control plane it pushes to, and containers that say what one can count."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.commands import agent
from chalicelib.domain.words import new_id
from infra.local import images
from tests.hostkit.agent.control import Control
from tests.lab.hosts import Lab, LabHost


@dataclass
class AgentOnHost:
    """The agent as a bare process: started and killed as a test likes."""

    host: LabHost
    control: Control
    containers: list[str] = field(default_factory=list)
    pid: str = ""

    @property
    def folder(self) -> str:
        return f"/home/{self.host.user}/.slipway/agent"

    def install(self) -> None:
        self.host.exec("mkdir", "-p", self.folder, user=self.host.user)
        self.write("agent.pyz", agent.package())
        self.write("config.json", json.dumps(self.control.config()).encode())

    def write(self, name: str, data: bytes) -> None:
        self.host.exec("sh", "-c", 'cat >"$0"', f"{self.folder}/{name}", stdin=data, user=self.host.user)

    def read(self, name: str) -> str:
        return self.host.exec("cat", f"{self.folder}/{name}")

    def start(self) -> None:
        begin = 'python3 -I -S "$0" run >"$1" 2>&1 </dev/null & echo $!'
        words = ("sh", "-c", begin, f"{self.folder}/agent.pyz", f"{self.folder}/said")
        self.pid = self.host.exec(*words, user=self.host.user).strip()

    def begin(self) -> None:
        """Started, and heard by the control plane."""
        self.start()
        self.control.until(lambda: self.control.connected)

    def kill(self) -> None:
        self.host.run("kill", "-KILL", self.pid)

    def used(self) -> tuple[int, float]:
        """Its resident memory in KB, and the seconds of CPU it has used."""
        status = self.host.exec("cat", f"/proc/{self.pid}/status")
        (memory,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        stat = self.host.exec("cat", f"/proc/{self.pid}/stat").rpartition(")")[2].split()
        return int(memory), (int(stat[11]) + int(stat[12])) / 100

    def run(self, service: str, program: str, *options: str, name: str = "web", number: int = 1) -> str:
        labels = {
            "slipway.service": service,
            "com.docker.compose.service": name,
            "com.docker.compose.container-number": str(number),
        }
        words = [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
        image = images.BUSYBOX.reference
        container = self.host.docker("run", "--detach", *words, *options, image, "sh", "-c", program)
        self.containers.append(container)
        return container

    def end(self) -> None:
        self.kill()
        self.host.run("rm", "-rf", self.folder, f"/home/{self.host.user}/.slipway/jobs")
        if self.containers:
            self.host.docker("rm", "--force", "--volumes", *self.containers)


@pytest.fixture
def control(lab: Lab) -> Iterator[Control]:
    with Control(lab.ground.address(1)) as running:
        yield running
    assert running.trouble == []


@pytest.fixture
def on_host(lab_host: LabHost, control: Control) -> Iterator[AgentOnHost]:
    agent = AgentOnHost(lab_host, control)
    agent.install()
    yield agent
    said = agent.host.run("cat", f"{agent.folder}/said", f"{agent.folder}/agent.log").stdout.decode()
    lab_host.mend()
    agent.end()
    assert "Traceback" not in said, said[-3000:]


@pytest.fixture
def service() -> str:
    return new_id("svc")


def counting(lines: int, more: str = "sleep 600", pause: str = "") -> str:
    """Even numbers on stdout, odd ones on stderr."""
    body = f"echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); {pause}"
    return f"sleep 0.5; i=0; while [ $i -lt {lines} ]; do {body} done; {more}"


def all_of(follower: Any, lines: int) -> bool:
    """Every number once, in order on each stream."""
    got = {name: [int(text) for text in follower.messages(name)] for name in ("stdout", "stderr")}
    return got == {"stdout": list(range(0, lines, 2)), "stderr": list(range(1, lines, 2))}

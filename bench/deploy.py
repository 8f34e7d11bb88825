"""A deploy through the API against `docker compose up -d --wait` typed over a warm SSH connection to the same host.

Both run the same service from the same text, on a network of its own, with its image present and its port published.
Both are timed from the first word until it answers HTTP: Compose's at the published port, ours at its own host name
through the edge, once the job has ended. Blocks of each take turns; everything is torn down outside the timing.

`--wait` looks only every half second, so `up -d` without it, which promises less, is measured as well: the ratio to it
says what a deploy costs beyond the engine's own work.
"""

import argparse
import http.client
import json
import socket
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from bench.figures import Spread, machine, table
from bench.plane import BenchError, Panel, plane
from chalicelib.domain.words import parse_time
from chalicelib.ssh.keys import load
from infra.local import images
from tests.lab.hosts import Lab, LabHost

_PORT = 18080
_EDGE_PORT = 80
_POLL_S = 0.02
_PATH = "/healthz"
_COMPOSE = f"""\
services:
  web:
    image: {images.DEMO.reference}
    ports:
      - "{_PORT}:8000"
"""
_ANSWER_S = 20.0
_MOST_RATIO = 2.0


@dataclass
class Measured:
    """Milliseconds, one entry a round."""

    waited: list[float] = field(default_factory=list)
    unwaited: list[float] = field(default_factory=list)
    posted: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    deployed: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def stage(self, name: str, milliseconds: float) -> None:
        self.stages.setdefault(name, []).append(milliseconds)


@dataclass
class Typist:
    """Types commands on the host over one connection that stays open, as a careful person's script would."""

    transport: paramiko.Transport

    def type(self, line: str) -> str:
        channel = self.transport.open_session()
        channel.set_combine_stderr(True)
        channel.exec_command(line)
        said = b"".join(iter(lambda: channel.recv(1 << 16), b""))
        code = channel.recv_exit_status()
        channel.close()
        if code:
            raise BenchError(f"{line}: {said.decode(errors='replace')}")
        return said.decode()


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.deploy", description=__doc__)
    asked.add_argument("--blocks", type=int, default=8, help="blocks of each (%(default)s)")
    asked.add_argument("--rounds", type=int, default=2, help="deploys in a block (%(default)s)")
    asked.add_argument("--json", type=Path, help="every single measurement goes here")
    arguments = asked.parse_args()
    with ground() as (panel, host, host_id):
        print(machine(), flush=True)
        measured = run(panel, host, host_id, arguments.blocks, arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured.__dict__))
    print(report(measured))
    return 0 if ratio(measured, measured.waited) <= _MOST_RATIO else 1


@contextmanager
def ground(more: Mapping[str, str] | None = None) -> Iterator[tuple[Panel, LabHost, str]]:
    """A plane, with `more` settings, that has one ready host that holds the image."""
    settings = {
        "SLIPWAY_BASE_DOMAIN": "bench.test",
        "SLIPWAY_EDGE_IMAGE": images.EDGE.reference,
        "SLIPWAY_EDGE_HTTP_PORT": str(_EDGE_PORT),
        **(more or {}),
    }
    with Lab() as lab, tempfile.TemporaryDirectory() as state:
        host = lab.host("bench")
        lab.images(images.EDGE, images.DEMO)
        with plane(Path(state), settings) as panel:
            yield panel, host, _registered(panel, host)


def run(panel: Panel, host: LabHost, host_id: str, blocks: int, rounds: int) -> Measured:
    measured = Measured()
    customer = panel.post("customers", {"name": "Bench"})["id"]
    wanted = {"customer_id": customer, "host_id": host_id, "deploy_method": "compose", "compose": _COMPOSE}
    with typing_on(host) as typist:
        typist.type(f"mkdir -p typed && cat > typed/compose.yaml <<'END'\n{_COMPOSE}END")
        turns: tuple[Callable[[Measured], None], ...] = (
            lambda kept: kept.waited.append(_typed(typist, host, "--wait")),
            lambda kept: _deployed(panel, host, wanted, kept),
            lambda kept: kept.unwaited.append(_typed(typist, host, "")),
        )
        for turn in turns:
            turn(Measured())  # the first of each pays for caches
        for _ in range(blocks):
            for turn in turns:
                for _ in range(rounds):
                    turn(measured)
    return measured


def ratio(measured: Measured, baseline: list[float]) -> float:
    return statistics.median(measured.deployed) / statistics.median(baseline)


def _ratios(measured: Measured, baseline: list[float]) -> str:
    least = min(measured.deployed) / min(baseline)
    return f"{ratio(measured, baseline):.2f} by medians, {least:.2f} by the least of each"


def report(measured: Measured) -> str:
    whole = [
        ("compose up -d --wait", Spread.of(measured.waited)),
        ("compose up -d", Spread.of(measured.unwaited)),
        ("POST answered", Spread.of(measured.posted)),
        ("job seen to have ended", Spread.of(measured.ended)),
        ("deployed", Spread.of(measured.deployed)),
    ]
    stages = [(name, Spread.of(values)) for name, values in measured.stages.items()]
    return (
        f"\n{table('until it answers, ms', whole)}\n\n"
        f"deployed / compose up -d --wait: {_ratios(measured, measured.waited)} (at most {_MOST_RATIO})\n"
        f"deployed / compose up -d:        {_ratios(measured, measured.unwaited)}\n\n"
        f"{table('of a deploy, by stage, ms', stages)}"
    )


def _typed(typist: Typist, host: LabHost, wait: str) -> float:
    began = time.perf_counter()
    typist.type(f"cd typed && docker compose up -d {wait}")
    _await_answer(host.address, _PORT, "typed")
    took = _since(began)
    typist.type("cd typed && docker compose down --volumes --timeout 1")
    return took


def _deployed(panel: Panel, host: LabHost, wanted: dict[str, Any], measured: Measured) -> None:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    began, began_at = time.perf_counter(), time.time()
    made = panel.post("services", {**wanted, "name": name})
    measured.posted.append(_since(began))
    job = panel.finished(made["deploy_job_id"], _POLL_S)
    measured.ended.append(_since(began))
    _await_answer(host.address, _EDGE_PORT, f"{name}.bench.test")
    measured.deployed.append(_since(began))
    status = panel.get(f"services/{made['id']}")["status"]
    if (job["status"], status) != ("succeeded", "running"):
        raise BenchError(f"the deploy ended {job['status']}, the service is {status}: {job}")
    _note_stages(job, began_at, measured)
    removed = panel.finished(panel.delete(f"services/{made['id']}"), 0.1)
    if removed["status"] != "succeeded":
        raise BenchError(f"the removal ended {removed['status']}: {removed}")


def _note_stages(job: dict[str, Any], began_at: float, measured: Measured) -> None:
    """Each step's own time as the job tells it, and what passed between them."""
    before, between = began_at, 0.0
    for step in job["steps"]:
        started, ended = _moment(step["started_at"]), _moment(step["ended_at"])
        if before == began_at:
            measured.stage("POST until the first step", (started - before) * 1000)
        else:
            between += started - before
        measured.stage(step["name"], (ended - started) * 1000)
        before = ended
    measured.stage("between steps, all together", between * 1000)
    measured.stage("POST until the job's end", (_moment(job["ended_at"]) - began_at) * 1000)


def _await_answer(address: str, port: int, host: str) -> None:
    """Returns at the first 200."""
    deadline = time.monotonic() + _ANSWER_S
    while True:
        status = _status(address, port, host)
        if status == http.client.OK:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"{host} at {address}:{port} answers {status} after {_ANSWER_S:.0f} s")
        time.sleep(0.005)


def _status(address: str, port: int, host: str) -> int | None:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", _PATH, headers={"Host": host})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def typing_on(host: LabHost) -> Iterator[Typist]:
    connection = socket.create_connection((host.address, host.port), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(connection)
    transport.start_client(timeout=10)
    try:
        transport.auth_publickey(host.user, load(host.private_key))
        yield Typist(transport)
    finally:
        transport.close()


def _registered(panel: Panel, host: LabHost) -> str:
    wanted = {
        "name": "bench",
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "private_key": host.private_key,
        "host_key": host.host_key,
    }
    made: str = panel.post("hosts", wanted)["id"]
    checked = panel.post(f"hosts/{made}/check")
    if checked["status"] != "ready":
        raise BenchError(f"the host is not ready: {checked['problems']}")
    return made


def _moment(text: str) -> float:
    return parse_time(text).timestamp()


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())

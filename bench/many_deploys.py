"""16 deploys asked for at once on one host, against 16 times `docker compose up -d` typed over a warm SSH connection.

Both run the same service from the same text, each on a network of its own, with its image present. What is typed goes
four at a time, as many as a Docker host gains from; Slipway is asked for all at once and makes its own order. Timed
from the first word until the last `up -d` returned, or until the last job was seen to have ended: by then each of ours
was also judged, found healthy and answered HTTP through the edge. They take turns, and what they made is removed
outside the timing. Meanwhile the list of services is asked for, again and again; the same on the idle host for
comparison.

Measured twice. Shared: plane, host and callers use all cores of the machine, so what the plane takes is missing on the
host. Apart: the host and all that runs on it have one core, the plane and the callers another, for what is typed and
for what is deployed alike; so it is in production, where no plane runs on a Docker host. Ends with 1 if, apart,
deploys come less than 0.8 times as fast as what is typed. CPU is counted too, for each of them: what the host spends on
one deploy, against what it spends on one that is typed, holds wherever the plane runs and however busy the machine is.
"""

import argparse
import os
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.cpu import core_ms, cpu_ms, keep_to
from bench.deploy import Typist, ground, typing_on
from bench.figures import Spread, machine, table
from bench.plane import BenchError, Panel
from chalicelib.domain.words import parse_time
from infra.local import images
from tests.lab.hosts import LabHost

_AT_ONCE = 4
_SETTINGS = {"SLIPWAY_DEFAULT_DISK_MB": "64"}  # a lab host's disk is small, and all of them shall be placed on it
_LEAST_RATIO = 0.8
_LIST_PAUSE_S = 0.1
_IDLE_S = 3.0
_JOB_S = 180.0
_COMPOSE = f"""\
services:
  web:
    image: {images.DEMO.reference}
    expose:
      - "8000"
    cpus: 0.5
    mem_limit: 128m
"""


@dataclass
class Measured:
    """Seconds for all of a round, one entry a round; milliseconds for each list."""

    typed: list[float] = field(default_factory=list)
    deployed: list[float] = field(default_factory=list)
    posted: list[float] = field(default_factory=list)
    listed_idle: list[float] = field(default_factory=list)
    listed_busy: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def note_stages(self, job: dict[str, Any]) -> None:
        """Each step's own time as the job tells it, and all that passed between them."""
        steps = [(step["name"], _moment(step["started_at"]), _moment(step["ended_at"])) for step in job["steps"]]
        for name, started, ended in steps:
            self.stages.setdefault(name, []).append((ended - started) * 1000)
        between = (steps[-1][2] - steps[0][1]) * 1000 - sum((ended - started) * 1000 for _, started, ended in steps)
        self.stages.setdefault("between steps, all together", []).append(between)

    @contextmanager
    def counting(self, what: str, count: int, core: int | None, **trees: int) -> Iterator[None]:
        """Note how much CPU each of these process trees took for one of `count` during the block.

        With the host's `core` also what it did for nobody of the host's, and how long it did nothing.
        """
        before = {name: cpu_ms(pid) for name, pid in trees.items()}
        busy, free = core_ms(core) if core is not None else (0.0, 0.0)
        yield
        used = {name: cpu_ms(pid) - before[name] for name, pid in trees.items()}
        if core is not None:
            busy_now, free_now = core_ms(core)
            used["the host's core, for the kernel and others"] = busy_now - busy - used["host"]
            used["the host's core, idle"] = free_now - free
        for name, spent in used.items():
            self.cpu.setdefault(f"{what}: {name}", []).append(spent / count)

    def ratio(self, count: int) -> float:
        return _rate(self.deployed, count) / _rate(self.typed, count)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.many_deploys", description=__doc__)
    parser.add_argument("--deploys", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with ground(_SETTINGS) as (panel, host, host_id), typing_on(host) as typist:
        print(machine(), flush=True)
        customer = panel.post("customers", {"name": "Bench"})["id"]
        wanted = {"customer_id": customer, "host_id": host_id, "deploy_method": "compose", "compose": _COMPOSE}
        bench = _Bench(panel, typist, host, wanted)
        _warmed_up(bench, arguments.deploys)
        shared = _measured(bench, arguments.deploys, arguments.rounds)
        apart = _measured(_apart(bench), arguments.deploys, arguments.rounds)
    print(_report("shared", shared, arguments.deploys))
    print(_report("apart", apart, arguments.deploys))
    print(
        f"\nof the raw rate: shared {shared.ratio(arguments.deploys):.2f}, apart {apart.ratio(arguments.deploys):.2f}"
    )
    print(f"apart has to be at least {_LEAST_RATIO}")
    return 0 if apart.ratio(arguments.deploys) >= _LEAST_RATIO else 1


@dataclass(frozen=True)
class _Bench:
    panel: Panel
    typist: Typist
    host: LabHost
    wanted: dict[str, Any]
    host_core: int | None = None  # the only one that the host has

    def expect_cores(self, count: int) -> None:
        """Raise if one of the containers that were just started, `count` at least, may run elsewhere."""
        if self.host_core is None:
            return
        running = self.host.docker("ps", "--quiet", "--filter", "name=web").split()
        if len(running) < count:
            raise BenchError(f"{len(running)} of {count} containers run")
        pids = self.host.docker("inspect", "--format", "{{.State.Pid}}", *running).split()
        for pid in pids:
            cores = _allowed(Path(f"/proc/{self.host.pid}/root/proc/{pid}/status"))
            if cores != str(self.host_core):
                raise BenchError(f"a container of the host may run on core {cores}, not only on {self.host_core}")


def _allowed(status: Path) -> str:
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return lines["Cpus_allowed_list"].strip()


def _apart(bench: _Bench) -> _Bench:
    """The host on a core of its own, the plane and this process on another."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("with one core, the host cannot have one of its own")
    keep_to(cores[0], bench.host.pid)
    keep_to(cores[1], bench.panel.pid)
    keep_to(cores[1], os.getpid())
    keep_to(cores[0], bench.host.pid)
    return replace(bench, host_core=cores[0])


def _warmed_up(bench: _Bench, count: int) -> None:
    """The first of each pays for caches."""
    for number in range(count):
        bench.typist.type(f"mkdir -p typed-{number} && cat > typed-{number}/compose.yaml <<'END'\n{_COMPOSE}END")
    _typed(bench, _AT_ONCE, Measured())
    _deployed(bench, _AT_ONCE, Measured())


def _measured(bench: _Bench, count: int, rounds: int) -> Measured:
    measured = Measured()
    for _ in range(rounds):
        _typed(bench, count, measured)
        _deployed(bench, count, measured)
    with _listing(bench.panel, measured.listed_idle):
        time.sleep(_IDLE_S)
    return measured


def _typed(bench: _Bench, count: int, measured: Measured) -> None:
    with measured.counting("typed", count, bench.host_core, host=bench.host.pid):
        began = time.perf_counter()
        _each(bench.typist, count, "up -d")
        measured.typed.append(time.perf_counter() - began)
    bench.expect_cores(count)
    _each(bench.typist, count, "down --volumes --timeout 1")


def _each(typist: Typist, count: int, words: str) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as hands:
        lines = [f"cd typed-{number} && docker compose {words}" for number in range(count)]
        list(hands.map(typist.type, lines))


def _deployed(bench: _Bench, count: int, measured: Measured) -> None:
    panel, wanted = bench.panel, bench.wanted
    callers = [Panel(panel.api, panel.token) for _ in range(count)]
    names = [f"bench-{uuid.uuid4().hex[:8]}" for _ in callers]
    with ThreadPoolExecutor(count) as crowd:
        counting = measured.counting("deployed", count, bench.host_core, host=bench.host.pid, plane=panel.pid)
        with _listing(panel, measured.listed_busy), counting:
            began = time.perf_counter()
            made = list(crowd.map(lambda one, name: _posted(one, {**wanted, "name": name}, measured), callers, names))
            jobs = [panel.awaited(service["deploy_job_id"], _JOB_S) for service in made]
            measured.deployed.append(time.perf_counter() - began)
        _all_succeeded(jobs)
        bench.expect_cores(count)
        for job in jobs:
            measured.note_stages(job)
        if {panel.get(f"services/{service['id']}")["status"] for service in made} != {"running"}:
            raise BenchError("not all of the services run")
        removals = list(crowd.map(lambda one, service: one.delete(f"services/{service['id']}"), callers, made))
    _all_succeeded([panel.finished(job, 0.1, _JOB_S) for job in removals])


def _posted(panel: Panel, wanted: dict[str, Any], measured: Measured) -> Any:
    began = time.perf_counter()
    made = panel.post("services", wanted)
    measured.posted.append((time.perf_counter() - began) * 1000)
    return made


def _all_succeeded(jobs: list[Any]) -> None:
    failed = [job for job in jobs if job["status"] != "succeeded"]
    if failed:
        raise BenchError(f"{len(failed)} of {len(jobs)} jobs ended otherwise, the first: {failed[0]}")


@contextmanager
def _listing(panel: Panel, times: list[float]) -> Iterator[None]:
    """Ask for the list until the block is over, and note how long each answer took."""
    over = threading.Event()

    def ask() -> None:
        asking = Panel(panel.api, panel.token)
        while not over.is_set():
            began = time.perf_counter()
            asking.get("services")
            times.append((time.perf_counter() - began) * 1000)
            over.wait(_LIST_PAUSE_S)

    with ThreadPoolExecutor(1) as asker:
        asked = asker.submit(ask)
        try:
            yield
        finally:
            over.set()
        asked.result()


def _moment(text: str) -> float:
    return parse_time(text).timestamp()


def _rate(seconds: list[float], count: int) -> float:
    return count / statistics.median(seconds)


def _report(how: str, measured: Measured, count: int) -> str:
    rounds = [
        (f"{count} times `docker compose up -d`, {_AT_ONCE} at a time", Spread.of(measured.typed)),
        (f"{count} deploys asked for at once", Spread.of(measured.deployed)),
    ]
    calls = [
        ("POST /api/services", Spread.of(measured.posted)),
        ("GET /api/services meanwhile", Spread.of(measured.listed_busy)),
        ("GET /api/services, idle", Spread.of(measured.listed_idle)),
    ]
    stages = [(name, Spread.of(values)) for name, values in measured.stages.items()]
    cpu = [(name, Spread.of(values)) for name, values in measured.cpu.items()]
    host = statistics.median(measured.cpu["typed: host"]) / statistics.median(measured.cpu["deployed: host"])
    return (
        f"\n{table(f'{how}: until the last is done, s', rounds)}\n\n"
        f"typed {_rate(measured.typed, count):.2f} a second, deployed {_rate(measured.deployed, count):.2f} a second: "
        f"{measured.ratio(count):.2f} of the raw rate\n\n"
        f"{table(f'{how}: CPU of one, ms', cpu)}\n\n"
        f"the host's CPU for one that is typed / for one that is deployed: {host:.2f}\n\n"
        f"{table(f'{how}: calls, ms', calls)}\n\n"
        f"{table(f'{how}: of a deploy, by stage, ms', stages)}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""1,000 creates at once over 20 simulated hosts, through the real handlers: is anything promised twice?

The hosts exist in the table alone, of uneven sizes that hold less than is asked for, so that the last creates meet
hosts that are almost full. Jobs are noted instead of run. Afterwards everything promised is held against what each
host's counter says, what the services stored on it were promised, and what it has. Every refusal must say that no host
has room, and at the end what was refused must fit nowhere. Then the same creates one after another, on the same hosts,
new. Ends with 1 if anything was promised twice, lost, or refused in spite of room.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from bench.figures import Spread, machine, table
from bench.plane import BenchError
from chalicelib import wiring
from chalicelib.api import auth, rates
from chalicelib.deploy import placing
from chalicelib.domain.panel import Host
from chalicelib.domain.placement import Amount, capacity_of
from chalicelib.settings import Settings
from infra.local.dynamodb import DynamoDB
from infra.local.facade import Facade
from infra.local.gateway import Gateway
from infra.local.keys import Keys
from infra.local.wire import REGION
from tests.api.crowd import asking, gateway
from tests.emulator import Panel as Emulated

_SEED = 20
_NO_ROOM = "no host can take this service"
_FIELDS = ("cpu_millis", "memory_mb", "disk_mb")


class Panel(Emulated):
    """As in tests, with connections for many threads."""

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._url,
            region_name=REGION,
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            config=Config(max_pool_connections=64),
        )


@dataclass(frozen=True)
class Wanted:
    name: str
    memory_mb: int
    cpu: float


@dataclass
class Run:
    """What became of the creates: a status for each, and how long each took."""

    seconds: float
    statuses: list[int]
    milliseconds: list[float]
    faults: list[str]

    @property
    def outcome(self) -> str:
        return ", ".join(f"{count} times {status}" for status, count in sorted(Counter(self.statuses).items()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.placement", description=__doc__)
    parser.add_argument("--creates", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--threads", type=int, default=32)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    chance = random.Random(_SEED)
    wanted = [
        Wanted(f"s{number}", chance.choice((64, 128, 256, 512, 1024)), chance.choice((0.25, 0.5, 1.0)))
        for number in range(arguments.creates)
    ]
    sizes = _sizes(chance, arguments.hosts, sum(one.memory_mb for one in wanted))
    with _aws() as url, gateway() as door:
        together = _run(url, door, wanted, sizes, arguments.threads)
        _tell(f"{arguments.threads} at a time", together)
        alone = _run(url, door, wanted, sizes, 1)
        _tell("one after another", alone)
    rows = [("together", Spread.of(together.milliseconds)), ("one by one", Spread.of(alone.milliseconds))]
    print(f"\n{table('a create, ms', rows)}\n")
    print(f"time, together / one after another: {together.seconds / alone.seconds:.2f}")
    print(f"faults: {len(together.faults) + len(alone.faults)} (promised twice, lost, or refused in spite of room)")
    return 1 if together.faults or alone.faults else 0


def _sizes(chance: random.Random, hosts: int, memory_mb: int) -> list[int]:
    """Memory of each host, MB: uneven, and nine tenths of what is asked for may be promised in all."""
    shares = [chance.uniform(0.5, 1.5) for _ in range(hosts)]
    percent = Settings().memory_overcommit_percent
    return [round(0.9 * memory_mb * share / sum(shares) * 100 / percent) for share in shares]


def _run(url: str, door: Gateway, wanted: Sequence[Wanted], sizes: Sequence[int], threads: int) -> Run:
    auth._remembered.clear()
    rates.forget()
    panel = Panel(url)
    wiring.use(panel)
    try:
        for name in ("table", "sealer"):  # boto3 makes clients in one thread only
            getattr(panel, name)
        hosts = [_a_host(panel, number, memory) for number, memory in enumerate(sizes)]
        customer, token = panel.a_customer().id, panel.a_token("deployer")
        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as crowd:
            answers = list(crowd.map(lambda one: _created(door, token, customer, one), wanted))
        seconds = time.perf_counter() - began
        statuses = [status for status, _ in answers]
        return Run(seconds, statuses, [took for _, took in answers], _faults(panel, hosts, wanted, statuses))
    finally:
        wiring.use(None)


def _a_host(panel: Panel, number: int, memory_mb: int) -> Host:
    host = panel.a_host(f"h{number}")
    facts = {"cpus": 16, "memory_mb": memory_mb, "disk_total_mb": 1_000_000}
    return panel.hosts.change(host, facts=facts)


def _created(door: Gateway, token: str, customer: str, one: Wanted) -> tuple[int, float]:
    body = {
        "name": one.name,
        "customer_id": customer,
        "deploy_method": "compose",
        "compose": "services: {web: {image: 'web:1', expose: ['80']}}",
        "limits": {"cpu": one.cpu, "memory_mb": one.memory_mb},
    }
    began = time.perf_counter()
    response = door.answer(asking("POST", "/services", token, body))
    took = (time.perf_counter() - began) * 1000
    if response.status not in (201, 409):
        raise BenchError(f"POST /api/services answered {response.status}: {response.body.decode()}")
    if response.status == 409 and not json.loads(response.body)["error"]["message"].startswith(_NO_ROOM):
        raise BenchError(f"refused, and not for want of room: {response.body.decode()}")
    return response.status, took


def _faults(panel: Panel, hosts: Sequence[Host], wanted: Sequence[Wanted], statuses: Sequence[int]) -> list[str]:
    """Everything that does not add up."""
    services = [panel.services.get(row["id"]) for row in panel.services.rows()]
    counters = panel.promises.of([host.id for host in hosts])
    made = {one.name for one, status in zip(wanted, statuses, strict=True) if status == 201}
    faults = [] if {service.name for service in services} == made else ["the services are not those that were promised"]
    left: list[dict[str, int]] = []
    for host in hosts:
        capacity, placed = _capacity(host), [one.promised for one in services if one.host_id == host.id]
        for field in _FIELDS:
            there, counted = getattr(capacity, field), counters[host.id][field]
            summed = sum(getattr(amount, field) for amount in placed)
            if counted != summed:
                faults.append(f"{host.name}: {field} counted {counted}, of its services {summed}")
            if summed > there:
                faults.append(f"{host.name}: {field} {summed} promised of {there}")
        left.append({field: getattr(capacity, field) - counters[host.id][field] for field in _FIELDS})
    for one, status in zip(wanted, statuses, strict=True):
        need = {"cpu_millis": round(one.cpu * 1000), "memory_mb": one.memory_mb, "disk_mb": _disk(panel)}
        if status != 201 and any(all(need[field] <= room[field] for field in _FIELDS) for room in left):
            faults.append(f"{one.name} was refused, and there is room for it")
    return faults


def _capacity(host: Host) -> Amount:
    capacity = capacity_of(host, placing._overcommit())
    assert capacity is not None
    return capacity


def _disk(panel: Panel) -> int:
    return panel.settings.default_disk_mb


def _tell(how: str, run: Run) -> None:
    rate = len(run.statuses) / run.seconds
    print(f"{how}: {run.outcome} in {run.seconds:.1f} s, {rate:.0f} a second, {len(run.faults)} faults", flush=True)
    for fault in run.faults[:10]:
        print(f"  {fault}")


@contextmanager
def _aws() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="slipway-placement-") as folder, Facade() as facade:
        database, keys = DynamoDB(Path(folder)), Keys(Path(folder) / "kms.json")
        facade.offer("DynamoDB_20120810", database.answer)
        facade.offer("TrentService", keys.answer)
        yield facade.url
        database.close()


if __name__ == "__main__":
    sys.exit(main())

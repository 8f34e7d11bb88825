"""Requests a second of the two reads a panel makes most, with a thousand services in the store.

For orientation: one process serves API, store and workflow, and it and the callers share the machine's cores. The
services are put into the store by its own transaction, as the API does; their host is never asked, since a list waits
for none and a service that never ran has nothing to measure.
"""

import argparse
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from bench.figures import Spread, machine, table
from bench.plane import BenchError, Panel, plane

_COMPOSE = "services:\n  web:\n    image: example/web:1\n    expose: ['8000']\n"
_CONNECTIONS = 8
_OK = 200


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    asked.add_argument("--services", type=int, default=1000, help="how many are in the store (%(default)s)")
    asked.add_argument("--seconds", type=float, default=4.0, help="of each block (%(default)s)")
    asked.add_argument("--blocks", type=int, default=3, help="blocks of each read (%(default)s)")
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory() as state:
        one = seed(Path(state), arguments.services)
        with plane(Path(state), {}) as panel:
            _report(panel, one, arguments.seconds, arguments.blocks)
    return 0


def seed(state: Path, count: int) -> str:
    """Put so many services into a store that a plane is then started on; the id of one of them."""
    from infra.local.cloud import Cloud  # noqa: PLC0415  sets this process's environment, so only when asked

    cloud = Cloud(state, {})
    try:
        return _seeded(count)
    finally:
        cloud.close()


def _seeded(count: int) -> str:
    # They read the environment that Cloud has set.
    from chalicelib.deploy import drafting, start, upkeep  # noqa: PLC0415
    from chalicelib.domain.panel import Caller, Customer, Host  # noqa: PLC0415
    from chalicelib.domain.words import new_id, now  # noqa: PLC0415
    from chalicelib.wiring import adapters  # noqa: PLC0415

    class Nobody:
        def start(self, job: object) -> None:
            """No workflow: what is seeded stays as it is stored."""

    panel = adapters()
    customer = Customer(id=new_id("cust"), name="Bench", created_at=now(), updated_at=now())
    panel.customers.add(customer)
    host_id = new_id("host")
    panel.hosts.add(
        Host(
            id=host_id,
            name="nowhere",
            address="192.0.2.1",
            port=22,
            user="deploy",
            host_key="ssh-ed25519 AAAA",
            public_key="ssh-ed25519 AAAA",
            sealed_private_key=panel.sealer.seal(b"none", host_id),
            status="ready",
            facts={"cpus": 4096, "memory_mb": 100_000_000, "disk_total_mb": 1_000_000_000},
            created_at=now(),
            updated_at=now(),
        )
    )
    panel.__dict__["workflow"] = Nobody()
    caller = Caller(token_id="tok_bench", role="admin", customer_id=None)
    for number in range(count):
        wanted = drafting.NewService(
            name=f"service-{number}",
            customer_id=customer.id,
            deploy_method="compose",
            compose=_COMPOSE,
            variables={"GREETING": "hello"},
        )
        service, job = start.create(drafting.draft(wanted, caller), caller)
        upkeep.end_for(job, "unavailable", "seeded for a bench")
    return service.id


def _report(panel: Panel, one: str, seconds: float, blocks: int) -> None:
    print(machine(), flush=True)
    paths = {
        "GET /api/services/{id}": f"/api/services/{one}",
        "GET /api/services (20 of them)": "/api/services",
        "GET /api/services?per_page=100": "/api/services?per_page=100",
    }
    rates: dict[str, list[float]] = {name: [] for name in paths}
    times: dict[str, list[float]] = {name: [] for name in paths}
    sizes: dict[str, int] = {}
    for name, path in paths.items():
        sizes[name] = _read(panel, path, time.monotonic() + 1, [])
    for _ in range(blocks):
        for name, path in paths.items():
            took: list[float] = []
            began = time.monotonic()
            _load(panel, path, began + seconds, took)
            rates[name].append(len(took) / (time.monotonic() - began))
            times[name] += took
    print(f"\n{table(f'requests a second, {_CONNECTIONS} connections', [(n, Spread.of(v)) for n, v in rates.items()])}")
    print(f"\n{table('answer, ms', [(n, Spread.of(v)) for n, v in times.items()])}\n")
    for name, size in sizes.items():
        print(f"{name}: a body of {size} bytes")


def _load(panel: Panel, path: str, until: float, took: list[float]) -> None:
    lock = threading.Lock()

    def caller() -> None:
        own: list[float] = []
        _read(panel, path, until, own)
        with lock:
            took.extend(own)

    with ThreadPoolExecutor(_CONNECTIONS) as callers:
        for done in [callers.submit(caller) for _ in range(_CONNECTIONS)]:
            done.result()


def _read(panel: Panel, path: str, until: float, took: list[float]) -> int:
    """Ask again and again over one connection; the size of a body."""
    connection = HTTPConnection(urlsplit(panel.api).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {panel.token}"}
    size = 0
    try:
        while time.monotonic() < until:
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            took.append((time.perf_counter() - began) * 1000)
            size = len(body)
            if answer.status != _OK:
                raise BenchError(f"{path} answered {answer.status}: {body.decode()}")
    finally:
        connection.close()
    return size


if __name__ == "__main__":
    sys.exit(main())

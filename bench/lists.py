"""`GET /api/services` with many services, through the one-machine runner: requests a second over eight connections.

Another process asks, so that asking and answering share the machine but not an interpreter. Before each measurement the
answer is looked at: as many rows as were asked for, the exact total. Ratios are to the recorded 70 requests a second of
Dokploy's list call on this kind of machine. `/api/health`, which reads one item, shows what the front and one read
alone take. Ends with 1 if the first page of 1,000 services comes less than five times as often as Dokploy's.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from bench.figures import machine
from bench.plane import BenchError, Panel, plane
from chalicelib.domain.words import new_id
from chalicelib.store.table import Table, definition
from infra.local.cloud import TABLE
from infra.local.dynamodb import DynamoDB
from infra.local.facade import Facade
from infra.local.wire import REGION
from tests import many

_CONNECTIONS = 8
_DOKPLOY = 70.0
_LEAST_RATIO = 5.0
_PATHS = {
    "health (one read)": "/api/health",
    "first page": "/api/services",
    "last page, by name": "/api/services?sort=name&page={last}",
    "search": "/api/services?search=wiki-1",
    "failed ones of page 2": "/api/services?status=failed&page=2",
    "100 a page": "/api/services?per_page=100",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each call")
    arguments = parser.parse_args()
    print(machine())
    rate = None
    for count in arguments.services:
        with tempfile.TemporaryDirectory(prefix="slipway-lists-") as folder:
            state = Path(folder)
            _seed(state, count)
            with plane(state, {}) as panel:
                first_page = _measure(panel, count, arguments.seconds)
        rate = first_page if count == 1000 else rate
    return 0 if rate is None or rate >= _DOKPLOY * _LEAST_RATIO else 1


def _measure(panel: Panel, count: int, seconds: float) -> float:
    began = time.perf_counter()
    listed = panel.get("services")
    cold = (time.perf_counter() - began) * 1000
    if listed["total"] != count or len(listed["data"]) != 20:
        raise BenchError(f"{count} services were stored, and the list says {listed['total']}")
    print(f"\n{count} services, {_CONNECTIONS} connections, {seconds:.0f} s each; the first list took {cold:.0f} ms\n")
    print("| call                  | requests/s | p50 ms | p99 ms | bytes | times Dokploy's 70 |")
    print("| --------------------- | ---------: | -----: | -----: | ----: | -----------------: |")
    rates = {}
    for name, template in _PATHS.items():
        path = template.format(last=-(-count // 20))
        times, size = _load(panel, path, seconds)
        rates[name] = len(times) / seconds
        p50, p99 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.99))
        ratio = f"{rates[name] / _DOKPLOY:18.1f}" if path != "/api/health" else f"{'':18}"
        print(f"| {name:21} | {rates[name]:10.0f} | {p50:6.2f} | {p99:6.2f} | {size:5d} | {ratio} |", flush=True)
    return rates["first page"]


def _load(panel: Panel, path: str, seconds: float) -> tuple[list[float], int]:
    """Each answer's time, sorted, and its length."""
    asking = multiprocessing.get_context("spawn")
    with asking.Pool(1) as pool:
        times, size = pool.apply(_ask, (panel.api, panel.token, path, seconds))
    return sorted(times), size


def _ask(api: str, token: str, path: str, seconds: float) -> tuple[list[float], int]:
    """One thread that keeps every connection busy: it asks again on each as soon as that has answered."""
    import selectors  # noqa: PLC0415  only the process that asks
    import socket  # noqa: PLC0415

    at = urlsplit(api)
    request = f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    waiting = selectors.DefaultSelector()
    size = _length(api, token, path)
    for _ in range(_CONNECTIONS):
        connection = socket.create_connection((at.hostname, at.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(connection, selectors.EVENT_READ, [time.perf_counter(), bytearray()])
        connection.sendall(request)
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while (moment := time.perf_counter()) < deadline:
        for key, _ in waiting.select(1):
            began, answer = key.data
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            answer += ready.recv(1 << 18)
            head, separator, body = answer.partition(b"\r\n\r\n")
            if not separator or len(body) < _announced(head):
                continue
            if not head.startswith(b"HTTP/1.1 200"):
                raise BenchError(bytes(answer[:500]).decode(errors="replace"))
            moment = time.perf_counter()
            times.append(moment - began)
            key.data[:] = [moment, bytearray()]
            ready.sendall(request)
    return times, size


def _announced(head: bytes | bytearray) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def _length(api: str, token: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(api).netloc, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    body = connection.getresponse().read()
    connection.close()
    json.loads(body)
    return len(body)


def _seed(state: Path, count: int) -> None:
    """Before the plane starts: into the journal it will find."""
    chance = random.Random(count)
    with _table(state) as (table, client):
        customers = list(many.customers(table, 100))
        many.store(table, client, TABLE, many.services(count, chance, customers, _hosts(20)))


def _hosts(count: int) -> Sequence[str]:
    return [new_id("host") for _ in range(count)]


@contextmanager
def _table(state: Path) -> Iterator[tuple[Table, object]]:
    database = DynamoDB(state / "dynamodb")
    with Facade() as facade:
        facade.offer("DynamoDB_20120810", database.answer)
        client = boto3.client(
            "dynamodb",
            endpoint_url=facade.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        client.create_table(**definition(TABLE))
        yield Table(client, TABLE), client
        client.close()
    database.close()


if __name__ == "__main__":
    sys.exit(main())

"""Live logs on a lab host: how late a line is, how many there may be, and what watching costs the host.

How late: a container writes 100 lines a second; each is timed from the moment Docker took it until a client has it, by
our WebSocket and, in the same seconds, by `ssh host docker logs -f`. How many: a container writes as fast as it may,
and the lines that followers got are counted, in both formats, for one follower and for 50. What it costs: the agent's
CPU and memory while 1,000 lines a second are watched; streams and SSH sessions on the host while 200 watch.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.figures import Spread, machine, table
from bench.plane import BenchError
from infra.local import images
from tests.journeys.conftest import register
from tests.journeys.plane import SETTINGS, Client, Plane
from tests.lab.hosts import Lab, LabHost

# Writes `burst` lines, sleeps, and so on; a hundred characters each.
_WRITES = """\
services:
  web:
    image: busybox:1
    init: true
    command:
      - sh
      - -c
      - |
        while [ ! -e /go ]; do usleep 50000; done
        n=0
        while true; do
          i=0
          while [ $$i -lt {burst} ]; do
            n=$$((n + 1)); i=$$((i + 1))
            echo "$$n ----------------------------------------------------------------------------------------"
          done
          {pause}
        done
"""
_LATENESS_S = 10.0
_SUSTAINED_S = 8.0
_MOST_LATER_MS = 100.0
_MOST_RSS_MB = 40.0
_TICKS = 100


@dataclass
class Ground:
    plane: Plane
    caller: Client
    host: LabHost
    host_id: str

    def writing(self, name: str, burst: int, pause: str) -> str:
        """A service that writes once it is told to, by `go`."""
        text = _WRITES.format(burst=burst, pause=pause)
        return self.caller.deploy(name, text, host_id=self.host_id)

    def go(self, service_id: str) -> None:
        self.host.docker("exec", self._container(service_id), "touch", "/go")

    def stop(self, service_id: str) -> None:
        self.host.docker("kill", self._container(service_id))
        self.caller.succeeded(self.caller.delete(service_id))

    def _container(self, service_id: str) -> str:
        return self.host.docker("ps", "--quiet", f"--filter=label=slipway.service={service_id}").strip()


@dataclass
class Followed:
    """What one follower got."""

    lines: int = 0
    late_ms: list[float] = field(default_factory=list)
    first_at: float = 0.0
    last_at: float = 0.0


@contextmanager
def ground(more: Mapping[str, str] | None = None) -> Iterator[Ground]:
    """A plane, with `more` settings, and one host with its agent."""
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        host = lab.host("bench")
        lab.images(images.EDGE, images.BUSYBOX)
        with Plane(Path(folder), {**SETTINGS, **(more or {})}, addresses=("127.0.0.1", lab.address)) as plane:
            caller = plane.client()
            made = register(caller, host, "bench")
            checked = caller.post(f"hosts/{made['id']}/check")
            if checked["status"] != "ready":
                raise BenchError(f"the host is not ready: {checked}")
            yield Ground(plane, caller, host, made["id"])


def main() -> int:
    argparse.ArgumentParser(prog="python -m bench.live", description=__doc__).parse_args()
    with ground() as scene:
        print(machine(), flush=True)
        ours, ssh = lateness(scene)
        rows = [("by Slipway's WebSocket", Spread.of(ours)), ("by ssh host docker logs -f", Spread.of(ssh))]
        print(table("from Docker's timestamp until the client has the line, ms", rows))
        later = _p99(ours) - _p99(ssh)
        print(
            f"p99: {_p99(ours):.1f} ms and {_p99(ssh):.1f} ms: {later:.1f} ms later (at most {_MOST_LATER_MS:.0f})\n",
            flush=True,
        )
        for form, followers in (("entry", 1), ("batch", 1), ("batch", 50), ("entry", 50)):
            print(sustained(scene, form, followers), flush=True)
        cpu, rss = cost(scene)
        print(f"\nthe agent at 1,000 lines/s: {cpu:.1f} % of a core, {rss:.1f} MB (at most {_MOST_RSS_MB:.0f} MB)")
        streams, sessions = crowd(scene, 200)
        print(f"200 followers: {streams} more connections to the engine than with none, {sessions} more SSH sessions")
    return 0 if later <= _MOST_LATER_MS and rss <= _MOST_RSS_MB and streams == 1 and sessions == 0 else 1


def lateness(scene: Ground) -> tuple[list[float], list[float]]:
    service_id = scene.writing("late", 1, "usleep 9000")
    container = scene._container(service_id)
    typed = _SSH(scene.host, container)
    scene.go(service_id)
    followed = asyncio.run(_follow(scene, service_id, "entry", 1, _LATENESS_S))[0]
    ssh = typed.end()
    scene.stop(service_id)
    # The first second is for both to begin.
    return followed.late_ms[100:], ssh[100:]


def sustained(scene: Ground, form: str, followers: int) -> str:
    service_id = scene.writing(f"flood-{form}-{followers}", 500, "usleep 1000")
    scene.go(service_id)
    got = asyncio.run(_follow(scene, service_id, form, followers, _SUSTAINED_S))
    scene.stop(service_id)
    rates = [one.lines / max(one.last_at - one.first_at, 0.001) for one in got if one.lines]
    each = statistics.median(rates) if rates else 0.0
    return f"format={form}, {followers} followers: {len(rates)} of them got {each:,.0f} lines/s each"


def cost(scene: Ground) -> tuple[float, float]:
    service_id = scene.writing("steady", 10, "usleep 9000")
    scene.go(service_id)
    pid = _agent(scene.host)

    async def measured() -> tuple[float, float]:
        following = asyncio.create_task(_follow(scene, service_id, "batch", 1, _SUSTAINED_S))
        await asyncio.sleep(2)
        before, at = _cpu_s(scene.host, pid), time.monotonic()
        await asyncio.sleep(_SUSTAINED_S - 3)
        percent = 100 * (_cpu_s(scene.host, pid) - before) / (time.monotonic() - at)
        rss = _rss_mb(scene.host, pid)
        (got,) = await following
        rate = got.lines / (got.last_at - got.first_at)
        print(f"(followed at {rate:,.0f} lines/s)")
        return percent, rss

    answer = asyncio.run(measured())
    scene.stop(service_id)
    return answer


def crowd(scene: Ground, followers: int) -> tuple[int, int]:
    service_id = scene.writing("crowd", 1, "usleep 100000")
    scene.go(service_id)
    agent = _agent(scene.host)
    before = _sessions(scene.host), _streams(scene.host, agent)

    async def counted() -> tuple[int, int]:
        following = asyncio.create_task(_follow(scene, service_id, "batch", followers, _SUSTAINED_S + 6))
        await asyncio.sleep(_SUSTAINED_S)
        seen = _streams(scene.host, agent) - before[1], _sessions(scene.host) - before[0]
        got = await following
        if any(not one.lines for one in got):
            raise BenchError(f"{sum(not one.lines for one in got)} of {followers} followers got nothing")
        return seen

    answer = asyncio.run(counted())
    scene.stop(service_id)
    return answer


async def _follow(scene: Ground, service_id: str, form: str, followers: int, seconds: float) -> list[Followed]:
    url = f"{scene.plane.websocket}/api/services/{service_id}/logs?follow=true&tail=0&format={form}"
    headers = {"Authorization": f"Bearer {scene.caller.token}"}
    got = [Followed() for _ in range(followers)]

    async def one(mine: Followed) -> None:
        async with connect(url, additional_headers=headers, proxy=None, open_timeout=60, max_size=1 << 20) as socket:
            await _read(socket, mine, time.monotonic() + seconds)

    await asyncio.gather(*(one(mine) for mine in got))
    return got


async def _read(socket: ClientConnection, mine: Followed, until: float) -> None:
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
            async for text in socket:
                _take(json.loads(text), mine)
    except (TimeoutError, ConnectionClosed):
        return


def _take(message: Any, mine: Followed) -> None:
    now = time.time()
    for entry in message if isinstance(message, list) else [message]:
        if entry["stream"] != "system":
            mine.first_at = mine.first_at or now
            mine.last_at = now
            mine.lines += 1
            mine.late_ms.append((now - _seconds(entry["timestamp"])) * 1000)


class _SSH:
    """`ssh host docker logs -f --timestamps`, and how late each of its lines is."""

    def __init__(self, host: LabHost, container: str) -> None:
        self._key = tempfile.NamedTemporaryFile("w")  # noqa: SIM115  it lives as long as this does
        self._key.write(host.private_key)
        self._key.flush()
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        words = ["ssh", "-i", self._key.name, *options, f"{host.user}@{host.address}"]
        self._process = subprocess.Popen(
            [*words, "docker", "logs", "--follow", "--timestamps", "--tail", "0", container], stdout=subprocess.PIPE
        )
        self._late: list[float] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def end(self) -> list[float]:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)
        self._key.close()
        return self._late

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._late.append((time.time() - _seconds(line.split(b" ", 1)[0].decode())) * 1000)


def _seconds(timestamp: str) -> float:
    """RFC 3339 with nanoseconds."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _agent(host: LabHost) -> str:
    """The agent's own process on the host, not the one that supervises it."""
    return host.exec("pgrep", "-f", "agent.pyz run").split()[-1]


def _cpu_s(host: LabHost, pid: str) -> float:
    fields = host.exec("cat", f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime, proc(5)


def _rss_mb(host: LabHost, pid: str) -> float:
    lines = host.exec("cat", f"/proc/{pid}/status").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _streams(host: LabHost, pid: str) -> int:
    """The agent's connections to the engine."""
    held = host.exec("sh", "-c", f"ls -l /proc/{pid}/fd | grep -o 'socket:.[0-9]*' | grep -o '[0-9]*'").split()
    unix = {line.split()[6] for line in host.exec("cat", f"/proc/{pid}/net/unix").splitlines()[1:]}
    return len(unix & set(held))


def _sessions(host: LabHost) -> int:
    return int(host.exec("sh", "-c", "pgrep -fc 'sshd: .*@notty' || true").strip())


if __name__ == "__main__":
    sys.exit(main())

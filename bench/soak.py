"""Minutes of streaming while every WebSocket, followers' and the agent's, is ended every 20 seconds: is a line lost?

A container counts on both streams; a follower comes back with its last cursor each time. Every number must arrive once,
in order on each stream.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import machine
from bench.plane import BenchError
from infra.local import images
from tests.journeys.conftest import register
from tests.journeys.plane import SETTINGS, Plane
from tests.journeys.watching import Watcher
from tests.lab.hosts import Lab

_LIFETIME_S = 20
_COUNTS = """\
services:
  web:
    image: busybox:1
    init: true
    command:
      - sh
      - -c
      - |
        n=0
        while true; do
          n=$$((n + 1))
          if [ $$((n % 3)) -eq 0 ]; then echo "err $$n" >&2; else echo "out $$n"; fi
          usleep 10000
        done
"""


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    asked.add_argument("--seconds", type=int, default=600)
    seconds = asked.parse_args().seconds
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        host = lab.host("soak")
        lab.images(images.EDGE, images.BUSYBOX)
        settings = SETTINGS | {"SLIPWAY_LOCAL_SOCKET_LIFETIME_SECONDS": str(_LIFETIME_S)}
        with Plane(Path(folder), settings, addresses=("127.0.0.1", lab.address)) as plane:
            caller = plane.client()
            made = register(caller, host, "soak")
            if caller.post(f"hosts/{made['id']}/check")["status"] != "ready":
                raise BenchError("the host is not ready")
            service_id = caller.deploy("soak", _COUNTS, host_id=made["id"])
            print(machine(), flush=True)
            with Watcher(plane.websocket, f"/api/services/{service_id}/logs", caller.token, tail="all") as watcher:
                time.sleep(seconds)
            caller.succeeded(caller.delete(service_id))
    return _account(watcher)


def _account(watcher: Watcher) -> int:
    got: dict[str, list[int]] = {"stdout": [], "stderr": []}
    for entry in watcher.entries:
        if entry["stream"] != "system":
            got[entry["stream"]].append(int(entry["message"].split()[1]))
    every = got["stdout"] + got["stderr"]
    missing = len(set(range(1, max(every) + 1)) - set(every))
    twice = len(every) - len(set(every))
    ordered = all(numbers == sorted(numbers) for numbers in got.values())
    # The streams are read apart: at the end one may be a few lines ahead.
    ahead = abs(max(got["stdout"]) - max(got["stderr"]))
    print(
        f"{len(every):,} lines over {watcher.connections} connections: {missing} missing, {twice} twice, "
        f"{'in order' if ordered else 'OUT OF ORDER'} on each stream (one stream was {ahead} ahead at the end)"
    )
    return 0 if missing <= ahead and not twice and ordered else 1


if __name__ == "__main__":
    sys.exit(main())

"""Minutes of streaming while every WebSocket, followers' and the agent's, is ended every 20 seconds: is a line lost?

A container counts on both streams; a follower comes back with its last cursor each time. Every number must arrive once,
in order on each stream.
"""

import argparse
import sys
import time

from bench.figures import machine
from bench.live import ground
from tests.journeys.watching import Watcher

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
    with ground({"SLIPWAY_LOCAL_SOCKET_LIFETIME_SECONDS": str(_LIFETIME_S)}) as scene:
        service_id = scene.caller.deploy("soak", _COUNTS, host_id=scene.host_id)
        print(machine(), flush=True)
        path = f"/api/services/{service_id}/logs"
        with Watcher(scene.plane.websocket, path, scene.caller.token, tail="all") as watcher:
            time.sleep(seconds)
        scene.caller.succeeded(scene.caller.delete(service_id))
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

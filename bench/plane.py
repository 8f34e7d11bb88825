"""The control plane in a process of its own, as the one-machine runner puts it together, without a host of its own.

Hosts are then added by the API, as anyone adds one. `python -m bench.plane STATE READY` is that process: it writes
`{"api", "token"}` to READY and serves until its standard input ends.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PROJECT = Path(__file__).resolve().parents[1]
_START_S = 30.0


class BenchError(Exception):
    """Something a bench rests on did not happen."""


@dataclass
class Panel:
    """A caller of the API over one kept connection."""

    api: str
    token: str

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {self.token}"

    def get(self, path: str) -> Any:
        return self._told(self._session.get(f"{self.api}/api/{path}", timeout=60))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._told(self._session.post(f"{self.api}/api/{path}", json=body, timeout=60))

    def delete(self, path: str) -> str:
        """The id of the job that removes it."""
        answer = self._session.delete(f"{self.api}/api/{path}", timeout=60)
        self._told(answer)
        return answer.headers.get("X-Job-Id", "")

    def finished(self, job_id: str, pause: float, seconds: float = 60.0) -> Any:
        """The job once it is over, looked for every `pause` seconds."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.get(f"jobs/{job_id}")
            if job["ended_at"]:
                return job
            if time.monotonic() > deadline:
                raise BenchError(f"job {job_id} did not end in {seconds:.0f} s: {job}")
            time.sleep(pause)

    def _told(self, response: requests.Response) -> Any:
        if not response.ok:
            raise BenchError(f"{response.request.method} {response.request.path_url}: {response.text}")
        return response.json() if response.content else None


@contextmanager
def plane(state: Path, settings: Mapping[str, str]) -> Iterator[Panel]:
    """A plane whose state lies in `state`, up."""
    ready = state / "ready.json"
    words = [sys.executable, "-m", "bench.plane", str(state), str(ready)]
    with (state / "plane.log").open("ab") as log:
        process = subprocess.Popen(
            words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **settings}
        )
    try:
        deadline = time.monotonic() + _START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"the plane did not start:\n{(state / 'plane.log').read_text()[-3000:]}")
            time.sleep(0.05)
        yield Panel(**json.loads(ready.read_text()))
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


def _serve(state: Path, ready: Path) -> None:
    from infra.local.cloud import Cloud  # noqa: PLC0415  only the process that serves needs them
    from infra.local.front import Front  # noqa: PLC0415
    from infra.local.gateway import Gateway  # noqa: PLC0415

    settings = {name: value for name, value in os.environ.items() if name.startswith("SLIPWAY_")}
    settings.setdefault("SLIPWAY_REQUESTS_PER_MINUTE", "0")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        cloud = Cloud(state, settings)
        try:
            with Front([listener], Gateway(cloud.app, cloud.config), cloud.sockets):
                _tell(ready, f"http://127.0.0.1:{listener.getsockname()[1]}")
                cloud.start_clock()
                sys.stdin.read()
        finally:
            cloud.close()


def _tell(ready: Path, api: str) -> None:
    # The settings are in the environment by now, and so is where AWS answers.
    from chalicelib.domain.panel import new_token  # noqa: PLC0415
    from chalicelib.domain.words import now  # noqa: PLC0415
    from chalicelib.wiring import adapters  # noqa: PLC0415
    from infra.local import bootstrap  # noqa: PLC0415

    bootstrap.warm_up()
    token, text = new_token("bench", "admin", None, None, now())
    adapters().tokens.add(token)
    fresh = ready.with_name("ready.new")
    fresh.write_text(json.dumps({"api": api, "token": text}))
    fresh.replace(ready)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))

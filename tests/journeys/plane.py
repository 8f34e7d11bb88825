"""A control plane in a process of its own, as `python -m infra.local up --no-host` makes it, and a client of its API.

What a journey asserts is what a caller of the API and root on the Docker host see; nothing of Slipway is imported.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import requests

from infra.local import images

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "SLIPWAY_EDGE_IMAGE": images.EDGE.reference,
    "SLIPWAY_EDGE_HTTP_PORT": "80",
    "SLIPWAY_HEALTH_TIMEOUT_SECONDS": "20",
    "SLIPWAY_GIT_ALLOWED_NETWORKS": "10.77.0.0/16",
    "SLIPWAY_MAX_REPOSITORY_MB": "100",
    "SLIPWAY_BUILD_TIMEOUT_SECONDS": "20",
}
Value = TypeVar("Value")
_OVER = {"succeeded", "failed", "cancelled"}
_READY_S = 30.0


class Plane:
    """Up when made; ended by SIGTERM, killed by SIGKILL, and up again on the same state and port."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str] = SETTINGS, addresses: Sequence[str] = ("127.0.0.1",)
    ) -> None:
        self.state = folder / "state"
        self.output = folder / "output"
        self._ready = folder / "ready.json"
        self._settings = settings
        self._addresses = addresses
        self.port = 0
        self._boot()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def restart(self, more: Mapping[str, str] | None = None) -> None:
        """End it as an operator does, and start it again, with `more` settings."""
        self._end()
        self._settings = {**self._settings, **(more or {})}
        self._boot()

    def kill(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Kill it without a word, and start it again on what it left."""
        self._process.kill()
        self._process.wait(10)
        self._ready.unlink(missing_ok=True)
        if meanwhile:
            meanwhile()
        self._boot()

    def client(self, token: str | None = None) -> "Client":
        """A caller of the API; the first admin where no other token is given."""
        return Client(self, token or self.token)

    def _boot(self) -> None:
        words = [sys.executable, "-m", "infra.local", "up", "--no-host", "--port", str(self.port)]
        words += [word for address in self._addresses for word in ("--address", address)]
        files = ["--state", str(self.state), "--ready-file", str(self._ready)]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*words, *files], cwd=PROJECT, env={**os.environ, **self._settings}, stdout=output, stderr=output
            )
        try:
            told = self._told()
        except BaseException:
            self._process.kill()
            self._process.wait(10)
            raise
        self.api, self.token, self.customer_id = told["api"], told["token"], told["customer_id"]
        self.websocket = told["websocket"]
        self.port = int(self.api.rpartition(":")[2])

    def _told(self) -> dict[str, str]:
        deadline = time.monotonic() + _READY_S
        while not self._ready.exists():
            assert self._process.poll() is None, f"it ended: {self.output.read_text()}"
            assert time.monotonic() < deadline, f"not ready: {self.output.read_text()}"
            time.sleep(0.05)
        told: dict[str, str] = json.loads(self._ready.read_text())
        return told

    def _end(self) -> None:
        self._process.terminate()
        try:
            code = self._process.wait(30)
        finally:
            self._process.kill()
        assert code == 0, self.output.read_text()
        assert not self._ready.exists()


class Client:
    """One caller. `made` is every service it created, for whoever cleans up after it."""

    def __init__(self, plane: Plane, token: str) -> None:
        self._plane, self.token = plane, token
        self._session = requests.Session()
        self._session.trust_env = False
        self.made: list[str] = []

    def ask(self, method: str, path: str, content: Any = None, **parameters: Any) -> requests.Response:
        return self._session.request(
            method,
            f"{self._plane.api}/api/{path}",
            json=content,
            params=parameters,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )

    def get(self, path: str, **parameters: Any) -> Any:
        return _told(self.ask("GET", path, **parameters))

    def post(self, path: str, content: Any = None) -> Any:
        return _told(self.ask("POST", path, content))

    def refusal(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        """The error that this is answered with, and its status beside it."""
        response = self.ask(method, path, content)
        assert not response.ok, response.text
        error: dict[str, Any] = response.json()["error"]
        return {"status": response.status_code, **error}

    def create(self, name: str, compose: str, **more: Any) -> Any:
        """A service from a compose text, and the job that deploys it."""
        wanted = {"customer_id": self._plane.customer_id, "deploy_method": "compose", "compose": compose}
        made = self.post("services", {"name": name, **wanted, **more})
        self.made.append(made["id"])
        return made

    def create_from(self, name: str, git_url: str, **more: Any) -> Any:
        """A service from a repository, and the job that deploys it."""
        return self._create_from(name, deploy_method="git", git_url=git_url, **more)

    def create_by_ai(self, name: str, ai_url: str, **more: Any) -> Any:
        """The same, with a model beside the rules."""
        return self._create_from(name, deploy_method="ai", ai_url=ai_url, **more)

    def _create_from(self, name: str, **more: Any) -> Any:
        wanted = {"customer_id": self._plane.customer_id}
        made = self.post("services", {"name": name, **wanted, **more})
        self.made.append(made["id"])
        return made

    def deploy(self, name: str, compose: str, **more: Any) -> str:
        """The id of a service that runs."""
        made = self.create(name, compose, **more)
        self.succeeded(made["deploy_job_id"])
        return str(made["id"])

    def redeploy(self, service_id: str) -> str:
        return str(self.post(f"services/{service_id}/redeploy")["deploy_job_id"])

    def delete(self, service_id: str) -> str:
        """The job that takes the service off its host."""
        response = self.ask("DELETE", f"services/{service_id}")
        assert (response.status_code, response.content) == (204, b""), response.text
        return response.headers["X-Job-Id"]

    def ended(self, job_id: str, seconds: float = 120) -> Any:
        """The job, once it is over."""
        deadline = time.monotonic() + seconds
        job = self.get(f"jobs/{job_id}")
        while job["status"] not in _OVER:
            assert time.monotonic() < deadline, job
            job = self.get(f"jobs/{job_id}", wait=10)
        return job

    def succeeded(self, job_id: str, seconds: float = 120) -> Any:
        job = self.ended(job_id, seconds)
        assert job["status"] == "succeeded", job
        return job

    def failed(self, job_id: str, seconds: float = 120) -> Any:
        job = self.ended(job_id, seconds)
        assert job["status"] == "failed", job
        return job

    def at_step(self, job_id: str, step: str, seconds: float = 30) -> Any:
        """The job, once it has begun this step."""
        return eventually(lambda: _begun(self.get(f"jobs/{job_id}"), step), f"{job_id} is at {step}", seconds)

    def timeline(self, service_id: str) -> list[tuple[str, str, str]]:
        events = self.get(f"services/{service_id}/events", per_page=100)["data"]
        return [(event["type"], event["status"], event["message"]) for event in events]


def eventually(look: Callable[[], Value], what: str, seconds: float = 60) -> Value:
    """The first look that is true, until the time is over."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return seen


def _begun(job: dict[str, Any], step: str) -> dict[str, Any] | None:
    assert job["status"] not in _OVER or any(one["name"] == step for one in job["steps"]), job
    return job if any(one["name"] == step for one in job["steps"]) else None


def _told(response: requests.Response) -> Any:
    assert response.ok, f"{response.request.method} {response.request.path_url}: {response.text}"
    return response.json()

"""A redeploy from a repository against `git fetch && docker compose up -d --build --wait` typed on the same host.

Each round commits a change of one file below a cached layer. Both then fetch, build and replace what runs, and are
timed from the first word until the change answers HTTP: Compose's at its published port, ours through the edge once the
job has ended. The typed way has its clone, its layers and its connection warm, as ours has; both build by the classic
builder.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.deploy import Typist, ground, typing_on
from bench.figures import Spread, machine, table
from bench.plane import BenchError, Panel
from chalicelib.domain.words import parse_time
from infra.local import images
from tests.lab.git_server import GitServer, Repository
from tests.lab.hosts import LabHost

_PORT = 18081
_EDGE_PORT = 80
_ANSWER_S = 20.0
_MOST_RATIO = 1.5
_DOCKERFILE = f"""\
FROM {images.DEMO.reference}
COPY packages /www/packages
RUN sleep 1 && cp /www/packages /www/installed
COPY version /www/version
EXPOSE 8000
"""
_COMPOSE = f"services: {{web: {{build: ., ports: ['{_PORT}:8000']}}}}\n"
_TYPED = (
    "cd typed && git fetch -q && git reset -q --hard origin/main"
    " && DOCKER_BUILDKIT=0 docker compose up -d --build --wait"
)


@dataclass
class Measured:
    """Milliseconds, one entry a round."""

    typed: list[float] = field(default_factory=list)
    deployed: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.git_deploy", description=__doc__)
    asked.add_argument("--rounds", type=int, default=12, help="deploys of each, in turns (%(default)s)")
    arguments = asked.parse_args()
    networks = {"SLIPWAY_GIT_ALLOWED_NETWORKS": "10.77.0.0/16"}
    with (
        ground(networks) as (panel, host, host_id),
        tempfile.TemporaryDirectory() as folder,
        GitServer(Path(folder), host.address.rpartition(".")[0] + ".1") as server,
    ):
        print(machine(), flush=True)
        measured = run(panel, host, host_id, server, arguments.rounds)
    print(report(measured))
    return 0 if ratio(measured) <= _MOST_RATIO else 1


def run(panel: Panel, host: LabHost, host_id: str, server: GitServer, rounds: int) -> Measured:
    measured = Measured()
    repository = server.repository("bench")
    # What is typed publishes a port, and what is deployed is routed: each its own way to be reached.
    files = {"Dockerfile": _DOCKERFILE, "packages": "a lock file\n", "version": "0\n"}
    repository.commit(files)
    customer = panel.post("customers", {"name": "Bench"})["id"]
    wanted = {"customer_id": customer, "host_id": host_id, "deploy_method": "git", "git_url": repository.url}
    made = panel.post("services", {**wanted, "name": "bench-git", "git_branch": "main"})
    _ended(panel, made["deploy_job_id"])
    with typing_on(host) as typist:
        typist.type(f'git clone -q {repository.url} typed && cd typed && printf %s "{_COMPOSE}" > compose.yaml')
        for number in range(1, rounds + 2):
            kept = measured if number > 1 else Measured()  # the first of each pays for caches
            kept.typed.append(_typed(typist, host, repository, f"{number}-typed\n"))
            _deployed(panel, host, repository, made["id"], f"{number}-deployed\n", kept)
        typist.type("cd typed && docker compose down --timeout 1")
    panel.finished(panel.delete(f"services/{made['id']}"), 0.1)
    return measured


def ratio(measured: Measured) -> float:
    return statistics.median(measured.deployed) / statistics.median(measured.typed)


def report(measured: Measured) -> str:
    whole = [
        ("git fetch && compose up -d --build --wait", Spread.of(measured.typed)),
        ("redeployed", Spread.of(measured.deployed)),
    ]
    stages = [(name, Spread.of(values)) for name, values in measured.stages.items()]
    return (
        f"\n{table('until the change answers, ms', whole)}\n\n"
        f"redeployed / typed: {ratio(measured):.2f} by medians (at most {_MOST_RATIO})\n\n"
        f"{table('of a redeploy, by step, ms', stages)}"
    )


def _typed(typist: Typist, host: LabHost, repository: Repository, version: str) -> float:
    repository.commit({"version": version})
    began = time.perf_counter()
    typist.type(_TYPED)
    _await(host.address, _PORT, "typed", version)
    return _since(began)


def _deployed(
    panel: Panel, host: LabHost, repository: Repository, service_id: str, version: str, measured: Measured
) -> None:
    repository.commit({"version": version})
    began = time.perf_counter()
    job = _ended(panel, panel.post(f"services/{service_id}/redeploy")["deploy_job_id"])
    _await(host.address, _EDGE_PORT, "bench-git.bench.test", version)
    measured.deployed.append(_since(began))
    for step in job["steps"]:
        measured.stages.setdefault(step["name"], []).append(_lasted(step))


def _ended(panel: Panel, job_id: str) -> Any:
    job = panel.finished(job_id, 0.02)
    if job["status"] != "succeeded":
        raise BenchError(f"the job ended {job['status']}: {json.dumps(job['error'])}")
    return job


def _lasted(step: dict[str, Any]) -> float:
    return (parse_time(step["ended_at"]) - parse_time(step["started_at"])).total_seconds() * 1000


def _await(address: str, port: int, host: str, version: str) -> None:
    """Returns at the first answer that is this version."""
    deadline = time.monotonic() + _ANSWER_S
    while _said(address, port, host) != version:
        if time.monotonic() > deadline:
            raise BenchError(f"{host} at {address}:{port} does not answer {version!r} after {_ANSWER_S:.0f} s")
        time.sleep(0.005)


def _said(address: str, port: int, host: str) -> str | None:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/version", headers={"Host": host})
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())

"""`python -m infra.local up`: what it refuses in one line, and a whole life with a kill in it."""

import fcntl
import json
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.cloud import PROJECT
from infra.local.runner import _PrivateLog


def _words(state: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "infra.local", "up", "--state", str(state), *more]


def _refusal(state: Path, *more: str) -> str:
    ended = subprocess.run(_words(state, *more), cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode in {1, 2}
    assert ended.stdout == ""
    return ended.stderr


def test_a_state_folder_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        assert _refusal(tmp_path, "--port", "0") == (f"slipway: {tmp_path} is in use by another runner, process 4711\n")


def test_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert _refusal(tmp_path, "--port", port) == f"slipway: cannot listen on port {port}: Address already in use\n"


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = _refusal(tmp_path / "file" / "state", "--port", "0")
    assert said.startswith(f"slipway: cannot keep state in {tmp_path}/file/state: ")
    assert said.count("\n") == 1


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "a port is 0 to 65535" in _refusal(tmp_path, "--port", "70000")


def test_the_log_is_its_owners_alone_and_so_are_those_it_was_before(tmp_path: Path) -> None:
    (tmp_path / "slipway.log").write_text("from before\n")
    (tmp_path / "slipway.log").chmod(0o644)
    log = _PrivateLog(tmp_path / "slipway.log", maxBytes=10, backupCount=2)

    try:
        for line in ("the first line", "the second"):
            log.emit(logging.LogRecord("x", logging.INFO, "", 0, line, None, None))
    finally:
        log.close()

    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["slipway.log", "slipway.log.1", "slipway.log.2"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert files[-1].read_text() == "from before\n"


class Running:
    """A runner in a process of its own, and its API."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Path) -> None:
        self.process = process
        deadline = time.monotonic() + 120
        while not ready.exists():
            assert process.poll() is None, "the runner ended"
            assert time.monotonic() < deadline, "the runner did not get ready"
            time.sleep(0.05)
        self.told: dict[str, str] = json.loads(ready.read_text())

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method,
                f"{self.told['api']}/api/{path}",
                json=content,
                headers={"Authorization": f"Bearer {self.told['token']}"},
                timeout=40,
            )
        assert answer.ok, answer.text
        return answer.json()

    def deploy(self, name: str) -> Any:
        wanted = {"customer_id": self.told["customer_id"], "deploy_method": "template", "template_id": "demo"}
        return self.ask("POST", "services", {"name": name, **wanted})

    def ended(self, job_id: str) -> Any:
        deadline = time.monotonic() + 60
        job: dict[str, Any] = {}
        while job.get("status") not in {"succeeded", "failed", "cancelled"}:
            assert time.monotonic() < deadline, job
            job = self.ask("GET", f"jobs/{job_id}?wait=20")
        return job


@contextmanager
def _running(state: Path, port: int = 0, ready: Path | None = None) -> Iterator[Running]:
    ready = ready or state.with_name("ready.json")
    ready.unlink(missing_ok=True)
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}  # an engine of our own
    words = _words(state, "--port", str(port), "--ready-file", str(ready))
    with subprocess.Popen(words, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield Running(process, ready)
        finally:
            process.terminate()
            code = process.wait(60)
    assert code in {0, -signal.SIGKILL}
    assert ready.exists() == (code == -signal.SIGKILL)


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_a_kill_in_the_middle_of_a_deploy_loses_nothing_and_the_next_start_finishes_it(state_dir: Path) -> None:
    with _running(state_dir) as runner:
        before = runner.told
        service = runner.deploy("shop")
        runner.process.kill()
        runner.process.wait(10)

    with _running(state_dir) as runner:
        assert {name: runner.told[name] for name in ("token", "host_id", "customer_id")} == {
            name: before[name] for name in ("token", "host_id", "customer_id")
        }
        job = runner.ended(service["deploy_job_id"])
        assert (job["status"], job["error"]) == ("succeeded", None)
        assert runner.ask("GET", f"services/{service['id']}")["status"] == "running"
        url = runner.ask("GET", f"services/{service['id']}")["url"]
        assert _page(url).startswith("<!doctype html>")

    with _running(state_dir) as runner:
        assert [row["name"] for row in runner.ask("GET", "services")["data"]] == ["shop"]
        assert "Hello from shop" in _page(url)


@pytest.mark.docker
@pytest.mark.usefixtures("own_network")
def test_the_first_deploy_goes_as_the_readme_tells_it(state_dir: Path) -> None:
    here = state_dir.with_name(".state")
    told = (PROJECT / "README.md").read_text().partition("## A first deploy")[2].partition("\n## ")[0]
    deploy, visit = re.findall(r"```sh\n(.*?)```", told, re.DOTALL)

    with _running(here, 8000, here / "ready.json") as runner:
        said = subprocess.run(
            ["bash", "-euc", deploy], cwd=here.parent, capture_output=True, text=True, check=True, timeout=60
        )
        runner.ended(json.loads(said.stdout)["deploy_job_id"])
        page = subprocess.run(["bash", "-euc", visit], capture_output=True, text=True, check=True, timeout=60)

    assert "<h1>Hello from hello</h1>" in page.stdout


def _page(url: str) -> str:
    """Python does not resolve `<name>.localhost`: it is 127.0.0.1 with that name."""
    name, _, port = url.removeprefix("http://").partition(":")
    deadline = time.monotonic() + 30
    while True:
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.get(f"http://127.0.0.1:{port}/", headers={"Host": name}, timeout=5)
                if answer.ok:
                    return answer.text
            except requests.ConnectionError:
                pass
        assert time.monotonic() < deadline, url
        time.sleep(0.1)

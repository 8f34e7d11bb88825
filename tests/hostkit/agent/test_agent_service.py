"""Whoever keeps the agent running: our own supervisor on a lab host, and what systemd is told where there is one."""

import hashlib
import io
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chalicelib.commands import agent, kit
from chalicelib.domain.errors import CommandFailed
from chalicelib.hostkit import agent_service
from chalicelib.ssh import RemoteHost, connected
from tests.hostkit.agent.conftest import AgentOnHost
from tests.hostkit.agent.control import Control
from tests.hostkit.conftest import address, eventually
from tests.lab.hosts import LabHost

PROGRAM, CONFIG = ".slipway/agent/agent.pyz", ".slipway/agent/config.json"


@pytest.fixture
def remote_only(lab_host: LabHost) -> RemoteHost:
    return connected(address(lab_host))


def ask(remote: RemoteHost, action: Any) -> dict[str, Any]:
    return remote.kit(kit.agent(action), 40)


def processes(host: LabHost) -> list[str]:
    listed = host.exec("ps", "-eo", "pid,args").splitlines()
    return [line.strip() for line in listed if "agent.pyz" in line]


def boots(control: Control) -> set[str]:
    return {batch["agent"]["boot"] for batch in control.batches}


@pytest.mark.lab
def test_the_agent_is_put_there_runs_and_ends_when_told(
    remote_only: RemoteHost, lab_host: LabHost, control: Control
) -> None:
    with pytest.raises(CommandFailed, match="not on this host yet"):
        ask(remote_only, "ensure")
    remote_only.put(PROGRAM, agent.package(), 10)
    remote_only.put(CONFIG, json.dumps(control.config()).encode(), 10)
    assert ask(remote_only, "status")["running"] is False

    first = ask(remote_only, "ensure")
    assert (first["running"], first["supervisor"], first["version"]) == (True, "process", agent.version())
    assert first["sha256"] == agent.sha256()
    control.until(lambda: control.connected)
    before = processes(lab_host)
    assert ask(remote_only, "ensure") == first
    assert processes(lab_host) == before
    assert len(before) == 2

    assert ask(remote_only, "stop")["running"] is False
    assert processes(lab_host) == []
    assert ask(remote_only, "stop")["supervisor"] is None
    lab_host.exec("rm", "-rf", f"/home/{lab_host.user}/.slipway/agent")


@pytest.fixture
def kept(remote_only: RemoteHost, on_host: AgentOnHost) -> Any:
    """An agent under its supervisor."""
    ask(remote_only, "ensure")
    on_host.control.until(lambda: on_host.control.connected)
    yield remote_only
    ask(remote_only, "stop")
    assert processes(on_host.host) == []


@pytest.mark.lab
def test_an_agent_that_is_killed_is_started_again_as_itself(
    kept: RemoteHost, on_host: AgentOnHost, control: Control
) -> None:
    (pid,) = [line.split()[0] for line in processes(on_host.host) if " run " in line]
    on_host.host.exec("kill", "-KILL", pid)

    eventually(lambda: [line for line in processes(on_host.host) if " run " in line and line.split()[0] != pid], 20)
    control.until(lambda: control.connected)
    assert len(boots(control)) == 1


@pytest.mark.lab
def test_an_agent_ends_with_its_supervisor_however_that_ends(kept: RemoteHost, on_host: AgentOnHost) -> None:
    (pid,) = [line.split()[0] for line in processes(on_host.host) if line.endswith("supervise")]
    on_host.host.exec("kill", "-KILL", pid)

    eventually(lambda: processes(on_host.host) == [])
    assert ask(kept, "ensure")["running"] is True
    assert len(processes(on_host.host)) == 2


@pytest.mark.lab
def test_another_configuration_or_program_restarts_it(kept: RemoteHost, on_host: AgentOnHost, control: Control) -> None:
    before = processes(on_host.host)
    control.token = "fresh"
    kept.put(CONFIG, json.dumps(control.config()).encode(), 10)

    assert ask(kept, "ensure")["running"] is True

    assert not set(before) & set(processes(on_host.host))
    seen = len(control.batches)
    control.until(lambda: len(control.batches) > seen)


@pytest.mark.lab
def test_a_newer_agent_replaces_the_one_at_work_and_nothing_is_lost(
    kept: RemoteHost, on_host: AgentOnHost, control: Control, service: str
) -> None:
    on_host.run(service, "i=0; while true; do echo $i; i=$((i+1)); usleep 5000; done")
    follower = control.follow(service, tail="all")
    control.until(lambda: len(follower.got) > 100)
    newer = newer_agent()
    control.package = newer

    control.until(lambda: control.batches[-1]["agent"]["version"] == newer[0], 30)
    count = len(follower.got)
    control.until(lambda: len(follower.got) > count + 100)
    assert [int(text) for text in follower.messages()] == list(range(len(follower.got)))
    assert ask(kept, "status")["version"] == newer[0]
    assert len(boots(control)) == 1


@pytest.mark.lab
def test_what_is_no_agent_never_replaces_one(kept: RemoteHost, on_host: AgentOnHost, control: Control) -> None:
    version, sha256, _ = newer_agent()
    control.package = (version, sha256, b"something else")
    time.sleep(3)

    assert ask(kept, "status")["version"] == agent.version()
    assert "is not it" in on_host.read("agent.log")


def newer_agent() -> tuple[str, str, bytes]:
    """The same agent under another version."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(agent.package())) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"fedcba987654" if name.endswith("VERSION") else old.read(name))
    return "fedcba987654", hashlib.sha256(packed.getvalue()).hexdigest(), packed.getvalue()


# where there is systemd


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an agent in it, on a machine whose systemctl and loginctl note what they are told."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    for folder in (programs, home / ".slipway/agent", tmp_path / "linger", tmp_path / "systemd"):
        folder.mkdir(parents=True)
    for name in ("systemctl", "loginctl"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/told\n')
        (programs / name).chmod(0o755)
    (home / PROGRAM).write_bytes(agent.package())
    (home / CONFIG).write_text('{"url": "u", "websocket_url": "w", "token": "aap_h1_x_secret", "host_id": "h"}')
    monkeypatch.chdir(home)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(agent_service, "SYSTEMD", str(tmp_path / "systemd"))
    monkeypatch.setattr(agent_service, "LINGER", f"{tmp_path}/linger/")
    monkeypatch.setattr(agent_service, "STARTS_S", 0.1)
    (tmp_path / "told").touch()
    return tmp_path


def told(folder: Path) -> list[str]:
    return (folder / "told").read_text().splitlines()


def test_systemd_gets_a_unit_of_the_user_that_runs_without_a_login(systemd: Path) -> None:
    (systemd / "linger" / "root").touch()

    answer = agent_service.agent({"action": "ensure"})

    assert answer["supervisor"] == "systemd"
    assert told(systemd) == [
        "systemctl --user show-environment",
        "systemctl --user daemon-reload",
        "systemctl --user enable slipway-agent.service",
        "systemctl --user restart slipway-agent.service",
    ]
    unit = (systemd / "home/.config/systemd/user/slipway-agent.service").read_text()
    assert "-I -S %h/.slipway/agent/agent.pyz run" in unit
    assert "Restart=always" in unit

    agent_service.agent({"action": "stop"})
    assert told(systemd)[4:] == ["systemctl --user disable --now slipway-agent.service"]
    assert not (systemd / "home/.config/systemd/user/slipway-agent.service").exists()


def test_a_user_who_may_not_linger_gets_a_supervisor_of_our_own(systemd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(agent_service, "_start_supervisor", lambda: started.append(True))

    agent_service.agent({"action": "ensure"})

    assert started
    assert told(systemd) == ["systemctl --user show-environment", "loginctl enable-linger"]

"""Logs as they are written: nothing lost, nothing twice, in order, whatever is cut in between."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from infra.local import images
from tests.journeys.conftest import DockerHost, Stage, clean_up, register
from tests.journeys.cutting import Wire
from tests.journeys.plane import SETTINGS, Client, Plane, eventually
from tests.journeys.watching import Watcher
from tests.lab.hosts import Lab

pytestmark = pytest.mark.lab

# Counts on both streams; Docker rotates its log meanwhile.
COUNTS = """\
services:
  web:
    image: busybox:1
    init: true
    logging: {{driver: json-file, options: {{max-size: 2m, max-file: "5"}}}}
    command:
      - sh
      - -c
      - |
        n=0
        while [ $$n -lt {lines} ]; do
          i=0
          while [ $$i -lt {burst} ]; do
            n=$$((n + 1)); i=$$((i + 1))
            if [ $$((n % 3)) -eq 0 ]; then echo "err $$n" >&2; else echo "out $$n"; fi
          done
          usleep {pause}
        done
        echo the end
        exec sleep 100000
"""
TALKS = """\
services:
  web:
    image: busybox:1
    init: true
    command: ["sh", "-c", "n=0; while true; do n=$$((n+1)); echo line $$n; sleep 0.2; done"]
  side:
    image: busybox:1
    init: true
    deploy: {replicas: 2}
    command: ["sh", "-c", "while true; do echo here; sleep 0.3; done"]
"""


def counts(lines: int, burst: int, pause_us: int) -> str:
    return COUNTS.format(lines=lines, burst=burst, pause=pause_us)


@pytest.fixture
def service(admin: Client, host: DockerHost) -> str:
    return admin.deploy("talks", TALKS, host_id=host.id)


def path(service_id: str) -> str:
    return f"/api/services/{service_id}/logs"


def test_lines_come_as_they_are_written_after_the_backlog_and_name_their_container(
    plane: Plane, admin: Client, service: str
) -> None:
    with Watcher(plane.websocket, path(service), admin.token, tail="5") as watcher:
        watcher.await_(lambda one: len(one.messages()) > 30, "30 lines")

    lines = [int(entry["message"].split()[1]) for entry in watcher.entries if entry["container"] == "web"]
    assert lines == list(range(lines[0], lines[0] + len(lines)))
    assert {entry["container"] for entry in watcher.entries} == {"web", "side-1", "side-2"}
    assert all(entry["cursor"] for entry in watcher.entries)


@pytest.mark.usefixtures("process")
def test_many_watch_and_the_host_is_read_once_and_asked_nothing_by_ssh(
    plane: Plane, admin: Client, host: DockerHost, service: str
) -> None:
    with ExitStack() as open_:
        watchers = [
            open_.enter_context(Watcher(plane.websocket, path(service), admin.token, tail="1", format=form))
            for form in ("entry", "batch") * 10
        ]
        for watcher in watchers:
            watcher.await_(lambda one: len(one.messages()) > 5, "5 lines each")
        sessions = host.lab.exec("sh", "-c", "ps -eo args | grep -c '[s]shd: .*@notty' || true").strip()
        followed = host.lab.exec("sh", "-c", "ss -xp state connected src /var/run/docker.sock | wc -l").strip()
    assert int(sessions) <= 2, sessions  # the control plane's own connection, and its child
    assert int(followed) < 20, followed


def test_another_customers_token_opens_nothing(plane: Plane, admin: Client, service: str) -> None:
    stranger = admin.post("customers", {"name": "Other"})["id"]
    token = admin.post("tokens", {"name": "t", "role": "viewer", "customer_id": stranger})["token"]

    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"{plane.websocket}{path(service)}?follow=true",
            additional_headers={"Authorization": f"Bearer {token}"},
            proxy=None,
        )

    assert refused.value.response.status_code == 404


def test_a_jobs_output_is_followed_to_its_outcome(plane: Plane, admin: Client, host: DockerHost) -> None:
    made = admin.create("watched", TALKS, host_id=host.id)

    with Watcher(plane.websocket, f"/api/jobs/{made['deploy_job_id']}/logs", admin.token) as watcher:
        watcher.await_(lambda one: any("job" in entry for entry in one.entries), "its outcome")

    (outcome,) = [entry for entry in watcher.entries if "job" in entry][:1]
    assert outcome["job"]["status"] == "succeeded"
    assert any("Started" in line for line in watcher.messages()), watcher.entries
    read = admin.get(f"jobs/{made['deploy_job_id']}/logs")["logs"]
    assert any("Started" in entry["message"] for entry in read)


def test_the_last_words_of_a_replaced_container_are_read_afterwards(admin: Client, host: DockerHost) -> None:
    once = TALKS.replace("echo line", "echo before")
    service_id = admin.deploy("replaced", once, host_id=host.id)
    job = admin.ask("PATCH", f"services/{service_id}", {"compose": TALKS}).json()["deploy_job_id"]
    admin.succeeded(job)

    read = eventually(
        lambda: [entry for entry in admin.get(f"services/{service_id}/logs", tail=2000)["logs"]
                 if entry["message"].startswith("before")],
        "lines of the container that was replaced",
    )  # fmt: skip

    assert read[0]["container"] == "web"


def test_a_container_that_is_killed_is_told_of_in_the_timeline_and_by_the_status(
    admin: Client, host: DockerHost, service: str
) -> None:
    time.sleep(6)  # what happens just after a job is taken for the job's own doing
    # `docker kill` would send it to the container's init, which is immune
    init = host.inspect(host.container(service), "{{.State.Pid}}")
    host.lab.exec("pkill", "-SEGV", "-P", init)

    eventually(
        lambda: any("web exited with code 139" in message for _, _, message in admin.timeline(service)),
        "the death in the timeline",
    )
    eventually(lambda: admin.get(f"services/{service}")["resources"]["cpu_usage"] is not None, "figures")


@pytest.fixture
def cut_stage(lab: Lab, stage: Stage, tmp_path: Path) -> Iterator[tuple[Plane, Client, DockerHost, Wire]]:
    """A control plane whose every connection, agents' and followers', goes over a wire that can be cut."""
    (lab_host,) = lab.hosts("cut")
    lab_host.load(images.BUSYBOX, images.EDGE)
    address = lab.address
    with (
        Plane(
            tmp_path, SETTINGS | {"SLIPWAY_NETWORK_POOL": "10.203.0.0/16"}, addresses=("127.0.0.1", address)
        ) as plane,
        Wire(address, (address, plane.port)) as wire,
    ):
        over = f"{address}:{wire.port}"
        plane.restart({"SLIPWAY_PUBLIC_URL": f"http://{over}", "SLIPWAY_WEBSOCKET_URL": f"ws://{over}"})
        admin = plane.client()
        made = register(admin, lab_host, "cut")
        assert admin.post(f"hosts/{made['id']}/check")["status"] == "ready"
        yield plane, admin, DockerHost(made["id"], lab_host), wire
        clean_up(admin, Stage(plane, (DockerHost(made["id"], lab_host),) * 2))


def follow_through(
    stage: tuple[Plane, Client, DockerHost, Wire], lines: int, burst: int, pause_us: int, cuts: tuple[float, float],
    partition_s: float, seconds: float, **parameters: Any,
) -> Watcher:  # fmt: skip
    """Everything that a container counts, over a wire that is cut all the time, and a host that is cut off once."""
    _, admin, host, wire = stage
    service_id = admin.deploy("counts", counts(lines, burst, pause_us), host_id=host.id)
    base = f"ws://{wire.address}:{wire.port}"
    with Watcher(base, path(service_id), admin.token, tail="all", **parameters) as watcher:
        watcher.await_(lambda one: len(one.messages()) > lines // 20, "the first lines", 60)
        wire.cutting(*cuts, random.Random(7))
        host.lab.cut()
        time.sleep(partition_s)
        host.lab.heal()
        watcher.await_(lambda one: "the end" in one.messages()[-2:], "the end", seconds)
    return watcher


def hold_to_account(watcher: Watcher, lines: int) -> None:
    """Received is what was written, once and in order on each stream, but for what a gap entry owns up to."""
    numbers: dict[str, list[int]] = {"stdout": [], "stderr": []}
    for entry in watcher.entries:
        if entry["stream"] != "system" and entry["message"] != "the end":
            numbers[entry["stream"]].append(int(entry["message"].split()[1]))
    for stream, got in numbers.items():
        assert got == sorted(set(got)), f"{stream} is out of order or has repeats"
    missing = set(range(1, lines + 1)) - set(numbers["stdout"]) - set(numbers["stderr"])
    gaps = [entry for entry in watcher.system() if "lost" in entry["message"]]
    assert not missing or gaps, f"{len(missing)} lines are missing without a word: {sorted(missing)[:10]}"
    assert not missing, f"{len(missing)} lines were lost to rotation, as {len(gaps)} entries say"


def test_nothing_is_lost_or_repeated_while_connections_are_cut(
    cut_stage: tuple[Plane, Client, DockerHost, Wire],
) -> None:
    watcher = follow_through(cut_stage, 6_000, 20, 10_000, (0.3, 1.5), 2.0, 300)

    assert watcher.connections > 3
    hold_to_account(watcher, 6_000)


@pytest.mark.long
def test_a_hundred_thousand_lines_survive_cuts_and_rotation(
    cut_stage: tuple[Plane, Client, DockerHost, Wire],
) -> None:
    watcher = follow_through(cut_stage, 100_000, 100, 30_000, (1, 5), 8.0, 500, format="batch")

    assert watcher.connections > 5
    hold_to_account(watcher, 100_000)

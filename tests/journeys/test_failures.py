"""What does not become healthy, is cancelled or is refused: what ran before runs on, and every answer says why."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from infra.local import images
from tests.journeys.conftest import DockerHost, publish
from tests.journeys.plane import Client, Plane, eventually
from tests.journeys.texts import CRASHES, DEMO, PORT_TAKEN, SHAKY, SHOP
from tests.lab.hosts import Lab

GOOD = replace(images.DEMO, reference="team/shaky:1")
BAD = replace(GOOD, changes=('CMD ["sh","-c","echo the new version cannot start; exit 3"]',))
SILENT = replace(GOOD, changes=('CMD ["sh","-c","trap exit TERM; sleep 600 & wait"]',))


def test_a_redeploy_that_crashes_brings_back_the_release_before_with_its_image_and_its_data(
    admin: Client, hosts: tuple[DockerHost, DockerHost], lab: Lab
) -> None:
    host, elsewhere = hosts
    publish(lab, elsewhere, GOOD)
    made = admin.create("shaky", SHAKY, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])
    before = host.inspect(host.container(made["id"]), "{{.Image}}")
    host.lab.docker("exec", host.container(made["id"]), "sh", "-c", "echo kept >/data/note")
    publish(lab, elsewhere, BAD)

    job = admin.failed(admin.redeploy(made["id"]))

    assert job["error"]["code"] == "unhealthy"
    assert "release 1 was brought back" in job["message"]
    assert any("the new version cannot start" in line for line in job["error"]["details"]["logs"])
    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["release"], service["health"]["status"]) == ("running", 1, "healthy")
    assert host.inspect(host.container(made["id"]), "{{.Image}}") == before
    assert host.lab.docker("exec", host.container(made["id"]), "cat", "/data/note") == "kept"
    assert host.visit(made["url"]).status_code == 200
    # above it may stand that the service was seen to be healthy again
    _, status, message = next(event for event in admin.timeline(made["id"]) if event[0] == "deploy")
    assert status == "failed"
    assert "exited with code 3; release 1 was brought back" in message


def test_a_first_deploy_that_crashes_is_failed_its_logs_can_be_read_and_deleting_it_leaves_nothing(
    admin: Client, host: DockerHost
) -> None:
    made = admin.create("doomed", CRASHES, host_id=host.id)

    job = admin.failed(made["deploy_job_id"])

    assert job["error"]["code"] == "unhealthy"
    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["release"], service["deployed_at"]) == ("failed", None, None)
    assert host.ps(made["id"]) == []
    logs = admin.get(f"services/{made['id']}/logs")["logs"]
    assert "no database to be found" in [entry["message"] for entry in logs]
    admin.succeeded(admin.delete(made["id"]))
    assert host.held(made["id"]) == []
    assert admin.refusal("GET", f"services/{made['id']}")["status"] == 404


def test_a_fixed_host_port_that_is_taken_is_an_error_before_anything_is_touched_and_only_admins_get_one(
    admin: Client, plane: Plane, host: DockerHost
) -> None:
    host.lab.docker("run", "--detach", "--name=squatter", "--publish=9000:80", "busybox:1", "sleep", "600")
    try:
        made = admin.create("published", PORT_TAKEN, host_id=host.id)
        job = admin.failed(made["deploy_job_id"])
        assert job["error"]["code"] == "preflight_failed"
        assert job["message"] == "host port 9000/tcp is already taken by container squatter"
        assert [step["name"] for step in job["steps"]] == ["Admit", "Preflight", "RecordFailure"]
        assert host.held(made["id"]) == []

        wanted = {"name": "deployer", "role": "deployer", "customer_id": plane.customer_id}
        deployer = plane.client(admin.post("tokens", wanted)["token"])
        routed = deployer.create("routed", PORT_TAKEN, host_id=host.id)
        admin.made.append(routed["id"])
        deployer.succeeded(routed["deploy_job_id"])
        assert [(found["path"], found["rule"]) for found in routed["warnings"]] == [
            ("services.web.ports[0]", "port-not-published")
        ]
        assert host.visit(routed["url"]).status_code == 200
    finally:
        host.lab.docker("rm", "--force", "squatter")

    admin.succeeded(admin.redeploy(made["id"]))
    assert host.lab.docker("port", host.container(made["id"])).startswith("8000/tcp -> 0.0.0.0:9000")


ESCAPES = """\
services:
  web:
    image: busybox:1
    privileged: true
    network_mode: host
    volumes: ["/:/host", "/var/run/docker.sock:/var/run/docker.sock"]
    cap_add: [SYS_ADMIN]
    devices: ["/dev/sda"]
  spy:
    image: busybox:1
    pid: host
    ipc: host
    extends: {file: /etc/passwd, service: x}
    env_file: /etc/shadow
"""


def test_a_compose_text_that_reaches_for_the_host_is_refused_with_every_finding_and_nothing_is_stored(
    admin: Client, plane: Plane, host: DockerHost
) -> None:
    before = host.lab.docker("ps", "--all", "--quiet")
    wanted = {"name": "spy", "customer_id": plane.customer_id, "deploy_method": "compose", "compose": ESCAPES}

    refused = admin.refusal("POST", "services", wanted)

    assert (refused["status"], refused["code"]) == (422, "validation_failed")
    found = {finding["path"] for finding in refused["details"]}
    assert found >= {
        "services.web.privileged",
        "services.web.network_mode",
        "services.web.volumes[0]",
        "services.web.volumes[1]",
        "services.web.cap_add[0]",
        "services.web.devices",
        "services.spy.pid",
        "services.spy.ipc",
        "services.spy.extends",
        "services.spy.env_file",
    }
    assert all(finding["rule"] and finding["message"] for finding in refused["details"])
    assert admin.get("services", search="spy")["total"] == 0
    assert host.lab.docker("ps", "--all", "--quiet") == before


@pytest.fixture
def stuck_registry(lab: Lab) -> Iterator[str]:
    """A registry that takes connections and never says a word."""
    with socket.create_server((lab.ground.address(1), 0)) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield f"{lab.ground.address(1)}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def test_a_pull_that_hangs_can_be_cancelled_and_leaves_no_process_behind(
    admin: Client, host: DockerHost, stuck_registry: str
) -> None:
    made = admin.create("hanging", DEMO.replace("slipway/demo:1", f"{stuck_registry}/team/app:1"), host_id=host.id)
    job_id = made["deploy_job_id"]
    admin.at_step(job_id, "Pull")
    eventually(lambda: _at_work(host, job_id), "the host pulls")

    assert admin.ask("POST", f"jobs/{job_id}/cancel").status_code == 202

    job = admin.ended(job_id, 10)
    assert (job["status"], job["error"]["code"]) == ("cancelled", "cancelled")
    assert _at_work(host, job_id) == ""
    assert admin.get(f"services/{made['id']}")["status"] == "failed"
    assert admin.ask("POST", f"jobs/{job_id}/cancel").json()["status"] == "cancelled"


def test_a_start_that_waits_for_a_database_can_be_cancelled_and_nothing_of_it_runs_on(
    admin: Client, host: DockerHost
) -> None:
    never_ready = SHOP.replace("/greeting,", "/nothing,").replace("retries: 10", "retries: 900")
    made = admin.create("waiting", never_ready, host_id=host.id)
    job_id = made["deploy_job_id"]
    admin.at_step(job_id, "Up")
    eventually(lambda: host.ps(made["id"]), "the database runs")

    admin.post(f"jobs/{job_id}/cancel")

    assert admin.ended(job_id, 10)["status"] == "cancelled"
    assert _at_work(host, job_id) == ""
    assert host.ps(made["id"]) == []


def test_a_wait_for_health_can_be_cancelled_and_the_next_deploy_works(
    admin: Client, hosts: tuple[DockerHost, DockerHost], lab: Lab
) -> None:
    host, elsewhere = hosts
    publish(lab, elsewhere, SILENT)
    made = admin.create("patient", SHAKY, host_id=host.id)
    admin.at_step(made["deploy_job_id"], "Health")
    busy = admin.refusal("POST", f"services/{made['id']}/redeploy")
    assert (busy["status"], busy["details"]["job_id"]) == (409, made["deploy_job_id"])

    admin.post(f"jobs/{made['deploy_job_id']}/cancel")

    job = admin.ended(made["deploy_job_id"], 10)
    assert job["status"] == "cancelled"
    assert host.ps(made["id"]) == []
    publish(lab, elsewhere, GOOD)
    admin.succeeded(admin.redeploy(made["id"]))
    assert host.visit(made["url"]).status_code == 200


def _at_work(host: DockerHost, job_id: str) -> str:
    """Processes of the host that write to one of this job's logs."""
    looking = 'ls -l /proc/[0-9]*/fd 2>/dev/null | grep "jobs/$0" || true'
    return host.lab.exec("sh", "-c", looking, job_id)

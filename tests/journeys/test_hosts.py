"""Hosts that are down, full, broken, strange or restarted: the error says which, and what ran before serves on."""

import pytest

from infra.local import sshd
from tests.journeys.conftest import DockerHost, register
from tests.journeys.plane import Client, eventually
from tests.journeys.texts import DEMO, STUBBORN


def test_a_host_that_is_cut_off_fails_a_redeploy_delays_a_removal_and_serves_on_once_it_is_back(
    admin: Client, hosts: tuple[DockerHost, DockerHost]
) -> None:
    host, _ = hosts
    staying, going = (admin.create(name, DEMO, host_id=host.id) for name in ("staying", "going"))
    admin.succeeded(staying["deploy_job_id"])
    admin.succeeded(going["deploy_job_id"])
    host.lab.cut()

    removal = admin.delete(going["id"])
    redeploy = admin.redeploy(staying["id"])
    assert admin.refusal("GET", f"services/{going['id']}")["status"] == 404
    assert admin.refusal("POST", f"services/{staying['id']}/stop")["code"] in {"conflict", "host_unreachable"}
    job = admin.failed(redeploy, 90)
    assert job["error"]["code"] == "host_unreachable"
    service = admin.get(f"services/{staying['id']}")
    assert (service["status"], service["health"]["status"]) == ("running", "unknown")
    assert "does not answer" in service["health"]["message"]
    assert admin.get(f"jobs/{removal}")["status"] == "running"

    host.lab.heal()
    assert host.visit(staying["url"]).status_code == 200
    admin.succeeded(removal)
    assert host.held(going["id"]) == []
    assert host.visit(going["url"]).json()["error"]["code"] == "not_found"
    eventually(lambda: admin.get(f"services/{staying['id']}")["health"]["status"] == "healthy", "it is seen healthy")


def test_a_host_without_docker_fails_a_redeploy_and_a_removal_waits_for_it(
    admin: Client, hosts: tuple[DockerHost, DockerHost]
) -> None:
    host = hosts[1]
    staying, going = (admin.create(name, DEMO, host_id=host.id) for name in ("stays", "goes"))
    admin.succeeded(staying["deploy_job_id"])
    admin.succeeded(going["deploy_job_id"])
    host.lab.kill_dockerd()

    job = admin.failed(admin.redeploy(staying["id"]))
    assert job["error"]["code"] in {"host_not_ready", "preflight_failed"}
    assert "docker" in job["message"].lower()
    removal = admin.delete(going["id"])
    checked = admin.post(f"hosts/{host.id}/check")
    assert (checked["status"], [problem["check"] for problem in checked["problems"]]) == ("not_ready", ["docker"])

    host.lab.start_dockerd()
    admin.succeeded(removal)
    assert host.held(going["id"]) == []
    assert admin.post(f"hosts/{host.id}/check")["status"] == "ready"
    assert admin.get(f"services/{staying['id']}")["status"] == "running"
    eventually(lambda: host.visit(staying["url"]).status_code == 200, "it answers again")


def test_a_full_disk_is_an_error_before_anything_is_touched(admin: Client, host: DockerHost) -> None:
    made = admin.create("tight", DEMO, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])
    before = host.container(made["id"])
    host.lab.fill(leave_mb=100)

    job = admin.failed(admin.redeploy(made["id"]))

    assert job["error"]["code"] == "preflight_failed"
    assert "MB free" in job["message"]
    assert host.container(made["id"]) == before
    assert host.visit(made["url"]).status_code == 200
    assert admin.get(f"services/{made['id']}")["status"] == "running"


@pytest.mark.parametrize(("half", "code"), [("host_key", "host_key_mismatch"), ("private_key", "host_refused")])
def test_a_wrong_key_is_named_by_the_check_and_by_a_deploy_and_nothing_is_put_there(
    admin: Client, host: DockerHost, half: str, code: str
) -> None:
    private, public = sshd.new_key()
    wrong = {"host_key": public} if half == "host_key" else {"private_key": private}
    strange = register(admin, host.lab, half.replace("_", "-"), **wrong)

    checked = admin.post(f"hosts/{strange['id']}/check")
    assert (checked["status"], checked["problems"][0]["check"]) == ("not_ready", code)
    made = admin.create(half.replace("_", "-"), DEMO, host_id=strange["id"])
    job = admin.failed(made["deploy_job_id"])
    assert job["error"]["code"] == code
    assert host.held(made["id"]) == []
    assert admin.refusal("DELETE", f"hosts/{strange['id']}")["code"] == "conflict"


def test_a_host_that_loses_power_is_told_the_truth_about_and_its_services_come_back(
    admin: Client, hosts: tuple[DockerHost, DockerHost]
) -> None:
    host = hosts[1]
    made = admin.create("lasting", DEMO, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])
    host.lab.docker("exec", host.container(made["id"]), "sh", "-c", "echo kept >/data/note; sync")

    host.lab.crash()
    seen = eventually(lambda: _unknown(admin, made["id"]), "its health is unknown")
    assert seen["resources"]["memory_usage_mb"] is None
    host.lab.boot()

    eventually(lambda: admin.get(f"services/{made['id']}")["health"]["status"] == "healthy", "it is healthy again")
    assert host.visit(made["url"]).status_code == 200
    assert host.lab.docker("exec", host.container(made["id"]), "cat", "/data/note") == "kept"


def test_a_service_that_ignores_being_told_to_stop_is_stopped_all_the_same(admin: Client, host: DockerHost) -> None:
    made = admin.create("stubborn", STUBBORN, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])

    answer = admin.ask("POST", f"services/{made['id']}/stop")

    assert (answer.status_code, answer.json()["status"]) == (200, "stopped")
    assert host.ps(made["id"]) == []
    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["health"]["status"]) == ("stopped", "stopped")
    assert host.visit(made["url"]).status_code in {502, 503}
    assert admin.post(f"services/{made['id']}/start")["status"] == "running"
    assert host.visit(made["url"]).text == "up\n"


def _unknown(admin: Client, service_id: str) -> dict[str, dict[str, object]] | None:
    service: dict[str, dict[str, object]] = admin.get(f"services/{service_id}")
    return service if service["health"]["status"] == "unknown" else None

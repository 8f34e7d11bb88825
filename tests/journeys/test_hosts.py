"""Hosts that are down, full, broken, strange or restarted: the error says which, and what ran before serves on."""

from typing import Any

import pytest
import requests

from infra.local import images, sshd
from tests.journeys.canaries import shown_by
from tests.journeys.conftest import DockerHost, register
from tests.journeys.plane import Client, Plane, eventually
from tests.journeys.texts import DEMO, STUBBORN
from tests.lab.hosts import Lab


def test_a_host_cut_off_and_one_without_docker_fail_redeploys_delay_removals_and_serve_on_afterwards(
    admin: Client, hosts: tuple[DockerHost, DockerHost]
) -> None:
    cut, dockerless = hosts
    staying, going, stays, goes = (
        admin.create(name, DEMO, host_id=host.id)
        for name, host in (("staying", cut), ("going", cut), ("stays", dockerless), ("goes", dockerless))
    )
    for made in (staying, going, stays, goes):
        admin.succeeded(made["deploy_job_id"])
    cut.lab.cut()
    dockerless.lab.kill_dockerd()

    removals = [admin.delete(made["id"]) for made in (going, goes)]
    assert all(admin.refusal("GET", f"services/{made['id']}")["status"] == 404 for made in (going, goes))
    unreachable = admin.redeploy(staying["id"])
    assert admin.refusal("POST", f"services/{staying['id']}/stop")["details"]["job_id"] == unreachable
    job = admin.failed(admin.redeploy(stays["id"]))
    assert (job["error"]["code"], "Docker does not answer" in job["message"]) == ("preflight_failed", True)
    checked = admin.post(f"hosts/{dockerless.id}/check")
    assert (checked["status"], [problem["check"] for problem in checked["problems"]]) == ("not_ready", ["docker"])
    assert admin.failed(unreachable, 90)["error"]["code"] == "host_unreachable"
    service = eventually(lambda: _unknown(admin, staying["id"]), "its health is unknown")
    assert (service["status"], "could not be asked" in str(service["health"]["message"])) == ("running", True)
    assert [admin.get(f"jobs/{removal}")["status"] for removal in removals] == ["running", "running"]

    cut.lab.heal()
    dockerless.lab.start_dockerd()
    assert cut.visit(staying["url"]).status_code == 200
    eventually(lambda: admin.get(f"services/{staying['id']}")["health"]["status"] == "healthy", "it is seen healthy")
    assert admin.post(f"hosts/{dockerless.id}/check")["status"] == "ready"
    # Its engine took the container for one that was stopped by hand: the panel shows that, and a start brings it back.
    eventually(lambda: admin.get(f"services/{stays['id']}")["health"]["status"] == "unhealthy", "its end is seen")
    assert admin.post(f"services/{stays['id']}/start")["status"] == "running"
    assert dockerless.visit(stays["url"]).status_code == 200
    for host, made, removal in ((cut, going, removals[0]), (dockerless, goes, removals[1])):
        admin.succeeded(removal, 90)
        assert host.held(made["id"]) == []
        assert host.visit(made["url"]).json()["error"]["code"] == "not_found"


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
def test_a_wrong_key_is_named_by_the_check_and_the_host_takes_nothing(
    admin: Client, plane: Plane, lab: Lab, half: str, code: str
) -> None:
    (lab_host,) = lab.hosts("strange")
    private, public = sshd.new_key()
    wrong = {"host_key": public} if half == "host_key" else {"private_key": private}
    strange = register(admin, lab_host, half.replace("_", "-"), **wrong)

    checked = admin.post(f"hosts/{strange['id']}/check")
    assert (checked["status"], checked["problems"][0]["check"]) == ("not_ready", code)
    wanted = {"name": "strange", "customer_id": plane.customer_id, "deploy_method": "compose", "compose": DEMO}
    refused = admin.refusal("POST", "services", wanted | {"host_id": strange["id"]})
    assert (refused["code"], "never found in order" in refused["message"]) == ("conflict", True)
    assert admin.ask("DELETE", f"hosts/{strange['id']}").status_code == 204


def test_a_hosts_key_is_rotated_while_a_service_runs_and_is_deployed_there(
    admin: Client, plane: Plane, host: DockerHost
) -> None:
    service_id = admin.deploy("rotated", DEMO, host_id=host.id)
    url = admin.get(f"services/{service_id}")["url"]
    before = admin.get(f"hosts/{host.id}")
    try:
        after = admin.post(f"hosts/{host.id}/rotate_key")

        assert (after["status"], after["problems"]) == ("ready", [])
        assert after["public_key"] != before["public_key"]
        assert not host.lets_in(host.lab.private_key)
        assert host.visit(url).status_code == 200
        assert admin.post(f"services/{service_id}/restart")["status"] == "running"
        admin.succeeded(admin.redeploy(service_id))
        assert host.visit(url).status_code == 200
        admin.succeeded(admin.delete(service_id))
        assert host.held(service_id) == []
    finally:
        back = admin.post(f"hosts/{host.id}/rotate_key", {"private_key": host.lab.private_key})
    assert (back["public_key"], back["problems"]) == (before["public_key"], [])
    assert host.lets_in(host.lab.private_key)
    assert admin.refusal("POST", f"hosts/{host.id}/rotate_key", {"private_key": host.lab.private_key})["status"] == 422
    kept = host.lab.exec("cat", f"/home/{host.lab.user}/.ssh/authorized_keys").split()
    assert kept == before["public_key"].split()
    assert shown_by(plane, [host.lab.private_key.splitlines()[4]]) == {}


def test_a_host_whose_sshd_reads_keys_elsewhere_keeps_its_key(admin: Client, host: DockerHost) -> None:
    private, _ = sshd.new_key()
    before = admin.get(f"hosts/{host.id}")
    present = f"/home/{host.lab.user}/.ssh/authorized_keys"
    host.lab.exec("install", "-m", "644", present, "/etc/ssh/keys")
    host.lab.restart_sshd("AuthorizedKeysFile /etc/ssh/keys")
    try:
        refused = admin.refusal("POST", f"hosts/{host.id}/rotate_key", {"private_key": private})
    finally:
        host.lab.restart_sshd()

    assert (refused["status"], refused["code"]) == (502, "host_refused")
    assert "AuthorizedKeysFile" in refused["message"]
    after = admin.get(f"hosts/{host.id}")
    assert (after["public_key"], after["problems"]) == (before["public_key"], [])
    assert (host.lets_in(private), host.lets_in(host.lab.private_key)) == (False, True)
    assert admin.post(f"hosts/{host.id}/check")["status"] == "ready"


def test_a_host_that_shows_another_key_is_mistrusted_until_that_is_pinned(admin: Client, host: DockerHost) -> None:
    service_id = admin.deploy("reinstalled", DEMO, host_id=host.id)
    url = admin.get(f"services/{service_id}")["url"]
    host.lab.change_host_key()
    try:
        checked = admin.post(f"hosts/{host.id}/check")
        assert (checked["status"], checked["problems"][0]["check"]) == ("not_ready", "host_key_mismatch")
        assert admin.failed(admin.redeploy(service_id))["error"]["code"] == "host_key_mismatch"
        assert host.visit(url).status_code == 200
    finally:
        answer = admin.ask("PATCH", f"hosts/{host.id}", {"host_key": host.lab.host_key})

    assert (answer.status_code, answer.json()["status"], answer.json()["problems"]) == (200, "new", [])
    found = eventually(lambda: _checked(admin, host.id), "it is checked")
    assert (found["status"], found["problems"], found["reserved"]["services"]) == ("ready", [], 1)
    admin.succeeded(admin.redeploy(service_id))
    assert host.visit(url).status_code == 200


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
    assert admin.post(f"services/{made['id']}/start")["status"] == "running"
    assert host.visit(made["url"]).text == "up\n"


def _unknown(admin: Client, service_id: str) -> Any:
    service = admin.get(f"services/{service_id}")
    return service if service["health"]["status"] == "unknown" else None


def _checked(admin: Client, host_id: str) -> Any:
    host = admin.get(f"hosts/{host_id}")
    return host if host["status"] != "new" else None


def test_an_edge_that_somebody_removed_is_back_within_a_minute(admin: Client, host: DockerHost) -> None:
    service_id = admin.deploy("routed", DEMO, host_id=host.id)
    url = admin.get(f"services/{service_id}")["url"]
    host.lab.docker("rm", "--force", "slipway-edge")

    eventually(lambda: _answers(host, url), "the service answers at its URL again", 120)

    assert admin.get(f"hosts/{host.id}")["status"] == "ready"


def test_a_host_that_is_forgotten_keeps_nothing_but_the_kit(admin: Client, lab: Lab) -> None:
    (lab_host,) = lab.hosts("strange")
    lab_host.load(images.BUSYBOX, images.EDGE)
    known = register(admin, lab_host, "parting")
    assert admin.post(f"hosts/{known['id']}/check")["status"] == "ready"
    assert lab_host.docker("ps", "--quiet", "--filter", "name=slipway-edge") != ""

    assert admin.ask("DELETE", f"hosts/{known['id']}").status_code == 204

    assert lab_host.docker("ps", "--all", "--quiet") == ""
    assert lab_host.docker("network", "ls", "--quiet", "--filter", "label=slipway.edge") == ""
    kept = lab_host.exec("ls", f"/home/{lab_host.user}/.slipway").split()
    assert [name for name in kept if not name.startswith("kit-")] in ([], ["services"])
    assert "agent.pyz" not in lab_host.exec("ps", "-e", "-o", "args")


def _answers(host: DockerHost, url: str) -> bool:
    try:
        return host.visit(url).ok
    except requests.ConnectionError:
        return False

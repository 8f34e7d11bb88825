"""The rest of the panel on real hosts: releases, what somebody did by hand, orphans, customers, placement."""

import subprocess
from dataclasses import replace
from typing import Any

from infra.local import images
from tests.journeys.conftest import DockerHost, publish
from tests.journeys.plane import Client, Plane, eventually
from tests.journeys.texts import DEMO, SHAKY, SHOP
from tests.lab.hosts import Lab

FIRST = replace(images.DEMO, reference="team/shaky:1")
SECOND = replace(FIRST, changes=(*FIRST.changes, "ENV VERSION=2"))
IMAGE = "{{.Image}}"


def test_a_change_and_a_rollback_run_the_images_and_variables_that_belong_to_each(
    admin: Client, hosts: tuple[DockerHost, DockerHost], lab: Lab
) -> None:
    host, elsewhere = hosts
    publish(lab, elsewhere, FIRST)
    service_id = admin.deploy("first-name", SHAKY, variables={"GREETING": "one"}, host_id=host.id)
    first = host.inspect(host.container(service_id), IMAGE)
    host.lab.docker("exec", host.container(service_id), "sh", "-c", "echo kept >/data/note")
    publish(lab, elsewhere, SECOND)
    admin.succeeded(admin.redeploy(service_id))
    second = host.inspect(host.container(service_id), IMAGE)
    assert second != first

    changed = admin.ask("PATCH", f"services/{service_id}", {"name": "new-name", "variables": {"GREETING": "three"}})
    admin.succeeded(changed.json()["deploy_job_id"])
    assert "Hello from three" in host.visit("http://new-name.localhost").text
    assert host.visit("http://first-name.localhost").status_code == 404

    admin.succeeded(admin.post(f"services/{service_id}/rollback", {"release": 1})["deploy_job_id"])
    service = admin.get(f"services/{service_id}")
    assert (service["release"], service["name"], service["variables"]) == (1, "new-name", {"GREETING": "one"})
    assert host.inspect(host.container(service_id), IMAGE) == first
    assert "Hello from one" in host.visit(service["url"]).text
    assert host.lab.docker("exec", host.container(service_id), "cat", "/data/note") == "kept"
    releases = admin.get(f"services/{service_id}/releases")["data"]
    assert [(release["number"], release["running"]) for release in releases] == [(3, False), (2, False), (1, True)]
    assert all(release["digests"] for release in releases)


def test_a_change_leaves_containers_alone_that_it_does_not_touch(admin: Client, host: DockerHost) -> None:
    service_id = admin.deploy("shop", SHOP, host_id=host.id)
    database = host.container(service_id, "db")

    changed = admin.ask(
        "PATCH", f"services/{service_id}", {"compose": SHOP.replace("httpd -f -p 8080", "httpd -f  -p 8080")}
    )
    admin.succeeded(changed.json()["deploy_job_id"])

    assert host.container(service_id, "db") == database


def test_what_somebody_did_by_hand_is_told_and_put_right_by_a_redeploy(admin: Client, host: DockerHost) -> None:
    service_id = admin.deploy("touched", SHOP, host_id=host.id)
    host.lab.docker("rm", "--force", host.container(service_id, "db"))

    service = eventually(lambda: _with_status(admin, service_id, "failed"), "its status is put right")

    assert (service["health"]["status"], service["health"]["message"]) == ("unhealthy", "db has no container")
    assert "db has no container on the host, though nobody stopped the service" in admin.timeline(service_id)[0][2]
    admin.succeeded(admin.redeploy(service_id))
    assert admin.get(f"services/{service_id}")["status"] == "running"


def test_orphans_are_found_and_swept_and_nothing_else_is_touched(admin: Client, host: DockerHost) -> None:
    service_id, orphan = admin.deploy("living", DEMO, host_id=host.id), "svc_0000000000000000"
    host.lab.docker("volume", "create", f"--label=slipway.service={orphan}", "left-over")
    host.lab.docker("volume", "create", "somebodys-own")
    try:
        found = admin.get(f"hosts/{host.id}/orphans")["data"]
        assert [(one["service_id"], one["volumes"]) for one in found] == [(orphan, ["left-over"])]
        assert admin.refusal("POST", f"hosts/{host.id}/sweep", {"service_ids": [service_id]})["status"] == 409

        swept = admin.post(f"hosts/{host.id}/sweep", {"service_ids": [orphan]})

        assert swept == {"removed": [orphan], "left": {}}
        assert "somebodys-own" in host.lab.docker("volume", "ls", "--quiet").split()
        assert admin.get(f"services/{service_id}")["health"]["status"] == "healthy"
    finally:
        host.lab.docker("volume", "rm", "--force", "left-over", "somebodys-own")


def test_a_suspended_customers_services_stop_and_start_again_when_it_returns(
    admin: Client, plane: Plane, host: DockerHost
) -> None:
    customer = admin.post("customers", {"name": "Late Payer"})["id"]
    service_id = admin.deploy("unpaid", DEMO, host_id=host.id, customer_id=customer)

    assert admin.ask("PATCH", f"customers/{customer}", {"status": "suspended"}).json()["status"] == "suspended"
    eventually(lambda: _with_status(admin, service_id, "stopped"), "it is stopped")
    assert host.ps(service_id) == []
    assert admin.refusal("POST", f"services/{service_id}/start")["status"] == 409

    admin.ask("PATCH", f"customers/{customer}", {"status": "active"})
    eventually(lambda: _with_status(admin, service_id, "running"), "it runs again")
    assert len(host.ps(service_id)) == 1


def test_services_are_spread_by_what_was_promised_and_a_drained_host_takes_none(
    admin: Client, hosts: tuple[DockerHost, DockerHost]
) -> None:
    east, west = hosts
    admin.post(f"hosts/{east.id}/drain")
    try:
        service_id = admin.deploy("anywhere", DEMO)
    finally:
        admin.ask("DELETE", f"hosts/{east.id}/drain")

    service = admin.get(f"services/{service_id}")
    assert service["host_id"] == west.id
    assert admin.get(f"hosts/{west.id}")["reserved"]["memory_mb"] >= 512
    assert admin.get(f"hosts/{east.id}")["draining"] is False


def _with_status(admin: Client, service_id: str, status: str) -> Any:
    service = admin.get(f"services/{service_id}")
    return service if service["status"] == status else None


def test_the_audit_trail_tells_where_the_caller_was_whatever_that_one_claims(plane: Plane, admin: Client) -> None:
    """Behind the edge, too: there everybody else connects from an address of the edge's."""
    claims = ("X-Forwarded-For: 203.0.113.9", "X-Slipway-Edge: a guess")
    headers = [word for claim in claims for word in ("--header", claim)]
    headers += ["--header", f"Authorization: Bearer {admin.token}", "--header", "Content-Type: application/json"]
    words = ("curl", "--fail", "--silent", "--noproxy", "*", "--interface", "127.0.0.9", *headers)
    subprocess.run([*words, "--data", '{"name": "Elsewhere"}', f"{plane.api}/api/customers"], check=True)

    (entry,) = [line for line in admin.get("audit", per_page=20)["data"] if line["path"] == "/api/customers"][:1]
    assert entry["source_ip"] == "127.0.0.9"

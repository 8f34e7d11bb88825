"""The control plane is killed in the middle of its work: what it acknowledged is there, and every job still ends."""

from dataclasses import replace

import pytest

from infra.local import images
from tests.journeys.conftest import DockerHost, publish
from tests.journeys.plane import Client, Plane, eventually
from tests.journeys.texts import DEMO, SHOP
from tests.lab.hosts import Lab

pytestmark = pytest.mark.usefixtures("process")


def test_a_kill_in_the_middle_of_deploys_loses_nothing_and_every_job_ends_truthfully(
    admin: Client, plane: Plane, hosts: tuple[DockerHost, DockerHost]
) -> None:
    east, west = hosts
    done = admin.create("early", DEMO, host_id=east.id)
    admin.succeeded(done["deploy_job_id"])
    leaving = admin.create("leaving", DEMO, host_id=west.id)
    admin.succeeded(leaving["deploy_job_id"])
    slow = admin.create("slow", SHOP, host_id=east.id)
    admin.at_step(slow["deploy_job_id"], "Up")
    again = admin.redeploy(done["id"])
    removal = admin.delete(leaving["id"])
    fresh = admin.create("fresh", DEMO, host_id=west.id)

    plane.kill()

    for name, made in (("early", done), ("slow", slow), ("fresh", fresh)):
        assert admin.get(f"services/{made['id']}")["name"] == name
    for job_id in (slow["deploy_job_id"], again, removal, fresh["deploy_job_id"]):
        admin.succeeded(job_id)
    for host, made in ((east, done), (east, slow), (west, fresh)):
        assert admin.get(f"services/{made['id']}")["status"] == "running"
        assert host.visit(made["url"]).status_code == 200
    assert west.held(leaving["id"]) == []
    assert len(east.ps(done["id"])) == 1
    assert len(east.ps(slow["id"])) == 2


def test_kills_at_every_step_of_a_redeploy_leave_one_running_release_and_its_data(
    admin: Client, plane: Plane, hosts: tuple[DockerHost, DockerHost], lab: Lab
) -> None:
    host, elsewhere = hosts
    publish(lab, elsewhere, replace(images.DEMO, reference="team/app:1"))
    made = admin.create("unkillable", DEMO.replace("slipway/demo:1", "team/app:1"), host_id=host.id)
    admin.succeeded(made["deploy_job_id"])
    host.lab.docker("exec", host.container(made["id"]), "sh", "-c", "echo kept >/data/note")

    for step in ("Preflight", "Pull", "Up", "Health"):
        job_id = admin.redeploy(made["id"])
        admin.at_step(job_id, step)
        plane.kill()
        admin.succeeded(job_id)

    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["release"]) == ("running", 5)
    assert host.visit(made["url"]).status_code == 200
    assert host.lab.docker("exec", host.container(made["id"]), "cat", "/data/note") == "kept"


def test_an_orderly_restart_in_the_middle_of_a_deploy_is_no_different(
    admin: Client, plane: Plane, host: DockerHost
) -> None:
    made = admin.create("patient", SHOP, host_id=host.id)
    admin.at_step(made["deploy_job_id"], "Up")

    plane.restart()

    admin.succeeded(made["deploy_job_id"])
    assert host.visit(made["url"]).status_code == 200
    eventually(lambda: admin.get(f"services/{made['id']}")["health"]["status"] == "healthy", "it is seen healthy")

"""Private images: whose login is right gets them, whose is wrong is told which registry said no, others get nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local import images
from tests.journeys.canaries import command_lines, files_on, shown_by, shown_in
from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Client, Plane
from tests.journeys.texts import DEMO
from tests.lab.hosts import LOGIN, Lab

WRONG = "canary-mistyped-7h3n1xw6vb"
SECRETS = (LOGIN.password, WRONG)


@pytest.fixture
def private_image(lab: Lab, host: DockerHost) -> Iterator[str]:
    """In the closed registry, and on no host until somebody with the login had it pulled."""
    reference = lab.registry_push(host.lab, images.DEMO.reference, "team/private:1", closed=True)
    yield reference
    host.lab.run("docker", "rmi", "--force", reference)


def test_a_private_image_is_pulled_by_its_customers_login_and_by_nobody_elses(
    admin: Client, plane: Plane, host: DockerHost, private_image: str
) -> None:
    told: list[Any] = []
    registry = private_image.partition("/")[0]
    compose = DEMO.replace("slipway/demo:1", private_image)
    other = admin.post("customers", {"name": "Somebody Else"})["id"]

    def deploy(name: str, **more: Any) -> Any:
        made = admin.create(name, compose, host_id=host.id, **more)
        job = admin.ended(made["deploy_job_id"])
        told.extend((made, job, admin.timeline(made["id"])))
        return job

    def log_in(password: str) -> Any:
        content = {"customer_id": plane.customer_id, "registry": registry, "username": LOGIN.username}
        stored = admin.post("registries", {**content, "password": password})
        told.extend((stored, admin.get("registries"), admin.get(f"registries/{stored['id']}")))
        return stored["id"]

    with command_lines() as seen:
        without = deploy("without")
        wrong = log_in(WRONG)
        mistyped = deploy("mistyped")
        assert admin.ask("DELETE", f"registries/{wrong}").status_code == 204
        right = log_in(LOGIN.password)
        served = deploy("private")
        strange = deploy("strange", customer_id=other)
    told.append(admin.get("audit", per_page=100))
    assert admin.ask("DELETE", f"registries/{right}").status_code == 204

    assert served["status"] == "succeeded", served
    assert host.visit("http://private.localhost").status_code == 200
    for job, words in (
        (without, f"store the customer's credentials for {registry}"),
        (mistyped, f"{registry} refused the customer's credentials (user {LOGIN.username})"),
        (strange, f"store the customer's credentials for {registry}"),
    ):
        error = job["error"]
        assert (job["status"], error["code"], error["details"]["registry"]) == ("failed", "image_unavailable", registry)
        assert words in error["message"], error
    # The image is on the host by then, and still not another's: its job asked the registry, and had no login to show.
    assert host.lab.docker("images", "--quiet", private_image)
    assert strange["error"]["step"] == "Pull"

    assert shown_in(json.dumps(told).encode(), SECRETS) == []
    assert shown_in(b"\n".join(seen), SECRETS) == []
    assert shown_by(plane, SECRETS) == {}
    assert files_on(host, SECRETS) == []
    assert shown_in(host.lab.logs().encode(), SECRETS) == []

"""Private images: a pull carries its customer's own logins and no others; what one fetched another does not get."""

from typing import Any

import pytest

from chalicelib.deploy import drafting, start
from chalicelib.deploy.logins import repository_of
from chalicelib.domain import errors
from chalicelib.domain.job import Job
from chalicelib.domain.registry import Registry, id_of
from chalicelib.domain.words import now
from tests.deploy.fakes import FakeHost, resolved
from tests.deploy.test_steps import ADMIN, step, walk, walk_failure
from tests.emulator import Panel

PASSWORD = "canary-registry-password"
PRIVATE = "registry.example.com:5000/team/app:1"


def a_login(panel: Panel, customer_id: str, registry: str, password: str = PASSWORD) -> None:
    login_id = id_of(customer_id, registry)
    panel.registries.add(
        Registry(
            id=login_id,
            customer_id=customer_id,
            registry=registry,
            username="ann",
            sealed_password=panel.sealer.seal(password.encode(), login_id),
            created_at=now(),
        )
    )


def a_job(panel: Panel, customer_id: str, *images: str, name: str = "blog") -> Job:
    panel.hosts.all() or panel.a_host()
    services = ", ".join(f"s{number}: {{image: '{image}'}}" for number, image in enumerate(images))
    wanted = drafting.NewService(
        name=name,
        customer_id=customer_id,
        deploy_method="compose",
        compose=f"services: {{{services}}}",
        variables={},
    )
    return start.create(drafting.draft(wanted, ADMIN), ADMIN)[1]


def on_the_host(host: FakeHost, *missing: str) -> None:
    host.answers["upload"] = lambda request: {
        "resolved": resolved(request),
        "missing_images": list(missing),
        "built_here": [],
    }


def pulled(host: FakeHost, job: Job) -> dict[str, Any]:
    """The request of a pull that goes well."""
    walk(job, "Preflight")
    assert step("Upload", job) == "images_missing"
    walk(job, "Pull")
    verb, request = host.asked[-1]
    assert (verb, request["kind"]) == ("start", "pull")
    return request


def test_a_pull_carries_the_customers_own_logins_for_the_images_registries(panel: Panel, host: FakeHost) -> None:
    mine, other = panel.a_customer().id, panel.a_customer("Other").id
    a_login(panel, mine, "registry.example.com:5000")
    a_login(panel, mine, "ghcr.io", "not-needed")
    a_login(panel, other, "docker.io", "somebody-elses")
    on_the_host(host, PRIVATE, "redis:7")

    request = pulled(host, a_job(panel, mine, PRIVATE, "redis:7"))

    assert request["registry_auth"] == {"registry.example.com:5000": {"username": "ann", "password": PASSWORD}}


def test_a_pull_without_logins_carries_none(panel: Panel, host: FakeHost) -> None:
    on_the_host(host, "redis:7")

    assert pulled(host, a_job(panel, panel.a_customer().id, "redis:7"))["registry_auth"] is None


@pytest.mark.parametrize("image", ["team/app:1", "docker.io/team/app:1", "index.docker.io/team/app:1"])
def test_docker_hubs_login_is_found_however_the_image_names_it(panel: Panel, host: FakeHost, image: str) -> None:
    customer = panel.a_customer().id
    a_login(panel, customer, "docker.io")
    on_the_host(host, image)

    (login,) = pulled(host, a_job(panel, customer, image))["registry_auth"].values()

    assert login["password"] == PASSWORD


def failed(host: FakeHost, job: Job, said: str) -> errors.ImageUnavailable:
    host.answers["start"] = {"state": "done", "rc": 1, "output": f"pulling {PRIVATE}\nerror: {PRIVATE}: {said}"}
    on_the_host(host, PRIVATE)
    walk(job, "Preflight")
    assert step("Upload", job) == "images_missing"
    with pytest.raises(errors.ImageUnavailable) as caught:
        step("Pull", job)
    return caught.value


def test_wrong_credentials_end_in_an_error_that_names_the_registry(panel: Panel, host: FakeHost) -> None:
    customer = panel.a_customer().id
    a_login(panel, customer, "registry.example.com:5000")
    job = a_job(panel, customer, PRIVATE)

    error = failed(host, job, f"unauthorized: authentication required for ann:{PASSWORD}")
    walk_failure(job, error)

    ended = panel.jobs.get(job.id)
    assert ended.error is not None
    assert ended.error["code"] == "image_unavailable"
    assert ended.error["details"]["registry"] == "registry.example.com:5000"
    assert "registry.example.com:5000 refused the customer's credentials (user ann)" in ended.error["message"]
    events, _ = panel.services.events(job.service_id, 1, 10)
    assert PASSWORD not in str((ended, events, error.message, error.details))
    assert panel.services.get(job.service_id).status == "failed"


def test_missing_credentials_are_asked_for(panel: Panel, host: FakeHost) -> None:
    error = failed(host, a_job(panel, panel.a_customer().id, PRIVATE), "pull access denied")

    assert "store the customer's credentials for registry.example.com:5000" in error.message


def test_an_image_that_is_not_there_is_not_blamed_on_credentials(panel: Panel, host: FakeHost) -> None:
    error = failed(host, a_job(panel, panel.a_customer().id, PRIVATE), "manifest unknown")

    assert error.message == f"error: {PRIVATE}: manifest unknown"
    assert "hint" not in error.details


def test_an_image_that_a_login_brought_is_another_customers_only_by_the_registrys_word(
    panel: Panel, host: FakeHost
) -> None:
    mine, other = panel.a_customer().id, panel.a_customer("Other").id
    a_login(panel, mine, "registry.example.com:5000")
    on_the_host(host, PRIVATE)
    pulled(host, a_job(panel, mine, PRIVATE))
    on_the_host(host)  # it is there now

    own, others = a_job(panel, mine, PRIVATE, name="more"), a_job(panel, other, PRIVATE, name="theirs")
    walk(own, "Preflight", "Upload")
    tagged_otherwise = a_job(panel, other, "registry.example.com:5000/team/app@sha256:" + "0" * 64, name="sly")

    assert pulled(host, others)["registry_auth"] is None
    walk(tagged_otherwise, "Preflight")
    assert step("Upload", tagged_otherwise) == "images_missing"


def test_a_login_that_was_refused_opens_nothing(panel: Panel, host: FakeHost) -> None:
    mine, other = panel.a_customer().id, panel.a_customer("Other").id
    for customer in (mine, other):
        a_login(panel, customer, "registry.example.com:5000", f"password-of-{customer}")
    on_the_host(host, PRIVATE)
    pulled(host, a_job(panel, mine, PRIVATE))
    refused = a_job(panel, other, PRIVATE, name="theirs")
    walk_failure(refused, failed(host, refused, "unauthorized"))
    on_the_host(host)

    again = a_job(panel, other, PRIVATE, name="again")
    walk(again, "Preflight")

    assert step("Upload", again) == "images_missing"


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("redis", "docker.io/library/redis"),
        ("redis:7", "docker.io/library/redis"),
        ("docker.io/library/redis:7@sha256:00", "docker.io/library/redis"),
        ("index.docker.io/team/app", "docker.io/team/app"),
        ("Registry.lab:5000/a/b:1", "registry.lab:5000/a/b"),
        ("localhost/a@sha256:00", "localhost/a"),
    ],
)
def test_a_repository_has_one_name(image: str, repository: str) -> None:
    assert repository_of(image) == repository

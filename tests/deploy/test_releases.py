"""Releases: a change runs as a further one and shows only once it runs; any kept one can be run again as it was."""

import pytest

from chalicelib.deploy import drafting, start
from chalicelib.domain import errors
from chalicelib.domain.errors import Conflict, ValidationFailed
from chalicelib.domain.job import Job
from chalicelib.domain.service import Limits, Service
from tests.deploy.fakes import FakeHost, resolved, running
from tests.deploy.test_steps import ADMIN, GOOD_WAY, deployed, step, walk, walk_failure
from tests.emulator import Panel


def changed(service: Service, change: drafting.Change) -> Job:
    return start.update(drafting.draft_change(service, change), ADMIN)


def test_a_change_shows_once_it_runs(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = changed(service, drafting.Change(name="news", variables={"MOTTO": "new"}, limits=Limits(memory_mb=256)))
    assert panel.services.get(service.id).name == "blog"

    walk(job, *GOOD_WAY)

    after = panel.services.get(service.id)
    assert (after.name, after.release, after.limits.memory_mb) == ("news", 2, 256)
    assert drafting.variables_of(after) == {"PASSWORD": "canary-secret", "MOTTO": "new"}
    assert (panel.services.id_of_name("news"), panel.services.id_of_name("blog")) == (service.id, None)
    assert [row["name"] for row in panel.services.rows()] == ["news"]
    hosts = [request["hosts"] for verb, request in host.asked if verb == "route"]
    assert hosts == [["blog.localhost"], ["news.localhost"]]


def test_a_change_that_fails_changed_nothing(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = changed(service, drafting.Change(name="news", compose="services: {app: {image: 'broken:1', expose: ['80']}}"))
    walk(job, "Preflight", "Upload", "Up")
    host.containers = [running(state="exited", exit_code=1, restart_policy="no")]
    with pytest.raises(errors.Unhealthy) as error:
        step("Health", job)
    host.containers = [running()]

    walk_failure(job, error.value, up_began=True)

    after = panel.services.get(service.id)
    assert (after.name, after.compose, after.release, after.status) == ("blog", service.compose, 1, "running")
    assert panel.services.id_of_name("news") is None
    assert panel.services.id_of_name("blog") == service.id


def test_a_name_that_is_taken_is_refused_and_nothing_begins(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    drafted = drafting.draft_change(service, drafting.Change(name="news"))
    other = drafting.NewService(
        name="news",
        customer_id=service.customer_id,
        deploy_method="compose",
        compose="services: {app: {image: 'x:1'}}",
        variables={},
    )
    start.create(drafting.draft(other, ADMIN), ADMIN)

    with pytest.raises(Conflict, match="news exists"):
        start.update(drafted, ADMIN)

    assert panel.services.get(service.id).status == "running"
    panel.services.refuse_if_busy(service.id)


def test_a_roll_back_runs_the_images_and_variables_that_ran_then(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    walk(changed(service, drafting.Change(variables={"PASSWORD": "another-secret"})), *GOOD_WAY)

    job = start.roll_back(panel.services.get(service.id), None, ADMIN)
    walk(job, *GOOD_WAY)

    after = panel.services.get(service.id)
    assert (after.release, drafting.variables_of(after)) == (1, {"PASSWORD": "canary-secret"})
    brought = [request for verb, request in host.asked if verb == "start"][-1]
    assert (brought["release"], brought["images"]) == (1, {"app": "sha256:1"})
    assert panel.jobs.get(job.id).message == "Rolled back to release 1"
    assert "Rolled back to release 1" in [event.message for event in panel.services.events(service.id, 1, 20)[0]]


def test_an_image_of_an_old_release_that_is_gone_is_pulled_by_its_digest(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    walk(changed(service, drafting.Change(variables={"X": "1"})), *GOOD_WAY)
    job = start.roll_back(panel.services.get(service.id), 1, ADMIN)
    host.answers["upload"] = lambda request: {
        "resolved": resolved(request),
        "missing_images": ["sha256:1"],
        "built_here": [],
    }
    walk(job, "Preflight")

    assert step("Upload", job) == "images_missing"
    walk(job, "Pull")

    assert host.asked[-1][1]["pull"] == ["myapp@sha256:d1"]


@pytest.mark.parametrize("number", [None, 2, 99])
def test_a_release_that_is_not_kept_cannot_be_rolled_back_to(panel: Panel, host: FakeHost, number: int | None) -> None:
    service = deployed(panel)

    with pytest.raises(ValidationFailed, match="not kept"):
        start.roll_back(service, number, ADMIN)

    panel.services.refuse_if_busy(service.id)


def test_old_releases_are_forgotten_but_for_the_last_ones(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    for number in range(12):
        walk(changed(panel.services.get(service.id), drafting.Change(variables={"X": str(number)})), *GOOD_WAY)

    kept = [release.number for release in panel.services.releases(service.id)]

    assert kept == list(range(13, 3, -1))


def test_a_template_services_text_cannot_be_changed(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel).model_copy(update={"template": "uptime-kuma"})

    with pytest.raises(ValidationFailed, match="template"):
        drafting.draft_change(service, drafting.Change(compose="services: {a: {image: x}}"))

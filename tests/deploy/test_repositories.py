"""The steps of a deploy from a repository, on a host that does what a test says."""

import json
from typing import Any

import pytest

from chalicelib.deploy import drafting, pushes, repositories, start, upkeep
from chalicelib.deploy.placing import room_for
from chalicelib.domain import errors
from chalicelib.domain.errors import SlipwayError
from chalicelib.domain.git import Credentials, Repository
from chalicelib.domain.job import Job
from chalicelib.domain.panel import CustomerLimits
from chalicelib.domain.push import Push
from chalicelib.domain.service import Service
from chalicelib.store.services import Room
from tests.deploy.fakes import FakeHost, resolved, running
from tests.deploy.test_steps import ADMIN, caught, step, walk
from tests.emulator import Panel

FIRST, SECOND = "1" * 40, "2" * 40
DOCKERFILE = 'FROM busybox:1\nEXPOSE 8000\nCMD ["httpd"]\n'
URL = "https://git.example.com/team/app.git"
BUILDING = ("Source", "Plan")
RUNNING = ("Upload", "Up", "Health", "Route", "Record")


class Sources:
    """What the fake host fetched and built: a repository's files at a commit, and images by name."""

    def __init__(self, host: FakeHost) -> None:
        self.commit = FIRST
        self.texts: dict[str, str] = {"Dockerfile": DOCKERFILE}
        self.images: set[str] = set()
        self.asked = host.asked
        self._done = host.answers["start"]
        host.containers = [running("web")]
        host.answers |= {
            "start": self._start,
            "tree": lambda _: {"files": sorted(self.texts), "truncated": False, "texts": dict(self.texts)},
            "preflight": self._preflight,
            "upload": lambda request: {
                "resolved": resolved(request),
                "missing_images": [],
                "built_here": [image for image in request["images"] if image in self.images],
            },
            "listening": {"listening": {"web": [{"ip": "127.0.0.1", "port": 3000}]}},
            "forget_images": {"images": []},
        }

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = {**self._done, "result": None}
        if request["kind"] == "fetch":
            return {
                **answer,
                "result": {"commit": request["git"]["commit"] or self.commit, "known_hosts": "git AAAA\n"},
            }
        if request["kind"] == "build":
            self.images |= {image["tag"] for image in request["builds"]}
        return answer

    def _preflight(self, request: dict[str, Any]) -> dict[str, Any]:
        missing = [image for image in request["images"] if image not in self.images]
        return {"disk_free_mb": 9000, "problems": [], "missing_images": missing}

    def requests(self, kind: str) -> list[dict[str, Any]]:
        return [request for verb, request in self.asked if verb == "start" and request["kind"] == kind]


@pytest.fixture
def sources(host: FakeHost) -> Sources:
    return Sources(host)


def wanted(panel: Panel, **more: Any) -> drafting.NewService:
    panel.a_host()
    given: dict[str, Any] = {
        "name": "app",
        "customer_id": panel.a_customer().id,
        "deploy_method": "git",
        "compose": "",
        "variables": {},
        "repository": Repository(url=URL, branch="main"),
        **more,
    }
    return drafting.NewService(**given)


def created(panel: Panel, **more: Any) -> tuple[Service, Job]:
    return start.create(drafting.draft(wanted(panel, **more), ADMIN), ADMIN)


def deployed(panel: Panel, **more: Any) -> Service:
    service, job = created(panel, **more)
    through(job)
    return panel.services.get(service.id)


def through(job: Job) -> None:
    assert step("Admit", job) == "fetch"
    walk(job, *BUILDING)
    if step("Preflight", job) == "build":
        walk(job, "Build")
    walk(job, *RUNNING)


def test_a_release_is_fetched_planned_built_and_run(panel: Panel, sources: Sources) -> None:
    service = deployed(panel, variables={"GREETING": "hi", "PASSWORD": "canary-secret"})

    release = panel.services.release(service.id, 1)
    assert (release.state, release.commit, release.route_port) == ("good", FIRST, 8000)
    assert release.images == (f"slipway/{service.id}:1-web",)
    assert (service.commit, service.known_hosts) == (FIRST, "git AAAA\n")
    (build,) = sources.requests("build")[0]["builds"]
    assert build["text"].splitlines()[:2] == ["FROM busybox:1", f"LABEL slipway.service={service.id}"]
    document = json.loads(next(request["compose"] for verb, request in sources.asked if verb == "upload"))
    assert document["services"]["web"]["environment"] == {"GREETING": "hi", "PASSWORD": "canary-secret"}
    events, _ = panel.services.events(service.id, 1, 10)
    assert f"Deployed from {URL} at commit {FIRST[:8]}" in [event.message for event in events]


def test_every_step_may_run_twice(panel: Panel, sources: Sources) -> None:
    _, job = created(panel)

    for name in ("Admit", "Source", "Plan", "Preflight"):
        assert step(name, job) == step(name, job)
    for name in ("Build", *RUNNING):
        walk(job, name, name)

    ended = panel.jobs.get(job.id)
    assert (ended.status, len(ended.plans)) == ("succeeded", 1)


def test_a_redeploy_fetches_the_newest_commit_and_builds_what_changed_alone(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)

    through(start.redeploy(service, ADMIN))
    assert len(sources.requests("build")) == 1
    service = panel.services.get(service.id)
    assert panel.services.release(service.id, 2).images == (f"slipway/{service.id}:1-web",)

    sources.commit = SECOND
    through(start.redeploy(service, ADMIN))
    assert len(sources.requests("build")) == 2
    assert panel.services.get(service.id).commit == SECOND


def test_a_changed_variable_brings_no_new_code(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)
    sources.commit = SECOND

    drafted = drafting.draft_change(service, drafting.Change(variables={"A": "1"}))
    through(start.update(drafted, ADMIN, same_sources=True))

    assert panel.services.get(service.id).commit == FIRST
    assert len(sources.requests("build")) == 1


def test_a_rollback_runs_the_old_image_and_fetches_nothing(panel: Panel, sources: Sources) -> None:
    service = deployed(panel, credentials=Credentials(token="old-token"))
    sources.commit = SECOND
    change = drafting.Change(repository={"branch": "next"}, credentials={"token": "new-token"})
    through(start.update(drafting.draft_change(service, change), ADMIN))
    service = panel.services.get(service.id)
    asked = len(sources.requests("fetch")), len(sources.requests("build"))

    job = start.roll_back(service, 1, ADMIN)
    walk(job, "Admit", "Preflight", *RUNNING)

    assert (len(sources.requests("fetch")), len(sources.requests("build"))) == asked
    after = panel.services.get(service.id)
    assert (after.commit, after.repository and after.repository.branch) == (FIRST, "main")
    assert drafting.credentials_of(after).token == "new-token"


def test_a_rollback_whose_image_is_gone_says_so(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)
    sources.commit = SECOND
    through(start.redeploy(service, ADMIN))
    sources.images.clear()

    with pytest.raises(errors.ImageUnavailable, match="redeploy instead"):
        step("Preflight", start.roll_back(panel.services.get(service.id), 1, ADMIN))


def test_images_that_no_kept_release_runs_are_forgotten(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)

    (keep,) = [request["keep"] for verb, request in sources.asked if verb == "forget_images"]
    assert keep == [f"slipway/{service.id}:1-web"]


def test_what_would_be_deployed_is_planned_and_leaves_nothing(panel: Panel, sources: Sources) -> None:
    job = start.plan(drafting.draft(wanted(panel), ADMIN), ADMIN)
    assert panel.services.rows() == []
    with pytest.raises(errors.NotFound):
        panel.services.get(job.service_id)

    assert step("Admit", job) == "fetch"
    walk(job, "Source")
    assert step("Plan", job) == "planned"
    walk(job, "RecordPlan", "RecordPlan")

    ended = panel.jobs.get(job.id)
    assert (ended.status, ended.plans[0].kind, ended.plans[0].commit) == ("succeeded", "dockerfile", FIRST)
    assert panel.services.find(job.service_id) is None
    assert panel.promises.of([job.host_id])[job.host_id]["services"] == 0
    assert panel.services.removals() == []
    assert panel.services.id_of_name("app") is None


def test_a_plan_that_fails_is_removed_by_the_minute(panel: Panel, sources: Sources) -> None:
    sources.texts = {"notes.txt": "nothing to run"}
    job = start.plan(drafting.draft(wanted(panel), ADMIN), ADMIN)
    walk(job, "Source")
    with pytest.raises(errors.CannotPlan) as raised:
        step("Plan", job)
    step("RecordFailure", job, error=caught(raised.value))

    assert panel.jobs.get(job.id).error["code"] == "cannot_plan"  # type: ignore[index]
    upkeep.go_on_removing()
    (removal,) = panel.services.removals()
    walk(panel.jobs.get(removal["job_id"]), "Remove", "RecordRemoval")
    assert panel.services.find(job.service_id) is None
    assert panel.promises.of([job.host_id])[job.host_id]["services"] == 0


def test_a_compose_file_of_a_repository_is_judged_as_anyones(panel: Panel, sources: Sources) -> None:
    sources.texts = {
        "compose.yaml": "services: {web: {build: ., privileged: true, volumes: ['/:/host'], ports: ['80']}}",
        "Dockerfile": DOCKERFILE,
    }
    _, job = created(panel)
    walk(job, "Source")

    with pytest.raises(errors.ValidationFailed) as raised:
        step("Plan", job)

    assert {found["path"] for found in raised.value.details} == {"services.web.privileged", "services.web.volumes[0]"}


@pytest.mark.parametrize("context", ["..", "/etc", "https://git.example.com/x.git", "../../..", "a/../../b"])
def test_a_build_stays_inside_of_its_repository(panel: Panel, sources: Sources, context: str) -> None:
    sources.texts = {"compose.yaml": json.dumps({"services": {"web": {"build": context, "expose": ["80"]}}})}
    _, job = created(panel)
    walk(job, "Source")

    with pytest.raises(errors.ValidationFailed, match="repository"):
        step("Plan", job)


def test_a_compose_files_builds_are_built_each(panel: Panel, sources: Sources, host: FakeHost) -> None:
    host.containers = [running("web"), running("jobs")]
    sources.texts = {
        "compose.yaml": json.dumps(
            {
                "services": {
                    "web": {"build": {"context": "web", "args": {"V": "${VERSION:-1}"}}, "ports": ["8080:8000"]},
                    "jobs": {"build": {"context": ".", "dockerfile": "jobs.Dockerfile", "target": "run"}},
                }
            }
        ),
        "web/Dockerfile": "ARG V\nFROM busybox:$V\n",
        "jobs.Dockerfile": "FROM busybox:1 AS run\n",
    }
    service = deployed(panel, variables={"VERSION": "2"})

    builds = {one["service"]: one for one in sources.requests("build")[0]["builds"]}
    assert (builds["web"]["context"], builds["web"]["dockerfile"], builds["web"]["args"]) == (
        "web",
        "Dockerfile",
        {"V": "2"},
    )
    assert (builds["jobs"]["context"], builds["jobs"]["dockerfile"], builds["jobs"]["target"]) == (
        "",
        "jobs.Dockerfile",
        "run",
    )
    assert panel.services.release(service.id, 1).images == (
        f"slipway/{service.id}:1-web",
        f"slipway/{service.id}:1-jobs",
    )


def test_a_subfolder_is_deployed_by_its_own_files(panel: Panel, sources: Sources) -> None:
    sources.texts = {"apps/web/Dockerfile": DOCKERFILE, "Dockerfile": "FROM other:1\n"}

    deployed(panel, repository=Repository(url=URL, path="apps/web"))

    (build,) = sources.requests("build")[0]["builds"]
    assert (build["context"], build["dockerfile"], build["text"].split()[1]) == ("apps/web", "Dockerfile", "busybox:1")


def test_credentials_reach_the_host_by_value_and_no_record(panel: Panel, sources: Sources, host: FakeHost) -> None:
    service, job = created(panel, credentials=Credentials(token="canary-token"))
    host.answers["start"] = errors.RepositoryUnavailable("fatal: https://oauth2:canary-token@git.example.com: no")

    with pytest.raises(errors.RepositoryUnavailable) as raised:
        step("Source", job)

    assert "canary-token" not in str(raised.value)
    assert sources.requests("fetch")[0]["git"]["token"] == "canary-token"
    items = [*panel.table.query(f"SVC#{service.id}"), panel.table.get((f"JOB#{job.id}", "META"))]
    assert "canary-token" not in repr(items)


def test_what_is_promised_grows_with_what_the_repository_needs(panel: Panel, sources: Sources) -> None:
    sources.texts = {
        "compose.yaml": json.dumps(
            {"services": {name: {"image": "busybox:1", "mem_limit": "2g"} for name in ("web", "db", "jobs")}}
        )
    }
    service, job = created(panel)
    walk(job, "Source", "Plan", "Plan")

    assert panel.services.get(service.id).promised.memory_mb == 3 * 2048
    assert panel.promises.of([service.host_id])[service.host_id]["memory_mb"] == 3 * 2048


def test_a_limit_that_is_reached_while_it_is_planned_is_named(
    panel: Panel, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = {"image": "busybox:1", "mem_limit": "2g"}
    sources.texts = {"compose.yaml": json.dumps({"services": {"web": web}})}
    service, job = created(panel)
    walk(job, "Source")

    def lowered_meanwhile(host_id: str, customer_id: str) -> Room:
        customer = panel.customers.get(customer_id)
        panel.customers.change(customer, limits=CustomerLimits(memory_mb=1024))
        return room_for(host_id, customer_id)

    monkeypatch.setattr(repositories, "room_for", lowered_meanwhile)

    with pytest.raises(errors.ValidationFailed, match="the customer may have 1024 MB of memory, has 512"):
        walk(job, "Plan", "Plan")

    assert panel.services.get(service.id).promised.memory_mb == 512


def test_a_container_that_the_host_has_not_the_cores_for_fails_with_its_plan(panel: Panel, sources: Sources) -> None:
    sources.texts = {"compose.yaml": "services: {web: {image: 'busybox:1', cpus: 9}}"}
    _, job = created(panel)
    walk(job, "Source")

    with pytest.raises(errors.NoRoom, match="has 8 cores, and one container is to have 9"):
        step("Plan", job)


def test_an_app_that_listens_elsewhere_is_told_where(
    panel: Panel, sources: Sources, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, job = created(panel)
    walk(job, *BUILDING)
    assert step("Preflight", job) == "build"
    walk(job, "Build", "Upload", "Up")
    host.listening = False
    monkeypatch.setattr("chalicelib.deploy.steps._patience", lambda work: -1)

    with pytest.raises(
        errors.Unhealthy, match=r"nothing listens on port 8000 of web; it listens on 127\.0\.0\.1:3000 instead"
    ):
        step("Health", job)


# pushes


def pushed(commit: str = SECOND, delivery: str = "d1", branch: str = "main") -> Push:
    return Push(delivery=delivery, event="push", branch=branch, commit=commit, default_branch="main")


def test_a_push_of_the_branch_is_deployed_once_for_each_delivery(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)

    taken = pushes.take(service, pushed())
    again = pushes.take(panel.services.get(service.id), pushed())

    assert (taken.deploys, again.deploys) == (True, False)
    assert again.message == "this delivery was taken before"
    assert panel.jobs.get(str(taken.job_id)).kind == "redeploy"


def test_a_burst_becomes_one_deploy_of_the_newest_commit(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)
    first = panel.jobs.get(str(pushes.take(service, pushed("3" * 40, "d1")).job_id))
    absorbed = pushes.take(panel.services.get(service.id), pushed("4" * 40, "d2"))
    assert absorbed.job_id == first.id
    assert step("Admit", first) == "fetch"
    walk(first, "Source")

    for number in range(5, 9):
        later = pushes.take(panel.services.get(service.id), pushed(str(number) * 40, f"d{number}"))
        assert later.job_id == first.id
    walk(first, "Plan")
    step("Preflight", first)
    walk(first, *RUNNING)

    jobs = list(panel.jobs.unfinished())
    assert [job.kind for job in jobs] == ["redeploy"]
    sources.commit = "8" * 40
    through(jobs[0])
    assert panel.services.get(service.id).commit == "8" * 40
    assert list(panel.jobs.unfinished()) == []
    assert list(panel.webhooks.all_marked()) == []


def test_what_was_pushed_while_busy_and_runs_by_then_is_not_deployed_again(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    step("Admit", job)
    sources.commit = SECOND
    walk(job, "Source")
    pushes.take(panel.services.get(service.id), pushed(SECOND))
    walk(job, "Plan")
    step("Preflight", job)
    walk(job, "Build", *RUNNING)

    assert list(panel.jobs.unfinished()) == []
    assert list(panel.webhooks.all_marked()) == []


def test_a_push_is_followed_even_where_the_job_fails(panel: Panel, sources: Sources) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    step("Admit", job)
    walk(job, "Source")
    pushes.take(panel.services.get(service.id), pushed(SECOND))

    step("RecordFailure", job, error=caught(errors.BuildFailed("no")))

    assert [job.kind for job in panel.jobs.unfinished()] == ["redeploy"]


@pytest.mark.parametrize(
    ("push", "why"),
    [
        (pushed(branch="other"), "branch other was pushed, and main is deployed"),
        (Push("d", "ping", None, None, None), "no push of a branch"),
        (Push("d", "push", "main", None, "main"), "deleted"),
    ],
)
def test_a_push_that_does_not_concern_the_service_is_told_why(
    panel: Panel, sources: Sources, push: Push, why: str
) -> None:
    service = deployed(panel)

    taken = pushes.take(service, push)

    assert not taken.deploys
    assert why in taken.message
    assert list(panel.jobs.unfinished()) == []


def test_an_error_of_the_kit_is_one_of_ours() -> None:
    for name in ("RepositoryUnavailable", "RepositoryRefused", "BuildFailed"):
        assert issubclass(getattr(errors, name), SlipwayError)

"""Deploys from a repository: what is pushed runs, what cannot is told why, and what ran before goes on running."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import requests

from infra.local import images
from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Client, Plane, eventually
from tests.lab import bases
from tests.lab.git_server import GitServer, Repository
from tests.lab.hosts import Lab
from tests.planning import trees
from tests.planning.test_builds import BUILT

DOCKERFILE = """\
FROM busybox:1
COPY index.html /www/index.html
USER 1000
EXPOSE 8000
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""
GOOD: dict[str, str | bytes | None] = {"Dockerfile": DOCKERFILE, "index.html": "good\n"}


@pytest.fixture(scope="module")
def git(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("git"), lab.ground.address(1)) as server:
        yield server


def fixture_of(git: GitServer, name: str) -> Repository:
    repository = git.repository(name)
    root = trees.REPOSITORIES / name
    repository.commit({str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    return repository


def test_what_is_pushed_runs_at_its_commit_and_what_ran_before_runs_again_without_a_build(
    admin: Client, host: DockerHost, git: GitServer
) -> None:
    repository = git.repository("page")
    first = repository.commit({**GOOD, "index.html": "first\n"})
    made = admin.create_from("page", repository.url, git_branch="main", host_id=host.id)
    job = admin.succeeded(made["deploy_job_id"])
    assert host.visit(made["url"]).text == "first\n"
    assert (job["plan"]["kind"], job["plan"]["commit"]) == ("dockerfile", first)

    second = repository.commit({"index.html": "second\n"})
    admin.succeeded(admin.redeploy(made["id"]))

    assert host.visit(made["url"]).text == "second\n"
    assert admin.get(f"services/{made['id']}")["commit"] == second
    assert ("deploy", "success", f"Redeployed from {repository.url} at commit {second[:8]}") in admin.timeline(
        made["id"]
    )
    back = admin.post(f"services/{made['id']}/rollback")["deploy_job_id"]
    steps = [step["name"] for step in admin.succeeded(back)["steps"]]
    assert not {"Source", "Plan", "Build"} & set(steps)
    assert host.visit(made["url"]).text == "first\n"
    releases = admin.get(f"services/{made['id']}/releases")["data"]
    assert [release["commit"] for release in releases] == [second, first]


def test_the_same_commit_is_not_built_again(admin: Client, host: DockerHost, git: GitServer) -> None:
    repository = git.repository("same")
    repository.commit(GOOD)
    made = admin.create_from("same", repository.url, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])
    container = host.container(made["id"])

    job = admin.succeeded(admin.redeploy(made["id"]))

    assert "Build" not in [step["name"] for step in job["steps"]]
    assert host.container(made["id"]) == container


def test_variables_reach_what_is_built_from_a_repository_without_a_compose_file(
    admin: Client, host: DockerHost, git: GitServer
) -> None:
    repository = git.repository("variables")
    start = 'mkdir /tmp/www && echo "$GREETING" >/tmp/www/index.html && exec httpd -f -p 8000 -h /tmp/www'
    repository.commit({"Dockerfile": f"FROM busybox:1\nEXPOSE 8000\nCMD {json.dumps(['sh', '-c', start])}\n"})

    made = admin.create_from("variables", repository.url, host_id=host.id, variables={"GREETING": "hello $HOME"})
    admin.succeeded(made["deploy_job_id"])

    assert host.visit(made["url"]).text == "hello $HOME\n"


def test_a_private_repository_is_opened_by_its_token(admin: Client, host: DockerHost, git: GitServer) -> None:
    repository = git.repository("private", password="canary-token")
    repository.commit(GOOD)

    made = admin.create_from("private", repository.url, git_token="canary-token", host_id=host.id)
    job = admin.succeeded(made["deploy_job_id"])

    assert host.visit(made["url"]).text == "good\n"
    shown = json.dumps([job, admin.get(f"services/{made['id']}"), admin.timeline(made["id"])])
    assert "canary-token" not in shown
    home = f"/home/{host.lab.user}/.slipway"
    assert host.lab.run("grep", "-r", "canary-token", home).stdout == b""


def test_what_would_be_deployed_is_planned_by_a_job_and_nothing_stays(
    admin: Client, plane: Plane, host: DockerHost, git: GitServer
) -> None:
    repository = fixture_of(git, "python-flask-pip")
    wanted = {"customer_id": plane.customer_id, "deploy_method": "git", "git_url": repository.url, "host_id": host.id}

    asked = admin.ask("POST", "services", {"name": "planned", **wanted}, dry_run="true")

    assert asked.status_code == 202
    job = admin.succeeded(asked.json()["deploy_job_id"])
    assert (job["kind"], job["plan"]["kind"], job["plan"]["stack"]) == ("plan", "detected", "python/flask/pip")
    assert "FROM python" in job["plan"]["dockerfile"]
    assert host.held(job["service_id"]) == []
    assert admin.get("services", search="planned")["total"] == 0


def test_a_burst_of_pushes_is_one_deploy_of_the_newest(
    admin: Client, plane: Plane, host: DockerHost, git: GitServer
) -> None:
    repository = git.repository("pushed")
    repository.commit({**GOOD, "index.html": "0\n"})
    made = admin.create_from("pushed", repository.url, git_branch="main", host_id=host.id)
    admin.succeeded(made["deploy_job_id"])
    hook = admin.post(f"services/{made['id']}/webhook")

    for number in range(1, 6):
        commit = repository.commit({"index.html": f"{number}\n"})
        told = pushed(plane, hook, commit, f"delivery-{number}")
        assert (told.status_code, told.json()["deploys"]) == (202, True), told.text

    eventually(lambda: host.visit(made["url"]).text == "5\n", "the newest commit answers", 120)
    eventually(lambda: admin.get(f"services/{made['id']}")["status"] == "running", "the last job is over", 120)
    assert 2 <= len(admin.get(f"services/{made['id']}/releases")["data"]) <= 4
    assert pushed(plane, hook, "1" * 40, "delivery-5").json()["deploys"] is False
    assert pushed(plane, {**hook, "secret": "wrong"}, "1" * 40, "delivery-9").status_code == 401


def pushed(plane: Plane, hook: Mapping[str, Any], commit: str, delivery: str) -> requests.Response:
    body = json.dumps({"ref": "refs/heads/main", "after": commit, "repository": {"default_branch": "main"}}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": "sha256=" + hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest(),
    }
    with requests.Session() as session:
        session.trust_env = False
        return session.post(plane.api + hook["paths"]["github"], data=body, headers=headers, timeout=30)


@pytest.mark.long
@pytest.mark.parametrize("name", BUILT)
def test_a_repository_of_each_kind_is_built_and_answers(
    admin: Client, host: DockerHost, git: GitServer, name: str
) -> None:
    # What compose-built runs beside what it builds.
    host.lab.load(*bases.ALL, replace(images.DEMO, reference="redis:7"))
    repository = fixture_of(git, name)

    made = admin.create_from(name, repository.url, host_id=host.id)
    admin.succeeded(made["deploy_job_id"], 120)

    assert BUILT[name] in host.visit(made["url"]).text


# what cannot be deployed


@pytest.fixture(scope="module")
def bad(git: GitServer) -> Mapping[str, Repository]:
    """Repositories that cannot be deployed, or not as they are asked for."""
    made = {
        name: git.repository(f"bad-{name}") for name in ("large", "module", "metadata", "endless", "broken", "unclear")
    }
    made["empty"] = git.repository("bad-empty")
    commit = made["module"].commit(GOOD)
    made["module"].submodule("lib", "file:///etc", commit)
    made["metadata"].commit(GOOD)
    made["metadata"].submodule("lib", "http://169.254.169.254/latest", commit)
    made["large"].commit({**GOOD, "data": bytes(120 << 20)})
    made["endless"].commit({**GOOD, "Dockerfile": "FROM busybox:1\nRUN sleep 1000\n"})
    made["broken"].commit({**GOOD, "Dockerfile": "FROM busybox:1\nRUN echo the build says why; exit 7\n"})
    made["unclear"].commit({"notes.md": "nothing to run here"})
    for name, start in (
        ("elsewhere", 'CMD ["httpd", "-f", "-p", "3000", "-h", "/www"]'),
        ("alone", 'CMD ["httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/www"]'),
    ):
        made[name] = git.repository(f"bad-{name}")
        made[name].commit({**GOOD, "Dockerfile": DOCKERFILE.rpartition("CMD")[0] + start + "\n"})
    return made


NO_COMMIT = "1" * 40


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "change", "code", "said"),
    [
        ("empty", {}, "repository_unavailable", "it has no branch main"),
        ("broken", {"git_branch": "nowhere"}, "repository_unavailable", "it has no branch nowhere"),
        ("broken", {"git_commit": NO_COMMIT}, "repository_unavailable", f"it has no commit {NO_COMMIT}"),
        ("large", {}, "repository_refused", "larger than the 100 MB"),
        ("module", {}, "repository_refused", "submodule lib: only https:// and ssh://"),
        ("metadata", {}, "repository_refused", "submodule lib: its host is a link-local, metadata"),
        ("unclear", {}, "cannot_plan", "nothing says how this is run"),
        ("broken", {}, "build_failed", "returned a non-zero code: 7"),
        ("endless", {}, "build_failed", "the build did not end within 20 s"),
        ("elsewhere", {}, "unhealthy", "nothing listens on port 8000 of web; it listens on"),
        ("alone", {}, "unhealthy", "which nobody outside of its container reaches"),
    ],
)
def test_what_cannot_be_deployed_is_told_why_and_what_ran_before_runs_on(
    admin: Client,
    host: DockerHost,
    git: GitServer,
    bad: Mapping[str, Repository],
    name: str,
    change: Any,
    code: str,
    said: str,
) -> None:
    good = git.repository(f"good-{time.monotonic_ns()}")
    good.commit(GOOD)
    made = admin.create_from("steady", good.url, git_branch="main", host_id=host.id)
    admin.succeeded(made["deploy_job_id"])

    changed = admin.ask("PATCH", f"services/{made['id']}", {"git_url": bad[name].url, **change})
    assert changed.status_code == 200, changed.text
    job = admin.failed(changed.json()["deploy_job_id"], 120)

    assert (job["error"]["code"], said in job["error"]["message"]) == (code, True), job["error"]
    assert host.visit(made["url"]).text == "good\n"
    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["release"], service["repository"]["url"]) == ("running", 1, good.url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://no-such-host.invalid/x.git", "unknown host no-such-host.invalid"),
        ("http://git.lab:{port}/missing.git", "there is none at"),
    ],
)
def test_a_repository_that_is_nowhere_is_named(
    admin: Client, host: DockerHost, git: GitServer, url: str, said: str
) -> None:
    made = admin.create_from("nowhere", url.format(port=git.port), host_id=host.id)

    job = admin.failed(made["deploy_job_id"])

    assert (job["error"]["code"], said in job["error"]["message"]) == ("repository_unavailable", True), job["error"]
    assert admin.get(f"services/{made['id']}")["status"] == "failed"


def test_a_build_is_cancelled_with_everything_it_started(admin: Client, host: DockerHost, git: GitServer) -> None:
    repository = git.repository("cancelled")
    repository.commit({**GOOD, "Dockerfile": "FROM busybox:1\nRUN echo begun && sleep 1000\n"})
    made = admin.create_from("cancelled", repository.url, host_id=host.id)
    admin.at_step(made["deploy_job_id"], "Build")

    admin.post(f"jobs/{made['deploy_job_id']}/cancel")

    assert admin.ended(made["deploy_job_id"])["status"] == "cancelled"
    eventually(lambda: "sleep" not in host.lab.docker("ps", "--no-trunc"), "no step of the build runs")

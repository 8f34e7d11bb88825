"""Deploys by `ai`: a model beside the rules, by each provider's own protocol, whatever it answers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.local import images
from tests.journeys.conftest import DockerHost, Stage, clean_up, register
from tests.journeys.plane import SETTINGS, Client, Plane
from tests.lab import bases
from tests.lab.git_server import GitServer
from tests.lab.hosts import Lab
from tests.planning.provider import Raw, Refused, StandIn

pytestmark = [pytest.mark.long]

PAGE = 'mkdir -p /tmp/www && echo "hello from a model" >/tmp/www/index.html && exec httpd -f -p 8000 -h /tmp/www'
WORKING = f"FROM busybox:1\nUSER 1000\nEXPOSE 8000\nCMD {json.dumps(['sh', '-c', PAGE])}\n"
FAILING = WORKING.replace("USER", "RUN exit 9\nUSER")


@dataclass
class Script:
    """What the model answers next; a test says it."""

    steps: list[Any] = field(default_factory=list)

    def __call__(self, prompt: str) -> Any:
        return self.steps.pop(0) if self.steps else Refused(500)


@dataclass(frozen=True)
class Answering:
    """A control plane whose model is the stand-in, a caller of it, and the host as that plane knows it."""

    provider: str
    script: Script
    plane: Plane
    admin: Client
    host: DockerHost


@pytest.fixture(scope="module")
def git(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("git"), lab.ground.address(1)) as server:
        yield server


@pytest.fixture(scope="module", params=["openai", "bedrock"])
def with_a_model(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Answering]:
    script = Script()
    with StandIn(script) as server:
        model = {
            "SLIPWAY_AI_PROVIDER": request.param,
            "SLIPWAY_AI_MODEL": "stand-in",
            "SLIPWAY_AI_BASE_URL": server.url + ("/v1" if request.param == "openai" else ""),
            "SLIPWAY_AI_KEY": "a-key",
            "SLIPWAY_HEALTH_TIMEOUT_SECONDS": "5",
        }
        with Plane(tmp_path_factory.mktemp("plane"), {**SETTINGS, **model}) as plane:
            caller = plane.client()
            (lab_host,) = lab.hosts("model")
            lab_host.load(images.BUSYBOX, images.EDGE, *bases.ALL)
            known = register(caller, lab_host, "model")
            assert caller.post(f"hosts/{known['id']}/check")["status"] == "ready"
            host = DockerHost(known["id"], lab_host)
            yield Answering(request.param, script, plane, caller, host)
            caller.ask("DELETE", f"hosts/{known['id']}")  # the next control plane's, from here on


@pytest.fixture
def answering(with_a_model: Answering) -> Iterator[Answering]:
    """What a test made is deleted afterwards."""
    yield with_a_model
    clean_up(with_a_model.admin, Stage(with_a_model.plane, (with_a_model.host, with_a_model.host)))
    with_a_model.admin.made.clear()


def test_where_the_rules_know_nothing_the_model_writes_a_dockerfile(answering: Answering, git: GitServer) -> None:
    repository = git.repository(f"words-{answering.provider}")
    repository.commit({"notes.md": "no rule knows how this is run"})
    answering.script.steps = [{"dockerfile": WORKING, "notes": "a page by httpd"}]

    made = answering.admin.create_by_ai("words", repository.url, host_id=answering.host.id)
    job = answering.admin.succeeded(made["deploy_job_id"])

    assert answering.host.visit(made["url"]).text == "hello from a model\n"
    assert job["plan"]["by"] == "model"


def test_a_repair_that_works_the_second_time(answering: Answering, git: GitServer) -> None:
    repository = git.repository(f"mended-{answering.provider}")
    repository.commit({"notes.md": "no rule knows how this is run"})
    answering.script.steps = [
        {"dockerfile": FAILING},
        {"dockerfile": FAILING.replace("9", "8")},
        {"dockerfile": WORKING},
    ]

    made = answering.admin.create_by_ai("mended", repository.url, host_id=answering.host.id)
    job = answering.admin.succeeded(made["deploy_job_id"])

    assert answering.host.visit(made["url"]).text == "hello from a model\n"
    assert [plan["because"].rpartition(": ")[2] for plan in job["plans"]] == ["", "9", "8"]


def test_what_starts_and_does_not_answer_is_repaired_while_the_release_before_runs(
    answering: Answering, git: GitServer
) -> None:
    repository = git.repository(f"port-{answering.provider}")
    repository.commit({"notes.md": "no rule knows how this is run"})
    answering.script.steps = [{"dockerfile": WORKING}]
    made = answering.admin.create_by_ai("port", repository.url, host_id=answering.host.id)
    answering.admin.succeeded(made["deploy_job_id"])
    repository.commit({"notes.md": "changed"})
    elsewhere = WORKING.replace("-p 8000", "-p 3000")
    answering.script.steps = [
        {"dockerfile": elsewhere},
        {"dockerfile": elsewhere.replace("EXPOSE 8000", "EXPOSE 3000")},
    ]

    job = answering.admin.succeeded(answering.admin.redeploy(made["id"]), 120)

    assert "it listens on" in job["plans"][1]["because"]
    assert "RollBack" in [step["name"] for step in job["steps"]]
    assert job["plan"]["port"] == 3000
    assert answering.host.visit(made["url"]).text == "hello from a model\n"


@pytest.mark.parametrize(
    "answer",
    [
        Raw(b"not JSON"),
        {"colour": "red"},
        {"compose": "services: {web: {image: 'busybox:1', privileged: true}}"},
        {"compose": "services: {web: {image: 'busybox:1', volumes: ['/var/run/docker.sock:/s']}}"},
        Refused(401),
    ],
    ids=["no-json", "wrong-shape", "privileged", "socket", "refused"],
)
def test_an_answer_that_is_of_no_use_or_not_allowed_leaves_the_rules_plan(
    answering: Answering, git: GitServer, answer: Any, request: pytest.FixtureRequest
) -> None:
    name = f"rules-{request.node.callspec.id}".lower().replace("_", "-")
    repository = git.repository(name)
    # Where it listens, the rules can only assume.
    repository.commit({"Dockerfile": WORKING.replace("EXPOSE 8000\n", "").replace("-p 8000", "-p 8080")})
    answering.script.steps = [answer, answer]

    made = answering.admin.create_by_ai(name[:40].strip("-"), repository.url, host_id=answering.host.id)
    job = answering.admin.succeeded(made["deploy_job_id"])

    assert answering.host.visit(made["url"]).text == "hello from a model\n"
    assert (job["plan"]["kind"], job["plan"]["port"]) == ("dockerfile", 8080)
    assert "the plan stays as it was" in job["plan"]["reasons"][-1]


def test_a_model_that_cannot_mend_it_leaves_the_failure_as_it_was(answering: Answering, git: GitServer) -> None:
    repository = git.repository(f"lost-{answering.provider}")
    repository.commit({"Dockerfile": FAILING})
    answering.script.steps = [Refused(401)] * 4

    made = answering.admin.create_by_ai("lost", repository.url, host_id=answering.host.id)
    job = answering.admin.failed(made["deploy_job_id"])

    assert job["error"]["code"] == "build_failed"
    assert job["error"]["message"].endswith("returned a non-zero code: 9")
    assert next(step for step in job["steps"] if step["name"] == "Repair")["message"].startswith("not repaired: ")


def test_without_a_model_an_ai_deploy_goes_by_the_rules_and_says_so(
    admin: Client, host: DockerHost, git: GitServer
) -> None:
    host.lab.load(*bases.ALL)
    repository = git.repository("no-model")
    repository.commit({"Dockerfile": WORKING})

    made = admin.create_by_ai("no-model", repository.url, host_id=host.id)
    job = admin.succeeded(made["deploy_job_id"])

    assert host.visit(made["url"]).text == "hello from a model\n"
    assert job["plan"]["reasons"][-1] == "no model is configured: planned by the rules alone"

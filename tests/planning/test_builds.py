"""Generated Dockerfiles on a real engine: they build, run as nobody in particular, and answer over HTTP."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from chalicelib.domain import compose
from chalicelib.domain.planning import BuildPlan, plan
from tests.lab import bases
from tests.lab.hosts import LabHost
from tests.planning import trees

# What nothing must be downloaded for, and a word of what each answers.
BUILT = {
    "compose-built": "hello from compose",
    "dockerfile-busybox": "hello from a Dockerfile",
    "node-built": "hello from a build",
    "node-http-npm": "hello from node",
    "node-main": "hello from main",
    "python-http-server": "hello from http.server",
    "python-procfile": "hello from a Procfile",
    "python-script-environment": "hello from app.py",
    "python-script-port": "hello from a script",
    "static-public": "hello from public",
    "static-root": "hello from files",
}
_START_SECONDS = 30


@pytest.mark.lab
@pytest.mark.parametrize("repository", BUILT)
def test_a_planned_repository_builds_and_answers(repository: str, lab_host: LabHost, tmp_path: Path) -> None:
    lab_host.load(*bases.ALL)
    planned = plan(trees.tree_of(repository))
    image = f"planned-{repository}:1"

    build(lab_host, planned, context_of(planned, repository, tmp_path), image)
    try:
        address = start(lab_host, image)
        path = planned.health_path or "/"
        said = answered(lab_host, f"http://{address}:{planned.port}{path}")
        hidden = status(lab_host, f"http://{address}:{planned.port}/.env")
        user = lab_host.docker("exec", "planned", "id", "-u").strip()
    finally:
        lab_host.docker("rm", "--force", "planned")

    assert BUILT[repository] in said
    if planned.kind == "detected":
        assert user == "10001"
    if planned.stack.startswith("static"):
        assert hidden == "404"


@pytest.mark.lab
def test_a_change_of_sources_leaves_the_layer_of_packages(lab_host: LabHost, tmp_path: Path) -> None:
    lab_host.load(*bases.ALL)
    planned = plan(trees.tree_of("node-http-npm"))
    context = context_of(planned, "node-http-npm", tmp_path)
    build(lab_host, planned, context, "planned-first:1")

    (context / "server.js").write_text((context / "server.js").read_text().replace("node\\n", "another\\n"))
    said = build(lab_host, planned, context, "planned-second:1")

    installed = said[said.index("RUN npm ci") :]
    assert installed.index("Using cache") < installed.index("COPY --chown")
    assert (
        "Using cache"
        not in installed[installed.index("COPY --chown") :].partition("Successfully built")[0].partition("ENV")[0]
    )


def context_of(planned: BuildPlan, repository: str, folder: Path) -> Path:
    """The repository with what the plan writes into it."""
    context = folder / "context"
    shutil.copytree(trees.REPOSITORIES / repository, context)
    if planned.dockerfile and planned.dockerfile_path:
        (context / planned.dockerfile_path).write_text(planned.dockerfile)
    if planned.dockerignore:
        (context / ".dockerignore").write_text(planned.dockerignore)
    return context


def build(host: LabHost, planned: BuildPlan, context: Path, image: str) -> str:
    """Build what the plan's compose text says of its service `web`, by the builder that hosts have."""
    judged = compose.plan(
        planned.compose,
        {},
        service_id="svc_0000000000000000",
        release=1,
        publish_ports=False,
        defaults=compose.Defaults(),
        repository=compose.Repository(folder="", image="planned"),
    )
    [built] = judged.builds
    assert judged.routed is not None
    assert (judged.routed.service, judged.routed.port) == ("web", planned.port)
    done = subprocess.run(
        [
            *host.docker_words,
            "build",
            "--network",
            "none",
            "--tag",
            image,
            "--file",
            context / built.dockerfile,
            context,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def start(host: LabHost, image: str) -> str:
    """Run the image as a service's container runs, and say its address."""
    limits = ("--memory", "256m", "--pids-limit", "256", "--security-opt", "no-new-privileges:true")
    host.docker("run", "--detach", "--name", "planned", *limits, image)
    return host.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "planned")


def answered(host: LabHost, url: str) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        done = host.run("curl", "--silent", "--show-error", "--fail", "--max-time", "5", url)
        if done.returncode == 0:
            return done.stdout.decode()
        assert time.monotonic() < deadline, done.stderr.decode() + host.docker("logs", "planned")
        time.sleep(0.1)


def status(host: LabHost, url: str) -> str:
    return host.run("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url).stdout.decode()

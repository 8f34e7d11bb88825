"""Deploys from a repository: what is pushed runs, what cannot be is told, and what ran before goes on running."""

from collections.abc import Iterator

import pytest

from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Client
from tests.lab.git_server import GitServer
from tests.lab.hosts import Lab

DOCKERFILE = """\
FROM busybox:1
COPY index.html /www/index.html
USER 1000
EXPOSE 8000
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""


@pytest.fixture(scope="module")
def git(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("git"), lab.ground.address(1)) as server:
        yield server


def test_a_repository_with_a_dockerfile_is_built_and_answers(admin: Client, host: DockerHost, git: GitServer) -> None:
    repository = git.repository("page")
    first = repository.commit({"Dockerfile": DOCKERFILE, "index.html": "first\n"})

    made = admin.create_from("page", repository.url, host_id=host.id)
    job = admin.succeeded(made["deploy_job_id"])

    assert host.visit(made["url"]).text == "first\n"
    assert (job["plan"]["kind"], job["plan"]["commit"]) == ("dockerfile", first)

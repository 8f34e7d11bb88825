"""Fetching and building on a real Docker host: what of a repository arrives, and what is refused."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.commands import kit
from chalicelib.domain.errors import RepositoryRefused, RepositoryUnavailable
from chalicelib.domain.words import new_id
from infra.local import images
from tests.hostkit.conftest import Deployed
from tests.lab.git_server import GitServer
from tests.lab.hosts import Lab, LabHost

pytestmark = pytest.mark.lab

WANTED = ("Dockerfile", "*.txt", "README*")
DOCKERFILE = 'FROM busybox:1\nCOPY . /www\nUSER 1000\nCMD ["httpd", "-f", "-p", "8000", "-h", "/www"]\n'


@pytest.fixture(scope="module")
def git(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("git"), lab.ground.address(1)) as server:
        yield server


def sources(url: str, **more: Any) -> Any:
    return {
        "url": url,
        "branch": None,
        "commit": None,
        "submodules": True,
        "token": None,
        "deploy_key": None,
        "known_hosts": "",
        "allowed_networks": ["10.77.0.0/16"],
        "max_mb": 20,
        "timeout_s": 30,
        **more,
    }


def fetched(service: Deployed, url: str, **more: Any) -> dict[str, Any]:
    job = f"{new_id('job')}.fetch.1"
    answer = service.remote.kit(
        kit.start_fetch(service.id, service.fence, job=job, release=1, sources=sources(url, **more)), 60
    )
    assert (answer["state"], answer["rc"]) == ("done", 0), answer
    result: dict[str, Any] = answer["result"]
    return result


def tree(service: Deployed, **more: Any) -> dict[str, Any]:
    return service.remote.kit(kit.tree(service.id, wanted=WANTED, **more), 30)


def image(service: Deployed, text: str = DOCKERFILE, **more: Any) -> Any:
    return {
        "service": "web",
        "tag": f"slipway/{service.id}:1-web",
        "context": "",
        "dockerfile": "Dockerfile",
        "text": text,
        "ignore": None,
        "target": "",
        "args": {},
        "labels": {"slipway.release": "1"},
        **more,
    }


def built(service: Deployed, *wanted: Any, **more: Any) -> dict[str, Any]:
    limits = kit.BuildLimits(memory_mb=512, cpu_millis=1000)
    building: Any = {"builds": wanted, "pull": [], "limits": limits, "min_disk_mb": 10, "timeout_s": 60, **more}
    job = f"{new_id('job')}.build.1"
    return service.remote.kit(kit.start_build(service.id, service.fence, job=job, release=1, building=building), 90)


def test_the_newest_commit_of_a_branch_is_laid_out_and_told(service: Deployed, git: GitServer) -> None:
    repository = git.repository("plain")
    first = repository.commit({"Dockerfile": DOCKERFILE, "a/b/c/deep.txt": "deep", "a/near.txt": "near"})
    second = repository.commit({"README.md": "read me"}, branch="next")

    assert fetched(service, repository.url)["commit"] == first
    seen = tree(service)
    assert seen["files"] == ["Dockerfile", "a/b/c/deep.txt", "a/near.txt"]
    assert seen["texts"] == {"Dockerfile": DOCKERFILE, "a/near.txt": "near"}
    assert fetched(service, repository.url, branch="next")["commit"] == second
    assert tree(service)["texts"]["README.md"] == "read me"
    assert fetched(service, repository.url, commit=first)["commit"] == first
    assert "README.md" not in tree(service)["files"]


def test_a_second_fetch_is_sent_what_is_new(service: Deployed, git: GitServer, lab_host: LabHost) -> None:
    repository = git.repository("again")
    repository.commit({"large": os.urandom(4 << 20), "small": "1"})
    fetched(service, repository.url)
    store = f"/home/{lab_host.user}/.slipway/services/{service.id}/git"
    before = int(lab_host.exec("du", "-sk", store).split()[0])

    repository.commit({"small": "2"})
    began = time.monotonic()
    fetched(service, repository.url)

    assert time.monotonic() - began < 5
    assert int(lab_host.exec("du", "-sk", store).split()[0]) < before + 200


def test_what_lies_around_from_before_is_gone(service: Deployed, git: GitServer) -> None:
    repository = git.repository("gone")
    repository.commit({"old/one.txt": "1", "Dockerfile": DOCKERFILE})
    fetched(service, repository.url)
    repository.commit({"old/one.txt": None, "new.txt": "2"})

    fetched(service, repository.url)

    assert tree(service)["files"] == ["Dockerfile", "new.txt"]


def test_links_that_lead_out_of_the_repository_are_not_read(service: Deployed, git: GitServer) -> None:
    repository = git.repository("links")
    repository.commit({"Dockerfile": DOCKERFILE, "inner.txt": "inner"})
    for name, target in (
        ("README.md", "/etc/passwd"),
        ("up.txt", "../../../../.ssh/authorized_keys"),
        ("in.txt", "inner.txt"),
    ):
        repository.link(name, target)

    fetched(service, repository.url)

    assert tree(service, paths=["../git/main/config"])["texts"] == {
        "Dockerfile": DOCKERFILE,
        "inner.txt": "inner",
        "in.txt": "inner",
    }


def test_submodules_come_along_and_only_from_where_repositories_may(service: Deployed, git: GitServer) -> None:
    inner, outer = git.repository("inner"), git.repository("outer")
    commit = inner.commit({"lib.txt": "library"})
    outer.commit({"Dockerfile": DOCKERFILE})
    outer.submodule("vendor/lib", "../inner.git", commit)

    fetched(service, outer.url)
    assert tree(service)["texts"]["vendor/lib/lib.txt"] == "library"
    fetched(service, outer.url, submodules=False)
    assert "vendor/lib/lib.txt" not in tree(service)["files"]


@pytest.mark.parametrize(
    "url",
    [
        "/etc",
        "file:///srv/x.git",
        "ext::sh -c id",
        "http://169.254.169.254/latest",
        "https://127.0.0.1/x.git",
        "--upload-pack=id",
    ],
)
def test_a_submodule_from_elsewhere_is_refused_by_name(service: Deployed, git: GitServer, url: str) -> None:
    repository = git.repository(f"bad{abs(hash(url))}")
    commit = repository.commit({"Dockerfile": DOCKERFILE})
    repository.submodule("sub", url, commit)

    with pytest.raises(RepositoryRefused, match="submodule sub"):
        fetched(service, repository.url)


def test_a_password_opens_its_own_host_alone(service: Deployed, git: GitServer, lab: Lab, tmp_path: Any) -> None:
    private = git.repository("private", password="secret-token")
    private.commit({"Dockerfile": DOCKERFILE})

    with pytest.raises(RepositoryUnavailable, match="private"):
        fetched(service, private.url)
    with pytest.raises(RepositoryUnavailable, match="private"):
        fetched(service, private.url, token="wrong-token")
    fetched(service, private.url, token="secret-token")
    with GitServer(tmp_path / "other", lab.ground.address(1)) as other:
        theirs = other.repository("theirs", password="secret-token")
        commit = theirs.commit({"x": "x"})
        private.submodule("sub", theirs.url, commit)
        with pytest.raises(RepositoryUnavailable, match="submodule sub"):
            fetched(service, private.url, token="secret-token")


def test_nothing_of_the_credentials_stays_on_the_host(service: Deployed, git: GitServer, lab_host: LabHost) -> None:
    private = git.repository("quiet", password="canary-token")
    private.commit({"Dockerfile": DOCKERFILE})

    fetched(service, private.url, token="canary-token", deploy_key="-----BEGIN X-----\ncanary-key\n-----END X-----")

    found = lab_host.run("grep", "-r", "canary", f"/home/{lab_host.user}/.slipway")
    assert found.stdout == b""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"branch": "nowhere"}, "it has no branch nowhere"),
        ({"commit": "1" * 40}, f"it has no commit {'1' * 40}"),
    ],
)
def test_what_a_repository_does_not_have_is_named(service: Deployed, git: GitServer, more: Any, said: str) -> None:
    repository = git.repository(f"some{abs(hash(said))}")
    repository.commit({"Dockerfile": DOCKERFILE})

    with pytest.raises(RepositoryUnavailable, match=said):
        fetched(service, repository.url, **more)


def test_addresses_that_lead_nowhere_or_elsewhere_are_told(service: Deployed, git: GitServer) -> None:
    empty = git.repository("empty")
    git.redirects["moved"] = "http://127.0.0.1"

    with pytest.raises(RepositoryUnavailable, match="empty"):
        fetched(service, empty.url)
    with pytest.raises(RepositoryUnavailable, match="there is none at"):
        fetched(service, f"{git.base}/missing.git")
    with pytest.raises(RepositoryUnavailable, match="unknown host"):
        fetched(service, "https://no-such-host.invalid/x.git")
    with pytest.raises(RepositoryUnavailable, match="redirects elsewhere"):
        fetched(service, f"{git.base}/moved.git")
    with pytest.raises(RepositoryRefused, match="private or loopback"):
        fetched(service, empty.url.replace("http:", "https:"), allowed_networks=[])
    with pytest.raises(RepositoryRefused, match="not encrypted"):
        fetched(service, empty.url, allowed_networks=[])
    with pytest.raises(RepositoryRefused, match="link-local"):
        fetched(service, "http://169.254.169.254/x.git", allowed_networks=["0.0.0.0/0"])


def test_a_repository_over_its_size_is_refused_packed_or_laid_out(service: Deployed, git: GitServer) -> None:
    packed, bomb = git.repository("packed"), git.repository("bomb")
    packed.commit({"data": os.urandom(3 << 20)})
    bomb.commit({"zeros": bytes(30 << 20)})

    for repository in (packed, bomb):
        with pytest.raises(RepositoryRefused, match="larger than the 2 MB"):
            fetched(service, repository.url, max_mb=2)


def test_an_image_is_built_named_and_labelled_and_goes_with_its_service(
    service: Deployed, git: GitServer, lab_host: LabHost
) -> None:
    lab_host.load(images.BUSYBOX)
    repository = git.repository("built")
    repository.commit({"Dockerfile": DOCKERFILE, "index.html": "hello", ".dockerignore": "secret\n", "secret": "x"})
    fetched(service, repository.url)

    answer = built(service, image(service, DOCKERFILE.replace("\n", f"\nLABEL slipway.service={service.id}\n", 1)))

    assert (answer["state"], answer["rc"]) == ("done", 0), answer["output"]
    tag = f"slipway/{service.id}:1-web"
    label = lab_host.docker("image", "inspect", "--format", '{{index .Config.Labels "slipway.service"}}', tag)
    assert label == service.id
    assert lab_host.docker("run", "--rm", tag, "ls", "-a", "/www").split() == [
        ".",
        "..",
        ".dockerignore",
        "Dockerfile",
        "index.html",
    ]
    assert "Step 1/" in answer["output"]
    service.remove()
    assert lab_host.docker("images", "--quiet", f"slipway/{service.id}") == ""


def test_a_build_that_fails_or_never_ends_says_so_and_leaves_nothing_running(
    service: Deployed, git: GitServer, lab_host: LabHost
) -> None:
    lab_host.load(images.BUSYBOX)
    repository = git.repository("failing")
    repository.commit({"Dockerfile": DOCKERFILE})
    fetched(service, repository.url)

    failed = built(service, image(service, "FROM busybox:1\nRUN echo why; exit 3\n"))
    endless = built(service, image(service, "FROM busybox:1\nRUN sleep 1000\n"), timeout_s=2)

    assert failed["rc"] == 1
    assert failed["output"].splitlines()[-1].endswith("returned a non-zero code: 3")
    assert (endless["rc"], endless["output"].splitlines()[-1]) == (124, "the build did not end within 2 s")
    deadline = time.monotonic() + 15
    while lab_host.docker("ps", "--format={{.Names}}") != "slipway-edge":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_build_may_not_take_more_memory_than_it_is_given(
    service: Deployed, git: GitServer, lab_host: LabHost
) -> None:
    lab_host.load(images.BUSYBOX)
    repository = git.repository("hungry")
    repository.commit({"Dockerfile": DOCKERFILE})
    fetched(service, repository.url)

    answer = built(
        service,
        image(service, "FROM busybox:1\nRUN x=$(head -c 90000000 /dev/zero | tr '\\0' a); echo ${#x}\n"),
        limits={"memory_mb": 32, "cpu_millis": 1000},
    )

    assert answer["rc"] == 1, answer["output"]


def test_what_a_container_listens_on_is_seen(service: Deployed) -> None:
    service.deploy()

    seen = service.remote.kit(kit.listening(service.id), 20)["listening"]

    assert [{"port": found["port"], "any": found["ip"] in ("0.0.0.0", "::")} for found in seen["web"]] == [
        {"port": 8000, "any": True}
    ]


def test_a_deploy_key_opens_a_repository_over_ssh_and_its_host_key_is_held_to(
    service: Deployed, lab: Lab, lab_host: LabHost
) -> None:
    """The lab host is its own git server here: its sshd, and a repository in its user's home."""
    folder = f"/home/{lab_host.user}/over-ssh.git"
    bare = ("git", "-c", "init.defaultBranch=main", "init", "--quiet", "--bare", folder)
    lab_host.exec(*bare, user=lab_host.user)
    typed = (
        f"set -e; cd $(mktemp -d); git init -q -b main; echo library >over.txt; git add .;"
        f" git -c user.name=a -c user.email=a@example.com commit -q -m x; git push -q {folder} main"
    )
    lab_host.exec("sh", "-c", typed, user=lab_host.user)
    url = f"ssh://{lab_host.user}@{lab_host.address}{folder}"

    with pytest.raises(RepositoryUnavailable, match="refused the git_deploy_key"):
        fetched(service, url)
    result = fetched(service, url, deploy_key=lab_host.private_key)
    assert tree(service)["texts"] == {"over.txt": "library\n"}
    assert result["known_hosts"].startswith(f"{lab_host.address} ssh-")
    assert fetched(service, url, deploy_key=lab_host.private_key, known_hosts=result["known_hosts"])
    other = result["known_hosts"].split()[:2]
    changed = " ".join([*other, lab_host.public_key.split()[1]]) + "\n"
    with pytest.raises(RepositoryUnavailable, match="another key"):
        fetched(service, url, deploy_key=lab_host.private_key, known_hosts=changed)
    lab_host.exec("rm", "-rf", folder)

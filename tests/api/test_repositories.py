"""Deploys from a repository and the webhooks of one, as a caller of the API sees them."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from chalicelib.deploy import start
from chalicelib.domain.service import Service
from tests.api.conftest import Api, Reply
from tests.emulator import Panel

URL = "https://github.com/user/repo.git"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def of_git(customer_id: str, host_id: str) -> dict[str, Any]:
    """The seed's git deploy."""
    return {
        "name": "my-project",
        "customer_id": customer_id,
        "deploy_method": "git",
        "git_url": URL,
        "git_branch": "main",
    }


def service_of(panel: Panel, reply: Reply) -> Service:
    return panel.services.get(reply.body["id"])


def settled(panel: Panel, reply: Reply) -> Service:
    """The service, its first job over."""
    service = service_of(panel, reply)
    job = panel.jobs.get(reply.body["deploy_job_id"])
    release = panel.services.release(service.id, 1).model_copy(update={"state": "good", "commit": "1" * 40})
    panel.services.finish(
        service, start.ended_job(job, "succeeded", "Done"), (), release, status="running", release=1, commit="1" * 40
    )
    return panel.services.get(service.id)


def test_the_seeds_git_deploy_is_taken(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    reply = api.post("/services", of_git)

    assert (reply.status, reply.body["status"], reply.body["url"]) == (201, "deploying", "http://my-project.localhost")
    shown = api.get(f"/services/{reply.body['id']}").body
    assert shown["deploy_method"] == "git"
    assert shown["repository"] == {
        "url": URL,
        "branch": "main",
        "commit": None,
        "path": "",
        "submodules": True,
        "has_credentials": False,
    }
    assert api.get(f"/jobs/{reply.body['deploy_job_id']}").body["plan"] is None
    assert panel.jobs.get(reply.body["deploy_job_id"]).from_repository


def test_the_seeds_ai_deploy_is_taken(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    del of_git["git_url"], of_git["git_branch"]

    reply = api.post("/services", {**of_git, "deploy_method": "ai", "ai_url": "https://github.com/user/repo"})

    assert reply.status == 201
    assert service_of(panel, reply).deploy_method == "ai"
    assert panel.jobs.get(reply.body["deploy_job_id"]).repairs


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"git_url": "--upload-pack=touch /tmp/x"}, "git_url"),
        ({"git_url": "ext::sh -c id"}, "git_url"),
        ({"git_url": "file:///etc"}, "git_url"),
        ({"git_url": "https://user:pw@github.com/user/repo"}, "git_url"),
        ({"git_url": "http://github.com/user/repo"}, "git_url"),
        ({"git_url": "https://10.0.0.1/repo"}, "git_url"),
        ({"git_url": "https://169.254.169.254/repo"}, "git_url"),
        ({"git_url": "https://localhost/repo"}, "git_url"),
        ({"git_branch": "--force"}, "git_branch"),
        ({"git_branch": "a..b"}, "git_branch"),
        ({"git_branch": ""}, "git_branch"),
        ({"git_commit": "main"}, "git_commit"),
        ({"git_path": "../x"}, "git_path"),
        ({"git_path": "a/../b"}, "git_path"),
        ({"git_token": "two words"}, "git_token"),
        ({"git_deploy_key": "ssh-ed25519 AAAA"}, "git_deploy_key"),
        ({"git_deploy_key": KEY}, "git_deploy_key"),
        ({"git_url": "git@github.com:user/repo.git", "git_token": "x"}, "git_token"),
        ({"variables": {"DOCKER_HOST": "x"}}, "variables.DOCKER_HOST"),
        ({"compose": "services: {}"}, "body"),
        ({"ai_url": URL}, "body"),
        ({"git_url": None}, "body"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(
    api: Api, panel: Panel, of_git: dict[str, Any], changes: dict[str, Any], path: str
) -> None:
    reply = api.post("/services", {**of_git, **changes})

    assert reply.status == 422, reply.text
    assert path in [detail["path"] for detail in reply.error["details"]]
    assert panel.services.rows() == []


def test_credentials_are_sealed_and_never_told(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    reply = api.post("/services", {**of_git, "git_token": "canary-token"})

    shown = api.get(f"/services/{reply.body['id']}")
    assert shown.body["repository"]["has_credentials"]
    stored = repr(list(panel.table.query(f"SVC#{reply.body['id']}")))
    assert "canary-token" not in shown.text + stored + reply.text
    assert (
        api.post(
            "/services", {**of_git, "name": "b", "git_url": "git@github.com:user/repo.git", "git_deploy_key": KEY}
        ).status
        == 201
    )


def test_a_dry_run_is_a_job_that_plans_and_stops(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    reply = api.post("/services?dry_run=true", of_git)

    assert (reply.status, reply.headers["X-Job-Id"]) == (202, reply.body["deploy_job_id"])
    assert panel.services.rows() == []
    job = api.get(f"/jobs/{reply.body['deploy_job_id']}").body
    assert job["kind"] == "plan"
    assert api.get(f"/services/{job['service_id']}").status == 404
    assert api.post("/services", of_git).status == 201


def test_a_branch_is_changed_and_a_dry_run_of_it_touches_nothing(
    api: Api, panel: Panel, of_git: dict[str, Any]
) -> None:
    service = settled(panel, api.post("/services", of_git))

    planned = api.patch(f"/services/{service.id}?dry_run=true", {"git_branch": "next"})
    assert planned.status == 202
    assert panel.services.get(service.id).version == service.version
    changed = api.patch(f"/services/{service.id}", {"git_branch": "next", "git_token": "t"})

    assert changed.status == 200
    assert panel.services.get(service.id).repository == service.repository  # until it runs
    assert panel.jobs.get(changed.body["deploy_job_id"]).commit is None


def test_a_change_that_names_no_sources_keeps_the_commit(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    service = settled(panel, api.post("/services", of_git))

    changed = api.patch(f"/services/{service.id}", {"variables": {"A": "1"}})

    assert panel.jobs.get(changed.body["deploy_job_id"]).commit == "1" * 40


def test_what_comes_from_a_repository_has_no_text_to_change_and_the_other_way_round(
    api: Api, panel: Panel, of_git: dict[str, Any], wanted: dict[str, Any]
) -> None:
    service = settled(panel, api.post("/services", of_git))
    other = settled(panel, api.post("/services", wanted))

    assert api.patch(f"/services/{service.id}", {"compose": "services: {}"}).status == 422
    assert api.patch(f"/services/{other.id}", {"git_branch": "next"}).status == 422
    assert api.post(f"/services/{other.id}/webhook").status == 409


# webhooks


def hook(
    api: Api, service: Service, provider: str, secret: str, body: Any, delivery: str = "d-1", **more: str
) -> Reply:
    raw = json.dumps(body).encode()
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    headers = {
        "github": {
            "X_Hub_Signature_256": f"sha256={digest}",
            "X_GitHub_Event": "push",
            "X_GitHub_Delivery": "d-1",
        },
        "gitlab": {"X_Gitlab_Token": secret, "X_Gitlab_Event": "Push Hook", "X_Gitlab_Event_UUID": "d-1"},
        "gitea": {"X_Gitea_Signature": digest, "X_Gitea_Event": "push", "X_Gitea_Delivery": "d-1"},
    }[provider]
    path = f"/webhooks/{service.id}/{provider}"
    return api.as_(None).send("POST", path, raw=raw, headers={**headers, **more})


PUSH = {"ref": "refs/heads/main", "after": "2" * 40, "repository": {"default_branch": "main"}}


@pytest.mark.parametrize("provider", ["github", "gitlab", "gitea"])
def test_a_signed_push_deploys_once(api: Api, panel: Panel, of_git: dict[str, Any], provider: str) -> None:
    service = settled(panel, api.post("/services", of_git))
    made = api.post(f"/services/{service.id}/webhook").body

    first = hook(api, service, provider, made["secret"], PUSH)
    again = hook(api, service, provider, made["secret"], PUSH)

    assert made["paths"][provider] == f"/api/webhooks/{service.id}/{provider}"
    assert (first.status, again.status) == (202, 200)
    assert api.get(f"/jobs/{first.body['deploy_job_id']}").body["kind"] == "redeploy"
    assert again.body == {"deploys": False, "deploy_job_id": None, "message": "this delivery was taken before"}


def test_who_does_not_know_the_secret_deploys_nothing(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    service = settled(panel, api.post("/services", of_git))
    other = settled(panel, api.post("/services", {**of_git, "name": "other"}))
    old = api.post(f"/services/{service.id}/webhook").body["secret"]
    api.post(f"/services/{service.id}/webhook")

    assert hook(api, service, "github", old, PUSH).status == 401
    assert hook(api, service, "github", "", PUSH, X_Hub_Signature_256="").status == 401
    assert hook(api, other, "github", old, PUSH).status == 404  # it has no webhook
    assert hook(api, service, "gitlab", "", PUSH).status == 401
    missing = service.model_copy(update={"id": "svc_0000000000000000"})
    assert hook(api, missing, "github", old, PUSH).status == 404
    assert list(panel.jobs.unfinished()) == []


def test_a_deleted_services_webhook_is_gone(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    service = settled(panel, api.post("/services", of_git))
    secret = api.post(f"/services/{service.id}/webhook").body["secret"]
    api.delete(f"/services/{service.id}")

    assert hook(api, service, "github", secret, PUSH).status == 404


def test_the_secret_is_stored_sealed(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    service = settled(panel, api.post("/services", of_git))

    secret = api.post(f"/services/{service.id}/webhook").body["secret"]

    assert secret not in repr(list(panel.table.query(f"SVC#{service.id}")))


def test_a_ping_is_answered(api: Api, panel: Panel, of_git: dict[str, Any]) -> None:
    service = settled(panel, api.post("/services", of_git))
    secret = api.post(f"/services/{service.id}/webhook").body["secret"]

    reply = hook(api, service, "github", secret, {"zen": "x"}, X_GitHub_Event="ping")

    assert (reply.status, reply.body["deploys"]) == (200, False)

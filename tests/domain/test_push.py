"""Pushes as each provider tells of them."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from chalicelib.domain import push
from chalicelib.domain.errors import InvalidRequest, Unauthorized

COMMIT = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
BODY = json.dumps(
    {
        "ref": "refs/heads/release/2",
        "after": COMMIT,
        "repository": {"default_branch": "main"},
        "project": {"default_branch": "main"},
    }
).encode()


def headers(provider: str, body: bytes = BODY, secret: str = "s3cret", event: str = "") -> dict[str, str]:
    words = push.WORDS[provider]
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    signature = {"github": f"sha256={digest}", "gitea": digest, "gitlab": secret}[provider]
    return {words.signature: signature, words.event: event or words.push, words.delivery: "0b989ba4-242f-11e5-81e1"}


@pytest.mark.parametrize("provider", push.PROVIDERS)
def test_a_push_that_is_signed_is_read(provider: str) -> None:
    push.proved(provider, headers(provider), BODY, "s3cret")

    told = push.read(provider, headers(provider), BODY)

    assert (told.branch, told.commit, told.default_branch) == ("release/2", COMMIT, "main")


@pytest.mark.parametrize("provider", push.PROVIDERS)
@pytest.mark.parametrize("given", ["", "sha256=", "wrong", "s3cre", "sha256=" + "0" * 64, "é"])
def test_any_other_signature_is_refused(provider: str, given: str) -> None:
    with pytest.raises(Unauthorized):
        push.proved(provider, {push.WORDS[provider].signature: given}, BODY, "s3cret")


@pytest.mark.parametrize("provider", ["github", "gitea"])
def test_a_signature_is_of_this_body_alone(provider: str) -> None:
    with pytest.raises(Unauthorized):
        push.proved(provider, headers(provider), BODY + b" ", "s3cret")


@pytest.mark.parametrize(
    ("told", "branch", "commit"),
    [
        ({"ref": "refs/tags/v1", "after": COMMIT}, None, COMMIT),
        ({"ref": "refs/heads/main", "after": "0" * 40}, "main", None),
        ({"ref": 1, "after": 2}, None, None),
        ({}, None, None),
        ({"ref": "refs/heads/main", "after": "--upload-pack"}, "main", None),
    ],
)
def test_what_is_no_push_of_a_commit_is_seen(told: Any, branch: str | None, commit: str | None) -> None:
    read = push.read("github", headers("github"), json.dumps(told).encode())

    assert (read.branch, read.commit) == (branch, commit)


def test_other_events_are_not_read() -> None:
    assert push.read("github", headers("github", event="ping"), b"not json").event == "ping"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"payload=%7B%7D", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        push.read("github", headers("github"), body)


def test_a_delivery_without_an_id_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        push.read("github", {"x-github-event": "push"}, BODY)

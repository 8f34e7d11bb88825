"""A push as GitHub, GitLab and Gitea tell of it: who it is from, proved by a secret, and what was pushed."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chalicelib.domain.errors import InvalidRequest, Unauthorized

Provider = Literal["github", "gitlab", "gitea"]
PROVIDERS: tuple[Provider, ...] = ("github", "gitlab", "gitea")
_DELIVERY = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_BRANCH = "refs/heads/"


@dataclass(frozen=True)
class Words:
    """In which headers a provider says what."""

    signature: str
    event: str
    delivery: str
    push: str


WORDS: Mapping[str, Words] = {
    "github": Words("x-hub-signature-256", "x-github-event", "x-github-delivery", "push"),
    "gitlab": Words("x-gitlab-token", "x-gitlab-event", "x-gitlab-event-uuid", "Push Hook"),
    "gitea": Words("x-gitea-signature", "x-gitea-event", "x-gitea-delivery", "push"),
}


@dataclass(frozen=True)
class Push:
    """One delivery. `branch` is None where no branch was pushed; `commit` where the branch was deleted."""

    delivery: str
    event: str
    branch: str | None
    commit: str | None
    default_branch: str | None


def proved(provider: str, headers: Mapping[str, str], body: bytes, secret: str) -> None:
    """Raise `Unauthorized` unless whoever sent this knows the secret."""
    given = headers.get(WORDS[provider].signature, "")
    if provider == "gitlab":
        expected = secret
    else:
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        given = given.removeprefix("sha256=") if provider == "github" else given
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Unauthorized("the signature is not that of this service's webhook secret")


def read(provider: str, headers: Mapping[str, str], body: bytes) -> Push:
    """Raise `InvalidRequest` for what is no delivery of this provider's."""
    words = WORDS[provider]
    event, delivery = headers.get(words.event, ""), headers.get(words.delivery, "")
    if not event or not _DELIVERY.fullmatch(delivery):
        raise InvalidRequest(
            f"the headers {words.event} and {words.delivery} are missing, or not as {provider} sends them"
        )
    if event != words.push:
        return Push(delivery, event, None, None, None)
    told = _object(body)
    reference, commit = str(told.get("ref")), told.get("after")
    about = told.get("project" if provider == "gitlab" else "repository")
    default = about.get("default_branch") if isinstance(about, dict) else None
    return Push(
        delivery=delivery,
        event=event,
        branch=reference.removeprefix(_BRANCH)
        if isinstance(reference, str) and reference.startswith(_BRANCH)
        else None,
        commit=commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) and commit.strip("0") else None,
        default_branch=default if isinstance(default, str) else None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON; have the webhook send application/json") from None
    if not isinstance(told, dict):
        raise InvalidRequest("the body is not a JSON object")
    return told

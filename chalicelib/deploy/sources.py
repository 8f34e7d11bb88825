"""Whether a repository's address may be asked at all, as far as its text tells; the host judges what it resolves to."""

from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.git import Credentials
from chalicelib.domain.words import finding
from chalicelib.wiring import adapters


def check(field: str, url: str, credentials: Credentials) -> None:
    """Raise `ValidationFailed`, naming the field, for one that is not taken, or does not go with its credentials."""
    # Imported here: few requests name a repository, and a cold start should not pay for the rules.
    from chalicelib.hostkit import remotes  # noqa: PLC0415

    try:
        remote = remotes.read(url)
        why = remotes.refusal(remote, adapters().settings.git_networks)
    except remotes.NotAllowed as error:
        raise _refused(field, str(error)) from None
    if why:
        raise _refused(field, why)
    if credentials.token and remote.scheme == "ssh":
        raise _refused("git_token", "an ssh address is opened by a git_deploy_key; a token goes with https")
    if credentials.deploy_key and remote.scheme != "ssh":
        raise _refused("git_deploy_key", "a deploy key goes with an ssh address; https is opened by a git_token")


def _refused(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {message}", [finding(field, "repository", message)])

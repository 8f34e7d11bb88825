"""Every way Slipway says no. The API maps these classes to statuses; the workflow retries and catches them by name."""

from typing import Any


class SlipwayError(Exception):
    """The root. `message` is for people and holds no secrets; `details` is JSON for programs."""

    code = "internal_error"

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidRequest(SlipwayError):
    """The request itself cannot be read: not JSON, not an object."""

    code = "invalid_request"


class ValidationFailed(SlipwayError):
    """The request was read and a field is wrong; `details` is a list of `{path, rule, message}`."""

    code = "validation_failed"


class Unauthorized(SlipwayError):
    """No token, or one that is unknown, expired, revoked or damaged."""

    code = "unauthorized"


class Forbidden(SlipwayError):
    """A known caller whose role does not allow this."""

    code = "forbidden"


class NotFound(SlipwayError):
    """It does not exist, or the caller must not learn that it does."""

    code = "not_found"


class Conflict(SlipwayError):
    """The state of things does not allow this now."""

    code = "conflict"


class Changed(Conflict):
    """It was changed since it was read. Whoever named the version it should have gets `PreconditionFailed` instead."""


class PreconditionFailed(SlipwayError):
    """The caller named, with If-Match, a version that is not the present one; nothing was done."""

    code = "precondition_failed"


class RateLimited(SlipwayError):
    """The token has made its requests for this minute."""

    code = "rate_limited"


class NoRoom(Conflict):
    """What was promised meanwhile leaves no room on the host. Another may have it."""


class OverLimit(Conflict):
    """What the customer got meanwhile leaves no room within its limits."""


class SameMachine(Conflict):
    """This machine is registered already, as another host."""


class TooLarge(SlipwayError):
    """The body is over the limit."""

    code = "too_large"


class UnsupportedMediaType(SlipwayError):
    """The body is not application/json."""

    code = "unsupported_media_type"


class UpgradeRequired(SlipwayError):
    """This is answered over a WebSocket."""

    code = "upgrade_required"


class Unavailable(SlipwayError):
    """Something Slipway itself needs did not answer."""

    code = "unavailable"


class HostUnreachable(SlipwayError):
    """The host did not answer over SSH, or the connection broke before the outcome was known. Worth retrying."""

    code = "host_unreachable"


class HostTimeout(SlipwayError):
    """The host took the command and did not finish it in time."""

    code = "host_timeout"


class HostKeyMismatch(SlipwayError):
    """The host showed another key than the pinned one. Never retried."""

    code = "host_key_mismatch"


class HostRefused(SlipwayError):
    """The host answered and did not let us in: wrong user or key."""

    code = "host_refused"


class HostNotReady(SlipwayError):
    """The host lets us in but lacks what a deploy needs: Docker, Compose, python3, disk, a free network."""

    code = "host_not_ready"


class CommandFailed(SlipwayError):
    """The host answered, and the command failed. Retrying will not help."""

    code = "command_failed"


class StaleFence(SlipwayError):
    """A newer job has taken over this service; this late command was refused by the host."""

    code = "stale_fence"


class LeaseLost(SlipwayError):
    """The job no longer holds its service's lease."""

    code = "lease_lost"


class PreflightFailed(SlipwayError):
    """The host cannot take this release now: no disk, a taken port. Nothing was touched."""

    code = "preflight_failed"


class PolicyRefused(SlipwayError):
    """What Compose resolved on the host is not what the policy allows; `details` lists the findings."""

    code = "policy_refused"


class CannotPlan(SlipwayError):
    """Nothing in a repository says how it is built and run; `details` says what was looked for."""

    code = "cannot_plan"


class ModelFailed(SlipwayError):
    """A model gave no answer that can be used. No caller sees it: the plan stays what the rules say."""

    code = "model_failed"


class ImageUnavailable(SlipwayError):
    """An image could not be pulled."""

    code = "image_unavailable"


class RepositoryUnavailable(SlipwayError):
    """A repository could not be fetched: no such host, repository, branch or commit, or no access to it."""

    code = "repository_unavailable"


class RepositoryRefused(SlipwayError):
    """A repository is not taken: its address or a submodule's is not allowed, or it is too large."""

    code = "repository_refused"


class BuildFailed(SlipwayError):
    """A release's image could not be built from its repository."""

    code = "build_failed"


class Unhealthy(SlipwayError):
    """The release started and did not become healthy."""

    code = "unhealthy"


class Cancelled(SlipwayError):
    """Somebody cancelled the job."""

    code = "cancelled"


class DeadlinePassed(SlipwayError):
    """The job ran out of time."""

    code = "deadline_passed"

"""A job: one run of the workflow on one service, and the lease that lets only one run at a time."""

from typing import Any, Literal

from chalicelib.domain.words import Noun

Kind = Literal["deploy", "update", "redeploy", "rollback", "delete", "plan", "start", "stop", "restart"]
# Carried out while the caller waits, by the function that speaks SSH; the others are the workflow's.
LIFECYCLE: tuple[Kind, ...] = ("start", "stop", "restart")
JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
TERMINAL: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")

# A lease's fence starts this far above the one before it, so that attempts within a job (+1 each) never reach it.
FENCE_STRIDE = 100_000
# How long after a job's deadline its roll back may still be running before the reaper ends it.
REAPER_GRACE_SECONDS = 300


class Step(Noun):
    status: Literal["running", "succeeded", "failed"]
    started_at: str
    ended_at: str | None = None
    message: str = ""


class Planned(Noun):
    """One plan of a job that deploys from a repository: what it saw, why, and how it will be built and run."""

    by: Literal["rules", "model"]
    commit: str
    kind: str
    stack: str
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    port: int | None = None
    health_path: str | None = None
    build_command: str | None = None
    start_command: str | None = None
    base_images: tuple[str, ...] = ()
    dockerfile: str | None = None
    compose: str | None = None
    because: str = ""  # the failure that it is to mend


class Job(Noun):
    """`fence` numbers the step attempts: the host refuses a mutation that carries an older one."""

    id: str
    service_id: str
    service_name: str
    customer_id: str
    host_id: str
    kind: Kind
    status: JobStatus = "queued"
    release: int = 0
    previous_release: int = 0
    previous_status: str = "failed"
    pull_always: bool = False
    pull: tuple[str, ...] = ()
    fence: int
    steps: dict[str, Step] = {}
    up_began: bool = False
    cancel_requested: bool = False
    requested_by: str = ""
    request_id: str = ""  # of the request it came of; in the log of every step
    placement: str = ""
    because: str = ""  # why it was begun, where nobody asked for it
    from_repository: bool = False  # its release is made of a repository that is yet to be fetched
    repairs: bool = False  # a model may mend its plan when that fails
    commit: str | None = None  # the one to fetch, where it shall not be the newest
    plans: tuple[Planned, ...] = ()  # the first, and one for each repair
    resumed: int = 0  # how often a one-machine engine that lost its executions began it again
    message: str = ""
    error: dict[str, Any] | None = None
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    deadline: str
    expires: int | None = None
    version: int = 1

    @property
    def round(self) -> int:
        """How often it was begun anew with a repaired plan."""
        return max(0, len(self.plans) - 1)

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL


class Lease(Noun):
    """Who may change a service on its host until when."""

    service_id: str
    job_id: str
    fence: int
    deadline: str

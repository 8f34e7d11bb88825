"""A job: one run of the workflow on one service, and the lease that lets only one run at a time."""

from typing import Any, Literal

from chalicelib.domain.words import Noun

Kind = Literal["deploy", "update", "redeploy", "rollback", "delete", "start", "stop", "restart"]
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
    def is_over(self) -> bool:
        return self.status in TERMINAL


class Lease(Noun):
    """Who may change a service on its host until when."""

    service_id: str
    job_id: str
    fence: int
    deadline: str

"""/jobs: what a deploy did, is doing, and how to stop it."""

import time
from typing import Any, Literal

from pydantic import Field, field_validator

from chalicelib.api import views
from chalicelib.api.auth import must_see
from chalicelib.api.follow import Cursor, for_following, upgrade
from chalicelib.api.http import Answer, Request, Routes, TrueOrFalse, WireIn
from chalicelib.domain.errors import Conflict, Unavailable, UpgradeRequired
from chalicelib.domain.job import Job, Planned
from chalicelib.domain.panel import Caller
from chalicelib.live import kept
from chalicelib.wiring import adapters

routes = Routes(__name__)

_POLL_SECONDS = 0.2
_CANCELLABLE = ("deploy", "redeploy", "rollback", "plan")


class WaitForJob(WireIn):
    # API Gateway ends a request at 29 s.
    wait: int = Field(0, ge=0, le=25)


@routes.on("GET", "/jobs/{job_id}", query=WaitForJob, answers={200: views.Job})
def get_job(request: Request, job_id: str) -> views.Job:
    """The job; `wait=n` holds the answer until it changes or n seconds have passed."""
    job = first = _job(job_id, request.caller)
    wanted = request.parameters(WaitForJob)
    deadline = time.monotonic() + wanted.wait
    while not job.is_over and job.version == first.version and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        job = _job(job_id, request.caller)
    return _view(job)


@routes.on("POST", "/jobs/{job_id}/cancel", role="deployer", answers={200: views.Job, 202: views.Job})
def cancel_job(request: Request, job_id: str) -> Answer:
    """Ask the job to stop; it undoes what it began. A job that is over is answered as it is."""
    job = _job(job_id, request.caller)
    if not job.is_over and job.kind not in _CANCELLABLE:
        raise Conflict(f"a {job.kind} cannot be cancelled")
    job = adapters().jobs.request_cancel(job_id)
    return Answer(_view(job), 200 if job.is_over else 202)


class ReadJobLogs(WireIn):
    """All but `follow` is for following."""

    follow: TrueOrFalse = False  # first: by it the others are judged
    tail: str | None = None
    cursor: str | None = Cursor
    format: Literal["entry", "batch"] | None = None

    _for_following = field_validator("tail", "cursor", "format")(for_following)


@routes.on(
    "GET",
    "/jobs/{job_id}/logs",
    query=ReadJobLogs,
    answers={200: views.JobLogs},
    raises=(UpgradeRequired, Unavailable),
)
def read_job_logs(request: Request, job_id: str) -> views.JobLogs:
    """What its pull, build and Compose printed, kept for 14 days; of one that still runs, that of the steps done."""
    job = _job(job_id, request.caller)
    if request.parameters(ReadJobLogs).follow:
        raise upgrade(request, f"jobs/{job.id}/logs", job.id)
    entries, truncated = kept.output_entries(job.id)
    return views.JobLogs(logs=entries, truncated=truncated)  # type: ignore[typeddict-item]  # as they were kept


def _job(job_id: str, caller: Caller) -> Job:
    job = adapters().jobs.get(job_id)
    must_see(caller, job.customer_id, "job")
    return job


def _view(job: Job) -> views.Job:
    return views.Job(
        id=job.id,
        service_id=job.service_id,
        service_name=job.service_name,
        customer_id=job.customer_id,
        host_id=job.host_id,
        kind=job.kind,
        status=job.status,
        release=job.release or None,
        message=job.message,
        placement=job.placement or None,
        error=_error_view(job.error) if job.error else None,
        steps=[
            views.JobStep(
                name=name,
                status=step.status,
                started_at=step.started_at,
                ended_at=step.ended_at,
                message=step.message,
            )
            for name, step in sorted(job.steps.items(), key=lambda pair: pair[1].started_at)
        ],
        plan=_plan_view(job.plans[-1]) if job.plans else None,
        plans=[_plan_view(plan) for plan in job.plans],
        cancel_requested=job.cancel_requested,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        deadline=job.deadline,
    )


def _plan_view(plan: Planned) -> views.JobPlan:
    return views.JobPlan(
        by=plan.by,
        commit=plan.commit,
        kind=plan.kind,
        stack=plan.stack,
        reasons=list(plan.reasons),
        warnings=list(plan.warnings),
        port=plan.port,
        health_path=plan.health_path,
        build_command=plan.build_command,
        start_command=plan.start_command,
        base_images=list(plan.base_images),
        dockerfile=plan.dockerfile,
        compose=plan.compose,
        because=plan.because,
    )


def _error_view(error: dict[str, Any]) -> views.JobError:
    told = views.JobError(code=error["code"], message=error["message"], details=error.get("details"))
    return {**told, "step": error["step"]} if "step" in error else told

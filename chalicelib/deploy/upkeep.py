"""What nobody asks for and somebody must do: jobs that nobody else will end, removals, suspensions, looking at hosts.

Each is repeated every minute, and safe to be.
"""

import logging
from datetime import UTC, datetime, timedelta

from chalicelib.deploy import start
from chalicelib.domain.errors import Conflict, LeaseLost, NotFound
from chalicelib.domain.job import LIFECYCLE, REAPER_GRACE_SECONDS, Job, Kind
from chalicelib.domain.panel import Caller
from chalicelib.domain.reach import is_away
from chalicelib.domain.service import (
    Service,
)
from chalicelib.domain.words import parse_time
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.jobs")

# A queued job that the workflow has not begun by then is told to it again.
START_AGAIN_SECONDS = 60
# Who acts when nobody asked.
_SLIPWAY = Caller(token_id="slipway", role="admin", customer_id=None)  # noqa: S106  # a name, not a secret


def resume_unfinished() -> int:
    """Tell the workflow of every job that is not over; how many. For a start after the engine lost its executions."""
    count = 0
    for job in adapters().jobs.unfinished():
        if job.kind in LIFECYCLE:
            end_for(job, "unavailable", "the control plane was restarted while the host was at work")
        else:
            adapters().workflow.start(adapters().jobs.change(job, resumed=job.resumed + 1))
        count += 1
    return count


def reap() -> None:
    """End what passed its deadline, and start again what the workflow never began."""
    moment = datetime.now(UTC)
    for job in adapters().jobs.unfinished():
        if parse_time(job.deadline) + timedelta(seconds=REAPER_GRACE_SECONDS) < moment:
            end_for(job, "deadline_passed", "the job passed its deadline without ending by itself")
        elif (
            job.status == "queued"
            and job.kind not in LIFECYCLE
            and parse_time(job.created_at) + timedelta(seconds=START_AGAIN_SECONDS) < moment
        ):
            adapters().workflow.start(job)


def go_on_removing() -> None:
    """Begin again every removal whose job ended without the host being proved clean: it is not given up."""
    panel = adapters()
    for removal in panel.services.removals():
        service = panel.services.find(removal["service_id"])
        try:
            if service is not None and panel.jobs.is_over(removal["job_id"]):
                start.remove(service, _SLIPWAY)
        except Conflict as error:
            log.info("no removal of service %s yet: %s", removal["service_id"], error.message)


def forget_removals(host_id: str) -> None:
    """Give up what a lost host still holds: an admin's decision, since nothing proves it clean."""
    panel = adapters()
    for removal in panel.services.removals():
        service = panel.services.find(removal["service_id"])
        if removal["host_id"] == host_id and service is not None:
            if not panel.jobs.is_over(removal["job_id"]):
                job = panel.jobs.get(removal["job_id"])
                panel.jobs.close(start.ended_job(job, "failed", "its host was removed; what it holds was given up"))
            panel.services.give_up(service)


def enforce_suspensions() -> None:
    """Stop what runs for suspended customers, and start again what was stopped so when they return.

    Of a service that failed some may run still, and it was to run as a whole. Asked for when a customer changes, and
    each minute for what was busy or unreachable then. A host that is known to be away is waited for, or each minute
    were a failure in the timeline. What was stopped so is remembered until it was started, or would not start itself.
    """
    panel = adapters()
    suspended = {customer.id for customer in panel.customers.all() if customer.status == "suspended"}
    away = {host.id for host in panel.hosts.all() if is_away(host)}
    for row in panel.services.rows():
        if row["host_id"] in away:
            continue
        if row["customer_id"] in suspended and row["status"] in ("running", "failed"):
            _suspend(row["id"], "stop", "its customer was suspended")
        elif row["customer_id"] not in suspended and row["suspended"]:
            _suspend(row["id"], "start", "its customer is active again")


def _suspend(service_id: str, kind: Kind, because: str) -> None:
    try:
        service = adapters().services.get(service_id)
        if not service.release:  # its first deploy failed, and what it had started was stopped then
            return
        job = start.begin_lifecycle(service, kind, _SLIPWAY, suspended=True, because=because)
    except (Conflict, NotFound) as error:  # busy, or gone: the next minute looks again
        log.info("no %s of service %s yet: %s", kind, service_id, error.message)
        return
    adapters().host_calls.tell("lifecycle", job_id=job.id)


def look_at_every_host() -> None:
    """Have each host held against what is wanted of it, without waiting for any, and checked where that is due.

    One that nobody has asked to be checked is left: its key may not be there yet.
    """
    by_host: dict[str, list[str]] = {}
    for row in adapters().services.rows():
        by_host.setdefault(row["host_id"], []).append(row["id"])
    for host in adapters().hosts.all():
        if host.status == "new" and host.check_due:
            adapters().host_calls.tell("check_host", host_id=host.id)
        if host.status != "new" or host.id in by_host:
            adapters().host_calls.tell("look", host_id=host.id, service_ids=sorted(by_host.get(host.id, [])))


def end_for(job: Job, code: str, message: str) -> None:
    """End a job from outside the workflow; nothing if it ended meanwhile."""
    panel = adapters()
    ended = start.ended_job(
        job, "failed", message, {"code": code, "message": message, "details": None}, open_steps="failed"
    )
    service = panel.services.find(job.service_id)
    if service is None:  # it was purged, and this entry outlived a crash
        panel.jobs.close(ended)
        return
    try:
        status = service.status if job.kind in (*LIFECYCLE, "delete") else _left_in(job, service)
        kind = "lifecycle" if job.kind in LIFECYCLE else "deploy"
        panel.services.finish(service, ended, (start.event_of(kind, "failed", message, job),), status=status)
    except LeaseLost:
        log.info("job %s ended by itself or lost its lease", job.id)
    panel.slots.give_back(job.host_id, job.id)


def _left_in(job: Job, service: Service) -> str:
    """What a deploy that was cut off leaves: the last release untouched, or nobody knows."""
    return job.previous_status if service.release and not job.up_began else "failed"

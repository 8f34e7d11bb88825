"""What a push to a repository begins: a deploy of its branch's newest commit, now or once the job at work is over.

However many pushes come while a job is at work, one deploy follows it: what is fetched is the newest commit by then.
"""

import logging
import secrets
from dataclasses import dataclass
from functools import lru_cache

from chalicelib.aws.sealing import Sealer
from chalicelib.deploy import start
from chalicelib.domain.errors import Changed, Conflict, NotFound, ValidationFailed
from chalicelib.domain.job import Job
from chalicelib.domain.panel import Caller
from chalicelib.domain.push import Push
from chalicelib.domain.service import Event, Service
from chalicelib.domain.words import new_id, now
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.pushes")

_PUSH = Caller(token_id="webhook", role="deployer", customer_id=None)  # noqa: S106  # a name, not a secret


@dataclass(frozen=True)
class Taken:
    """What came of a delivery: a job, one that is at work and will be followed by another, or neither, and why."""

    deploys: bool
    job_id: str | None
    message: str


def new_secret(service: Service) -> str:
    """What the repository's host shall sign with from now on; it is told once, and kept sealed."""
    secret = secrets.token_urlsafe(32)
    adapters().webhooks.keep_secret(service.id, adapters().sealer.seal(secret.encode(), service.id))
    return secret


def secret_of(service_id: str) -> str:
    """Raise `NotFound` if there is no such service, or it takes no webhooks."""
    sealed = adapters().webhooks.secret(service_id)
    if sealed is None:
        raise NotFound("no such webhook")
    return _unsealed(adapters().sealer, sealed, service_id)


def take(service: Service, push: Push) -> Taken:
    """Deploy what was pushed, once for each delivery."""
    why_not = _why_not(service, push)
    if why_not or push.commit is None:
        return Taken(deploys=False, job_id=None, message=why_not or "the branch was deleted")
    webhooks = adapters().webhooks
    if webhooks.was_taken(service.id, push.delivery):
        return Taken(deploys=False, job_id=None, message="this delivery was taken before")
    try:
        job = start.redeploy(service, _PUSH, webhooks.taking(service.id, push.delivery))
    except Changed:
        if webhooks.was_taken(service.id, push.delivery):
            return Taken(deploys=False, job_id=None, message="this delivery was taken before")
        raise
    except Conflict as busy:
        return _later(service, push, push.commit, busy)
    return Taken(deploys=True, job_id=job.id, message=f"deploying {push.commit[:8]}")


def follow(service_id: str) -> None:
    """Begin the deploy that pushes asked for while the service was busy, unless it runs that commit by now.

    Asked for when a job ends, and each minute for what was missed then.
    """
    webhooks = adapters().webhooks
    mark = webhooks.marked(service_id)
    if mark is None:
        return
    try:
        service = adapters().services.get(service_id)
        if service.commit == mark["commit"] and service.status == "running":
            webhooks.unmark(mark)
        else:
            start.redeploy(service, _PUSH, webhooks.unmarking(mark))
    except NotFound:
        webhooks.unmark(mark)
    except Conflict as error:  # busy again, or a newer push came: the next end, or minute, looks again
        log.info("no deploy of what was pushed to service %s yet: %s", service_id, error.message)
    except ValidationFailed as error:  # it would not be otherwise in a minute
        webhooks.unmark(mark)
        adapters().services.note(service_id, _not_deployed(mark["commit"], error.message))


def follow_all() -> None:
    for mark in list(adapters().webhooks.all_marked()):
        follow(mark["service_id"])


def _not_deployed(commit: str, why: str) -> Event:
    message = f"{commit[:8]} was pushed and not deployed: {why}"
    return Event(id=new_id("evt"), type="deploy", status="failed", message=message, timestamp=now())


def _why_not(service: Service, push: Push) -> str:
    if service.repository is None:
        return "the service is not deployed from a repository"
    if push.branch is None:
        return f"a {push.event} that is no push of a branch"
    wanted = service.repository.branch or push.default_branch
    if push.branch != wanted:
        return f"branch {push.branch} was pushed, and {wanted or 'another'} is deployed"
    if service.repository.commit:
        return f"the service is held to commit {service.repository.commit[:8]}"
    if service.status == "stopped":
        return "the service is stopped"
    if adapters().customers.get(service.customer_id).status == "suspended":
        return "the service's customer is suspended"
    return ""


def _later(service: Service, push: Push, commit: str, busy: Conflict) -> Taken:
    at_work = (busy.details or {}).get("job_id")
    if at_work is None:  # no job: something else is in the way
        raise busy
    job = adapters().jobs.get(at_work)
    webhooks = adapters().webhooks
    if not webhooks.mark(service.id, push.delivery, commit):
        return Taken(deploys=False, job_id=None, message="this delivery was taken before")
    if _will_fetch(job):
        webhooks.unmark({"service_id": service.id, "delivery": push.delivery})
        return Taken(deploys=True, job_id=job.id, message=f"job {job.id} is about to fetch it")
    if job.is_over:
        follow(service.id)
    return Taken(deploys=True, job_id=job.id, message=f"a deploy follows once job {job.id} is over")


def _will_fetch(job: Job) -> bool:
    """Whether the job has yet to look for its branch's newest commit."""
    return job.from_repository and job.commit is None and "Source" not in job.steps and not job.is_over


@lru_cache(maxsize=64)
def _unsealed(sealer: Sealer, sealed: bytes, service_id: str) -> str:
    return sealer.unseal(sealed, service_id).decode()

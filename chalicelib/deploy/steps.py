"""The workflow's steps, in order: one function for each Task state of `infra/deploy.asl.json`, named as the state is.

Each loads by id, does one thing on the host, and returns an outcome that the workflow's Choice states know: `done`,
`waiting` (ask again after a Wait), or what is to be done first: `images_missing`, `build`, and so on. Each may run
twice.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from chalicelib.commands import kit
from chalicelib.deploy import drafting, pushes, repositories, start
from chalicelib.deploy.logins import closed_to, explained, has_pulled, will_pull
from chalicelib.deploy.work import POLL_SECONDS, WAIT_SECONDS, Work
from chalicelib.domain import compose
from chalicelib.domain.errors import (
    Cancelled,
    CommandFailed,
    ImageUnavailable,
    PolicyRefused,
    PreflightFailed,
    SlipwayError,
    Unhealthy,
)
from chalicelib.domain.observing import Container, heard, left_running, lost, observation, verdict
from chalicelib.domain.service import HealthCheck, Release, Source
from chalicelib.domain.words import now, parse_time
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.steps")

# An app without a port or a health check of its own is believed when it has stayed up this long.
_STEADY_SECONDS = 2.0
_FIRST_POLL_SECONDS = 0.05
_LONGEST_PAUSE = 1.0
_SELDOM_SECONDS = 0.5  # for the first in line
_WAITING_SECONDS = 1.0  # in which a job that only waits sees that it shall not
_TURN_SECONDS = 0.1  # between two looks, for each that is before
_TAIL_LINES = 20
_NEWEST = 10  # lines of the timeline, among which one that a repeat of a step told stands
_DONE = {"deploy": "Deployed", "update": "Updated", "redeploy": "Redeployed", "rollback": "Rolled back"}
_OK, _BAD_REQUEST, _BAD_GATEWAY = 200, 400, 502
_NO_ANSWER = (None, 502, 503, 504)


def admit(work: Work) -> str:
    """Wait for a turn on the host: a few jobs at a time, in the order they came."""
    before, looked = adapters().slots.line_up(work.job.host_id, work.job.id), time.monotonic()

    def look() -> str | None:
        nonlocal before, looked
        # Whether those in the way are still alive costs a read each, and most give their turn back. Each looks after
        # the one before it: the further behind, the longer it takes until it matters.
        seldom = time.monotonic() - looked > _SELDOM_SECONDS * max(1, before)
        looked = time.monotonic() if seldom else looked
        before = adapters().slots.take(work.job.host_id, work.job.id, adapters().jobs.is_over if seldom else None)
        return f"{before} before it" if before else None

    if before:  # at once, for whoever looks in the meantime
        _say_turn(work, before)
    # A turn that nobody takes is the host's time lost: the first in line looks often, those behind it need not.
    stop = _seldom(work.stop_if_told, _WAITING_SECONDS)
    if before and _poll(look, stop, lambda: min(before * _TURN_SECONDS, _LONGEST_PAUSE)) is not None:
        _say_turn(work, before)
        return "waiting"
    return "fetch" if work.job.from_repository else "done"


def preflight(work: Work) -> str:
    """Whether the host can take this release: Docker up, disk, ports, networks. Touches nothing."""
    release, settings = work.release, adapters().settings
    built = [one.tag for one in work.source(release.number).builds] if release.built else []
    answer = work.ask(
        kit.preflight(
            work.service.id,
            installation=adapters().installation.id(),
            ports=[kit.Port(ip=port.ip, port=port.port, protocol=port.protocol) for port in release.published],
            min_disk_mb=settings.min_disk_mb,
            pool=settings.network_pool,
            networks=len(release.networks),
            images=built,
        )
    )
    if answer["problems"]:
        raise PreflightFailed("; ".join(problem["message"] for problem in answer["problems"]), answer["problems"])
    if built and answer["missing_images"] and release.state != "pending":
        raise ImageUnavailable(
            f"release {release.number} was built on its host, and is there no more; redeploy instead"
        )
    return "build" if built and answer["missing_images"] else "done"


def upload(work: Work) -> str:
    """The release's files and networks on the host; what Compose makes of them there is judged once more.

    A redeploy pulls what it has, too: all but images that were built on the host, which no registry has. So does a
    deploy of an image that another customer's login brought there. A release that ran before runs with the very images
    it ran with, whatever their tags mean by now.
    """
    release = work.release
    answer = _put_there(work, release)
    _tell_of_lost(work, answer.get("missing_volumes", []))
    again = set(release.images) if work.job.pull_always else closed_to(work.job.customer_id, release.images)
    again -= set(answer["built_here"])
    wanted = tuple(image for image in release.images if image in again or image in answer["missing_images"])
    if release.image_ids:
        wanted = release.digests if answer["missing_images"] else ()
    if not wanted:
        return "done"
    work.job = adapters().jobs.change(work.job, pull=wanted)
    return "images_missing"


def pull(work: Work) -> str:
    """Fetch the images, as a detached job that outlives this function."""
    release, job = work.release, work.job
    will_pull(job.customer_id, job.pull, work.logins)
    try:
        outcome = work.detached(
            "pull",
            lambda name: kit.start_pull(
                release.service_id,
                job.fence,
                job=name,
                release=release.number,
                images=job.pull,
                logins=work.logins or None,
                wait_s=WAIT_SECONDS,
            ),
            ImageUnavailable,
        )
    except ImageUnavailable as error:
        raise explained(error, job.pull, work.logins) from error
    if outcome == "done":
        has_pulled(job.customer_id, job.pull, work.logins)
    return outcome


def up(work: Work) -> str:
    """Replace what runs by this release."""
    return _bring_up(work, work.release, "up")


def health(work: Work) -> str:
    """Wait until the release is healthy; raise `Unhealthy`, with what was seen, when it never will be."""
    began = parse_time(work.job.steps["Health"].started_at).timestamp()
    limit = _patience(work)
    problem = _poll(lambda: _unhealthy(work, work.release), work.stop_if_told)
    if problem is None:
        return "done"
    if time.time() - began > limit:
        raise Unhealthy(f"not healthy after {limit} s: {problem}{_heard(work)}", {"logs": _tail(work)})
    work.say(f"waiting: {problem}")
    return "waiting"


def route(work: Work) -> str:
    """Have the host's edge send the service's name to it, and see it answer there."""
    answers = _route(work, work.release)
    if answers == _BAD_GATEWAY and work.service.expose_port is None:
        # It listens, and what it says is no HTTP. Nobody asked for a URL: the port was ours to guess.
        _leave_unrouted(work)
    elif answers in _NO_ANSWER:
        seen = answers or "nothing"
        message = f"port {work.release.route_port} did not answer through the edge: it answered {seen}"
        raise Unhealthy(message, {"logs": _tail(work)})
    return "done"


def record(work: Work) -> str:
    """The release is good: what ran is measured and kept, the lease is freed."""
    job, service, release = work.job, work.service, work.release
    seen = _seen(work)
    # The host's part is over: the next job begins there while this one is written down.
    adapters().slots.give_back(job.host_id, job.id)
    containers = seen["containers"]
    moment = now()
    before = adapters().services.observations([(service.host_id, service.id)]).get(service.id)
    adapters().services.observe(
        service.host_id, {service.id: observation(seen, moment, before, left_running(containers))}
    )
    source, name = work.source(release.number), _name(work, release)
    verb = _DONE[job.kind]
    origin = repositories.deployed_from(service, release) or start.origin(service)
    what = f"to release {release.number}" if job.kind == "rollback" else f"from {origin}"
    adapters().services.finish(
        service,
        start.ended_job(job, "succeeded", f"{verb} {'to ' if job.kind == 'rollback' else ''}release {release.number}"),
        (
            work.event("deploy", "success", f"{verb} {what}"),
            work.event("health", "healthy", "Health check passed"),
        ),
        release.model_copy(
            update={
                "state": "good",
                "name": name,
                "image_ids": {container["service"]: container["image_id"] for container in containers},
                "containers": left_running(containers),
                "digests": tuple(sorted({digest for container in containers for digest in container["digests"]})),
            }
        ),
        status="running",
        suspended=False,
        promised=drafting.amount_of(release),
        release=release.number,
        deployed_at=moment,
        freed_name=service.name if name != service.name else None,
        name=name,
        has_url=release.route_port is not None,
        compose=source.compose,
        secret_names=source.secret_names,
        limits=source.limits,
        sealed_variables=drafting.sealed_variables(service.id, source.variables),
        **(_of_repository(work, source) if service.repository else {}),
    )
    kept = adapters().settings.releases_kept
    if service.last_release > kept:
        adapters().services.forget_releases(service.id, keep=kept, running=release.number)
    if service.repository:
        _forget_images(work)
        pushes.follow(service.id)
    return "done"


def record_plan(work: Work) -> str:
    """The repository was planned and nothing shall be deployed: the plan is in the job, and the host is as it was."""
    remove(work)
    service = adapters().services.find(work.job.service_id)
    adapters().slots.give_back(work.job.host_id, work.job.id)
    if service is not None:
        adapters().services.purge(service, start.ended_job(work.job, "succeeded", "Planned; nothing was deployed"))
    return "done"


def roll_back(work: Work) -> str:
    """Run the last good release again, with the very images it ran with; without one, stop what was started."""
    service = work.service
    if not service.release:
        work.ask(kit.lifecycle(service.id, work.job.fence, action="stop", release=work.job.release, timeout_s=10))
        return "done"
    good = adapters().services.release(service.id, service.release)
    _put_there(work, good)
    if _bring_up(work, good, "rollback") == "waiting":
        return "waiting"
    problem = _poll(lambda: _unhealthy(work, good), lambda: None)
    if problem is not None:
        began = parse_time(work.job.steps["RollBack"].started_at).timestamp()
        if time.time() - began > adapters().settings.health_timeout_seconds:
            raise Unhealthy(f"release {good.number} was brought back and is not healthy: {problem}")
        return "waiting"
    answers = _route(work, good)
    if answers in _NO_ANSWER:
        raise Unhealthy(f"release {good.number} was brought back and answers {answers or 'nothing'} through the edge")
    if work.job.previous_status == "stopped":
        work.ask(kit.lifecycle(service.id, work.job.fence, action="stop", release=good.number, timeout_s=10))
    return "done"


def record_failure(work: Work, error: dict[str, Any]) -> str:
    """The job failed. The status is what it was before, where the last good release still or again runs."""
    job, service = work.job, work.service
    if job.kind == "plan":
        _end_plan(work, _cause(work, error))
        return "done"
    back = bool(service.release) and (job.up_began or job.previous_status != "failed")
    status = job.previous_status if back and job.previous_status != "deploying" else "failed"
    if back and job.up_began and status == "failed":
        status = "running"  # it had failed before this job; the roll back has just seen it healthy
    cause = _cause(work, error)
    note = ""
    if job.up_began:
        note = f"; release {service.release} was brought back" if service.release else "; it was stopped"
    _end_failed(work, cause, f"{cause['message']}{note}", status)
    return "done"


def record_roll_back_failure(work: Work, error: dict[str, Any], roll_back_error: dict[str, Any]) -> str:
    """The job failed and so did bringing back what ran before."""
    cause = _cause(work, error)
    second = _told(roll_back_error)
    what = f"bringing back release {work.service.release}" if work.service.release else "stopping it"
    note = f"; {what} failed too: {second}"
    _end_failed(work, cause, work.redactor.clean(f"{cause['message']}{note}"), "failed")
    return "done"


def remove(work: Work) -> str:
    """Take everything of the service off the host, and look whether it is gone."""
    left = work.ask(kit.remove(work.job.service_id, work.job.fence), timeout=80)["left"]
    if any(left.values()):
        raise CommandFailed(f"still on the host: {json.dumps(left)}", {"left": left})
    return "done"


def record_removal(work: Work) -> str:
    """The host is clean: nothing is kept but this job, for 30 days."""
    service = adapters().services.find(work.job.service_id)
    if service is not None:
        adapters().services.purge(
            service, start.ended_job(work.job, "succeeded", "Removed; the host holds nothing of it")
        )
    return "done"


def record_removal_failure(work: Work, error: dict[str, Any]) -> str:
    """The service could not be removed in time; its job says what is left."""
    service = adapters().services.find(work.job.service_id)
    cause = _cause(work, error)
    if service is not None:
        ended = start.ended_job(work.job, "failed", cause["message"], cause)
        adapters().services.finish(service, ended, (work.event("deploy", "failed", cause["message"]),))
    return "done"


STEPS: dict[str, Callable[..., str]] = {
    "Admit": admit,
    "Source": repositories.source,
    "Plan": repositories.plan,
    "Preflight": preflight,
    "Build": repositories.build,
    "Upload": upload,
    "Pull": pull,
    "Up": up,
    "Health": health,
    "Route": route,
    "Record": record,
    "RecordPlan": record_plan,
    "RollBack": roll_back,
    "Repair": repositories.repair,
    "RecordFailure": record_failure,
    "RecordRollBackFailure": record_roll_back_failure,
    "Remove": remove,
    "RecordRemoval": record_removal,
    "RecordRemovalFailure": record_removal_failure,
}


def _say_turn(work: Work, before: int) -> None:
    message = f"waiting for its turn on the host: {before} before it"
    if work.job.steps[work.step].message != message:
        work.say(message)


def _put_there(work: Work, release: Release) -> dict[str, Any]:
    document = work.source(release.number).document
    answer = work.ask(
        kit.upload(
            release.service_id,
            work.job.fence,
            release=release.number,
            document=document,
            images=list(release.image_ids.values()) or list(release.images),
            networks=[
                kit.NetworkWanted(name=network.name, edge=network.edge, internal=network.internal)
                for network in release.networks
            ],
            pool=adapters().settings.network_pool,
        )
    )
    findings = compose.judge(answer["resolved"], document)
    if findings:
        details = [{"path": found.path, "rule": found.rule, "message": found.message} for found in findings]
        raise PolicyRefused("what Compose resolved on the host is not what was allowed", details)
    return answer


def _tell_of_lost(work: Work, volumes: list[str]) -> None:
    """What the release that runs has, and the host has not, was not left out by its author: somebody removed it."""
    if not (volumes and work.service.release):
        return
    had = work.source(work.service.release).document.get("volumes", {})
    gone = [name for name in volumes if name in had]
    if not gone:
        return
    event = work.event("deploy", "warning", lost(gone))
    told = adapters().services.newest_events(work.job.service_id, _NEWEST)
    if (work.job.id, event.message) not in {(one.job_id, one.message) for one in told}:
        adapters().services.note(work.job.service_id, event)


def _bring_up(work: Work, release: Release, kind: str) -> str:
    return work.detached(
        kind,
        lambda name: kit.start_up(
            release.service_id,
            work.job.fence,
            job=name,
            release=release.number,
            images=release.image_ids or None,
            wait_s=WAIT_SECONDS,
        ),
        CommandFailed,
    )


def _name(work: Work, release: Release) -> str:
    """A release brought back keeps the name that the service has by now: its old one may be another's."""
    return release.name if release.state == "pending" else work.service.name


def _patience(work: Work) -> int:
    """Seconds in which a release must become healthy."""
    check = _check(work, work.release)
    return check.timeout_seconds if check else adapters().settings.health_timeout_seconds


def _check(work: Work, release: Release) -> HealthCheck | None:
    """A repository's release has a check of its own, or none; all others have their template's."""
    return release.health_check if work.service.repository else work.service.health_check


def _poll(
    look: Callable[[], str | None], stop: Callable[[], None], longest: Callable[[], float] = lambda: _LONGEST_PAUSE
) -> str | None:
    """Look until nothing is wrong any more or the step's time is over; what was wrong last, or None."""
    deadline, pause = time.monotonic() + POLL_SECONDS, _FIRST_POLL_SECONDS
    while (problem := look()) is not None:
        if time.monotonic() + pause > deadline:
            return problem
        time.sleep(pause)
        pause = min(pause * 1.6, longest())
        stop()
    return None


def _seldom(act: Callable[[], None], seconds: float) -> Callable[[], None]:
    """The act, but not again so soon."""
    last = time.monotonic()

    def now_and_then() -> None:
        nonlocal last
        if time.monotonic() - last > seconds:
            act()
            last = time.monotonic()

    return now_and_then


def _unhealthy(work: Work, release: Release) -> str | None:
    """What keeps this release from being healthy now; raise `Unhealthy` if it is beyond hope."""
    containers = _seen(work)["containers"]
    expected = frozenset(work.source(release.number).document["services"])
    state, why = verdict(containers, expected)
    if state == "failed":
        raise Unhealthy(why, {"logs": _tail(work)})
    if state == "starting":
        return why
    return _not_answering(work, release, containers)


def _not_answering(work: Work, release: Release, containers: list[Container]) -> str | None:
    routed = [container for container in containers if container["service"] == release.route_service]
    if release.route_port is None or not routed:
        return _not_steady(containers)
    check = _check(work, release)
    host_name = adapters().settings.host_name_of(_name(work, release))
    for container in routed:
        address = container["ips"].get(release.edge_network)
        if address is None:
            return f"{container['service']} has no address on its network yet"
        if check:
            status = work.remote.http_status(address, check.port, check.path, host_name, timeout=5)
            if status is None:
                return f"nothing answers on port {check.port}"
            if not _OK <= status < _BAD_REQUEST:
                return f"GET {check.path} answered {status}"
        elif not work.remote.tcp_open(address, release.route_port, timeout=5):
            return f"nothing listens on port {release.route_port} of {container['service']}"
    return None


def _heard(work: Work) -> str:
    """Where the release listens, in words: mostly on another port than it should, or for itself alone."""
    release = work.release
    if release.route_port is None:
        return ""
    seen = work.ask(kit.listening(work.job.service_id))["listening"].get(release.route_service)
    return heard(seen, release.route_port)


def _not_steady(containers: list[Container]) -> str | None:
    running = [
        container for container in containers if container["state"] == "running" and container["health"] == "none"
    ]
    newest = max((parse_time(container["started_at"]).timestamp() for container in running), default=0.0)
    return "it has not been up long enough to tell" if time.time() - newest < _STEADY_SECONDS else None


def _route(work: Work, release: Release) -> int | None:
    """What the service answers through the edge: a status, None for nothing; 200 where it has no route."""
    if release.route_port is None or release.edge_network is None:
        work.ask(kit.unroute(release.service_id, work.job.fence))
        return _OK
    check = _check(work, release)
    hosts = [adapters().settings.host_name_of(_name(work, release)), *work.service.custom_domains]
    answer = work.ask(
        kit.route(
            release.service_id,
            work.job.fence,
            hosts=hosts,
            upstream=kit.Upstream(network=release.edge_network, alias=release.service_id, port=release.route_port),
            check_path=check.path if check else "/",
        )
    )
    answers: int | None = answer["answers"]
    return answers


def _leave_unrouted(work: Work) -> None:
    release = work.release
    work.ask(kit.unroute(release.service_id, work.job.fence))
    message = f"Port {release.route_port} of {release.route_service} speaks no HTTP, so it has no URL"
    work.change_release(route_service=None, route_port=None)
    adapters().services.note(release.service_id, work.event("domain", "unrouted", message))


def _of_repository(work: Work, source: Source) -> dict[str, Any]:
    """What the service is deployed from by now. A rollback brings the sources back, and no credentials of the past."""
    credentials = drafting.credentials_of(work.service) if work.job.kind == "rollback" else source.credentials
    return {
        "repository": source.repository,
        "sealed_credentials": drafting.sealed_credentials(work.service.id, credentials),
        "commit": work.release.commit,
        "known_hosts": work.release.known_hosts or work.service.known_hosts,
        "health_check": work.release.health_check,
    }


def _forget_images(work: Work) -> None:
    """Of what was built for the service, only what a kept release runs stays."""
    kept = {image for release in adapters().services.releases(work.job.service_id) for image in release.images}
    try:
        work.ask(kit.forget_images(work.job.service_id, work.job.fence, keep=sorted(kept)))
    except SlipwayError as error:  # the job is over and went well; the next one forgets them
        log.warning("job %s: its old images stay for now: %s", work.job.id, error.message)


def _end_plan(work: Work, cause: dict[str, Any]) -> None:
    """What the host holds of it goes within a minute, as what is left of any removal does."""
    ended = start.ended_job(work.job, _word(cause), cause["message"], cause)
    adapters().services.finish(work.service, ended, ())
    adapters().slots.give_back(work.job.host_id, work.job.id)


def _word(cause: dict[str, Any]) -> str:
    return "cancelled" if cause["code"] == Cancelled.code else "failed"


def _seen(work: Work) -> dict[str, Any]:
    answer = work.ask(kit.observe([work.job.service_id]))
    seen: dict[str, Any] = answer["services"][work.job.service_id]
    return seen


def _tail(work: Work) -> list[str]:
    entries = work.ask(kit.logs(work.job.service_id, tail=_TAIL_LINES))["entries"]
    return [f"{entry['container']}: {entry['message']}" for entry in entries]


def _cause(work: Work, error: dict[str, Any]) -> dict[str, Any]:
    """The job's own record of its error; what the workflow saw where a step could not write it (a timeout, a crash)."""
    if work.job.error:
        return work.job.error
    return {"code": error.get("Error", "unknown"), "message": work.redactor.clean(_told(error)), "details": None}


def _told(error: dict[str, Any]) -> str:
    cause = error.get("Cause", "")
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return f"{error.get('Error', 'unknown')} {cause}".strip()


def _end_failed(work: Work, cause: dict[str, Any], message: str, status: str) -> None:
    job, service, release = work.job, work.service, work.release
    word = _word(cause)
    adapters().services.finish(
        service,
        start.ended_job(job, word, message, cause),
        (work.event("deploy", word, f"{job.kind.capitalize()} {word}: {message}"),),
        release.model_copy(update={"state": "failed"}) if release.state == "pending" else None,
        freed_name=release.name if release.state == "pending" and release.name != service.name else None,
        status=status,
        promised=drafting.amount_of(adapters().services.release(service.id, service.release or release.number)),
    )
    adapters().slots.give_back(job.host_id, job.id)
    if service.repository:
        pushes.follow(service.id)

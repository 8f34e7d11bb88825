"""The functions that are not REST: the workflow's steps and the API's calls, both on hosts, and the reaper.

All steps share one function, so a deploy usually finds one warm container with one open SSH connection. They are made
here, in the module that makes the Blueprint, because Chalice names a handler by it.
"""

import json
import logging
from typing import Any

from chalice import Blueprint, Rate
from chalice.app import CloudWatchEvent

from chalicelib.domain.errors import SlipwayError
from chalicelib.domain.words import now

functions = Blueprint(__name__)
log = logging.getLogger("slipway.functions")


@functions.lambda_function(name="host_step")
def host_step(event: dict[str, Any], context: Any) -> dict[str, str]:
    """One step of the workflow: `{step, job_id, previous_ended, …}` → `{outcome, ended_at}`."""
    # Imported here: it brings paramiko, which the REST function, sharing this file, does without.
    from chalicelib.deploy.steps import STEPS  # noqa: PLC0415
    from chalicelib.deploy.work import attempt  # noqa: PLC0415

    more = {name: event[name] for name in ("error", "roll_back_error") if name in event}
    with attempt(event["step"], event["job_id"], event["previous_ended"]) as work:
        outcome = STEPS[event["step"]](work, **more) if work else "done"
    line = {"request_id": work.job.request_id if work else "", "job_id": event["job_id"]}
    log.info("%s", json.dumps({**line, "step": event["step"], "outcome": outcome}))
    return {"outcome": outcome, "ended_at": now()}


@functions.lambda_function(name="host_call")
def host_call(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A call on a host for the API: `{call, arguments}` → `{answer}` or `{error}`, which the API raises again."""
    from chalicelib.deploy import calls, reconcile  # noqa: PLC0415

    known = {**calls.CALLS, **reconcile.CALLS}
    try:
        return {"answer": known[event["call"]](**event["arguments"])}
    except SlipwayError as error:
        log.warning("%s: %s: %s", event["call"], type(error).__name__, error.message)
        return {"error": {"type": type(error).__name__, "message": error.message, "details": error.details}}


@functions.schedule(Rate(1, unit=Rate.MINUTES), name="reaper")
def reaper(event: CloudWatchEvent) -> None:
    """End jobs that passed their deadline, start those the workflow never began, and whatever else nobody asks for."""
    from chalicelib.deploy.pushes import follow_all  # noqa: PLC0415
    from chalicelib.deploy.upkeep import enforce_suspensions, go_on_removing, reap  # noqa: PLC0415

    reap()
    enforce_suspensions()
    go_on_removing()
    follow_all()


@functions.schedule(Rate(1, unit=Rate.MINUTES), name="reconciler")
def reconciler(event: CloudWatchEvent) -> None:
    """Have every host looked at, so that no status stays untrue for long."""
    from chalicelib.deploy.upkeep import look_at_every_host  # noqa: PLC0415

    look_at_every_host()

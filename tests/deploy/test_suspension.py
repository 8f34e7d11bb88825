"""A suspended customer's services stop, and those alone start again when it returns."""

from typing import Any

import pytest

from chalicelib.deploy import functions, start, upkeep
from chalicelib.domain.errors import CommandFailed, HostNotReady, HostUnreachable, SlipwayError
from chalicelib.domain.panel import Customer
from chalicelib.domain.service import Service
from chalicelib.domain.words import now
from tests.deploy.fakes import FakeHost, running
from tests.deploy.test_steps import ADMIN, created, deployed
from tests.emulator import Panel

STOPPED = running(state="exited", exit_code=143)


def carried_out(panel: Panel) -> list[str]:
    """Carry out the calls that were told, as Lambda would; the jobs' kinds."""
    told, panel.host_calls.told = panel.host_calls.told, []
    jobs = [arguments["job_id"] for call, arguments in told if call == "lifecycle"]
    for job_id in jobs:
        functions.host_call({"call": "lifecycle", "arguments": {"job_id": job_id}}, None)
    return [panel.jobs.get(job_id).kind for job_id in jobs]


def suspended(panel: Panel, host: FakeHost, service: Service, left: list[dict[str, Any]]) -> Customer:
    """The service's customer, whose service was stopped by it, once, and left these containers."""
    customer = panel.customers.change(panel.customers.get(service.customer_id), status="suspended")
    upkeep.enforce_suspensions()
    host.containers = left
    assert carried_out(panel) == ["stop"]
    assert panel.services.get(service.id).status == "stopped"
    upkeep.enforce_suspensions()
    assert carried_out(panel) == []
    return customer


def test_what_runs_is_stopped_and_started_again(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)

    customer = suspended(panel, host, service, [STOPPED])

    panel.customers.change(customer, status="active")
    upkeep.enforce_suspensions()
    host.containers = [running()]
    assert carried_out(panel) == ["start"]
    assert panel.services.get(service.id).status == "running"
    upkeep.enforce_suspensions()
    assert carried_out(panel) == []


def test_what_still_runs_of_a_failed_service_is_stopped_and_all_of_it_wanted_back(panel: Panel, host: FakeHost) -> None:
    host.containers = [running(), running("worker")]
    service = deployed(panel)
    host.containers = [running(), running("worker", state="restarting", exit_code=1, restart_count=9)]
    functions.host_call(
        {"call": "reconcile", "arguments": {"host_id": service.host_id, "service_ids": [service.id]}}, None
    )
    assert panel.services.get(service.id).status == "failed"
    panel.host_calls.told.clear()

    customer = suspended(panel, host, service, [STOPPED, running("worker", state="dead", exit_code=1)])

    panel.customers.change(customer, status="active")
    upkeep.enforce_suspensions()
    host.containers = [running(), running("worker")]
    assert carried_out(panel) == ["start"]
    assert panel.services.get(service.id).status == "running"


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (HostUnreachable("no answer"), True),
        (HostNotReady("Docker does not answer"), True),
        (CommandFailed("no"), False),
    ],
)
def test_a_start_that_fails_for_its_host_is_tried_again_when_the_customer_is_back(
    panel: Panel, host: FakeHost, failure: SlipwayError, again: bool
) -> None:
    service = deployed(panel)
    customer = suspended(panel, host, service, [STOPPED])
    panel.customers.change(customer, status="active")
    host.answers["lifecycle"] = failure
    upkeep.enforce_suspensions()
    assert carried_out(panel) == ["start"]
    assert panel.services.get(service.id).status == "stopped"

    del host.answers["lifecycle"]
    host.containers = [running()]
    upkeep.enforce_suspensions()
    assert carried_out(panel) == (["start"] if again else [])
    assert panel.services.get(service.id).status == ("running" if again else "stopped")
    upkeep.enforce_suspensions()
    assert carried_out(panel) == []


def test_a_start_that_was_cut_off_is_tried_again(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    customer = suspended(panel, host, service, [STOPPED])
    panel.customers.change(customer, status="active")
    upkeep.enforce_suspensions()
    ((_, told),) = panel.host_calls.told
    panel.host_calls.told.clear()
    upkeep.end_for(panel.jobs.get(told["job_id"]), "deadline_passed", "ended")

    upkeep.enforce_suspensions()
    host.containers = [running()]
    assert carried_out(panel) == ["start"]
    assert panel.services.get(service.id).status == "running"


def test_who_stops_it_meanwhile_has_it_stopped(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    customer = suspended(panel, host, service, [STOPPED])
    panel.customers.change(customer, status="active")
    start.begin_lifecycle(panel.services.get(service.id), "stop", ADMIN)

    assert not panel.services.get(service.id).suspended


@pytest.mark.parametrize("check", ["host_unreachable", "host_timeout", "docker"])
def test_a_host_that_is_away_is_waited_for_and_not_tried_each_minute(panel: Panel, host: FakeHost, check: str) -> None:
    service = deployed(panel)
    panel.customers.change(panel.customers.get(service.customer_id), status="suspended")
    away = {"check": check, "message": "no answer", "since": now()}
    panel.hosts.change(panel.hosts.get(service.host_id), status="not_ready", problems=(away,))

    upkeep.enforce_suspensions()
    assert carried_out(panel) == []

    panel.hosts.change(panel.hosts.get(service.host_id), status="ready", problems=())
    upkeep.enforce_suspensions()
    host.containers = [STOPPED]
    assert carried_out(panel) == ["stop"]
    assert panel.services.get(service.id).status == "stopped"


def test_what_never_ran_is_not_stopped(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    upkeep.end_for(job, "unavailable", "ended")
    panel.customers.change(panel.customers.get(service.customer_id), status="suspended")

    upkeep.enforce_suspensions()

    assert panel.services.get(service.id).status == "failed"
    assert carried_out(panel) == []


def test_the_timeline_says_that_the_customer_was_suspended_and_is_back(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    customer = panel.customers.change(panel.customers.get(service.customer_id), status="suspended")
    upkeep.enforce_suspensions()
    host.containers = [STOPPED]
    carried_out(panel)
    panel.customers.change(customer, status="active")
    upkeep.enforce_suspensions()
    host.containers = [running()]
    carried_out(panel)

    told = [event.message for event in panel.services.newest_events(service.id, 9) if event.type == "lifecycle"]

    assert told == [
        "Service started, because its customer is active again",
        "Service stopped, because its customer was suspended",
    ]


def test_what_its_customer_had_stopped_stays_stopped(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.containers = [STOPPED]
    job = start.begin_lifecycle(service, "stop", ADMIN)
    functions.host_call({"call": "lifecycle", "arguments": {"job_id": job.id}}, None)
    customer = panel.customers.change(panel.customers.get(service.customer_id), status="suspended")

    upkeep.enforce_suspensions()
    panel.customers.change(customer, status="active")
    upkeep.enforce_suspensions()

    assert carried_out(panel) == []


def test_what_is_busy_is_stopped_a_minute_later(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    panel.customers.change(panel.customers.get(service.customer_id), status="suspended")

    upkeep.enforce_suspensions()
    assert carried_out(panel) == []

    upkeep.end_for(job, "unavailable", "ended")
    upkeep.enforce_suspensions()
    assert carried_out(panel) == ["stop"]


def test_a_stop_ended_from_outside_is_a_line_about_the_lifecycle(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.begin_lifecycle(service, "stop", ADMIN)

    upkeep.end_for(job, "unavailable", "the host could not be asked")

    newest = panel.services.events(service.id, 1, 1)[0][0]
    assert (newest.type, newest.status, newest.message) == ("lifecycle", "failed", "the host could not be asked")

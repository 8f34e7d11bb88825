"""Statuses that the host belies are put right, what a job holds is left alone, and only orphans are swept."""

from typing import Any

import pytest

from chalicelib.deploy import functions, start
from chalicelib.domain import errors
from chalicelib.domain.reconciling import corrected
from chalicelib.domain.service import Status
from chalicelib.store.table import Table
from tests.deploy.fakes import Counted, FakeHost, running
from tests.deploy.test_steps import ADMIN, deployed
from tests.emulator import Panel

STOPPED = running(state="exited", exit_code=143)
UNKNOWN = "svc_0000000000000000"
READS = ("get_item", "batch_get_item", "query")


def call(name: str, **arguments: Any) -> Any:
    return functions.host_call({"call": name, "arguments": arguments}, None)


@pytest.mark.parametrize(
    ("status", "release", "seen", "after"),
    [
        ("running", 1, "running", None),
        ("running", 1, "stopped", "failed"),
        ("running", 1, "failed", "failed"),
        ("stopped", 1, "stopped", None),
        ("stopped", 1, "running", "running"),
        ("stopped", 1, "failed", None),
        ("failed", 1, "running", "running"),
        ("failed", 1, "stopped", None),
        ("failed", 0, "running", None),
        ("deploying", 1, "stopped", None),
    ],
)
def test_which_statuses_are_put_right(
    panel: Panel, host: FakeHost, status: Status, release: int, seen: Status, after: Status | None
) -> None:
    service = deployed(panel).model_copy(update={"status": status, "release": release})

    correction = corrected(service, seen)

    assert (correction[0] if correction else None) == after


def test_a_container_removed_by_hand_is_noticed_and_noted_once(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.containers = []

    first = call("reconcile", host_id=service.host_id, service_ids=[service.id])
    second = call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert (first, second) == ({"answer": {"corrected": [service.id]}}, {"answer": {"corrected": []}})
    assert panel.services.get(service.id).status == "failed"
    messages = [event.message for event in panel.services.events(service.id, 1, 10)[0]]
    assert messages[0].startswith("The service is failed: its containers are not running")


def test_a_host_that_is_back_with_its_containers_makes_it_running_again(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.containers = [STOPPED]
    call("reconcile", host_id=service.host_id, service_ids=[service.id])
    host.containers = [running()]

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "running"


def test_a_host_that_does_not_answer_changes_no_status(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.answers["observe"] = errors.HostUnreachable("no answer")

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "running"
    seen = panel.services.observations([(service.host_id, service.id)])[service.id]
    assert (seen.health, seen.consecutive_failures) == ("unknown", 1)


def test_a_service_that_a_job_holds_is_left_to_the_job(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    start.begin_lifecycle(service, "stop", ADMIN)
    host.containers = [STOPPED]

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "running"


def test_what_was_seen_before_a_job_ended_is_not_held_against_it(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)

    def stopped_while_it_is_looked_at(request: dict[str, Any]) -> dict[str, Any]:
        job = start.begin_lifecycle(panel.services.get(service.id), "stop", ADMIN)
        panel.services.finish(
            panel.services.get(service.id), start.ended_job(job, "succeeded", ""), (), status="stopped"
        )
        return host._seen("observe", request)

    host.answers["observe"] = stopped_while_it_is_looked_at

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "stopped"


def test_orphans_are_listed_and_nothing_else_is_swept(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.answers["inventory"] = {"services": {service.id: {"containers": ["c1"]}, UNKNOWN: {"volumes": ["v1"]}}}

    listed = call("orphans", host_id=service.host_id)
    refused = call("sweep", host_id=service.host_id, service_ids=[service.id])
    swept = call("sweep", host_id=service.host_id, service_ids=[UNKNOWN])

    assert listed["answer"] == {"orphans": {UNKNOWN: {"volumes": ["v1"]}}}
    assert refused["error"]["type"] == "Conflict"
    assert swept["answer"] == {"removed": [UNKNOWN], "left": {}}
    assert [request["service"] for verb, request in host.asked if verb == "remove"] == [UNKNOWN]


def test_what_lives_by_another_entry_of_the_same_machine_is_no_orphan(panel: Panel, host: FakeHost) -> None:
    running_one, leaving = deployed(panel), deployed(panel, "leaving")
    start.remove(leaving, ADMIN)
    again = panel.a_host("again")
    host.answers["inventory"] = {"services": {id_: {"volumes": ["v1"]} for id_ in (running_one.id, leaving.id)}}

    listed = call("orphans", host_id=again.id)
    refused = [call("sweep", host_id=again.id, service_ids=[service.id]) for service in (running_one, leaving)]

    assert listed["answer"] == {"orphans": {}}
    assert [answer["error"]["type"] for answer in refused] == ["Conflict", "Conflict"]
    assert "remove" not in host.verbs()


def test_looking_at_a_host_costs_no_more_calls_for_more_services(panel: Panel, host: FakeHost) -> None:
    counted = Counted(panel.client("dynamodb"))
    panel.table = Table(counted, panel.table._name)  # before anything uses the panel's stores
    services = [deployed(panel)]

    def calls() -> list[str]:
        counted.verbs.clear()
        call("reconcile", host_id=services[0].host_id, service_ids=[service.id for service in services])
        return [verb for verb in counted.verbs if verb in READS]

    one = calls()
    services += [deployed(panel, name) for name in ("two", "three", "four")]

    assert calls() == one

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
    assert messages[0].startswith("The service is failed: app has no container on the host")
    assert messages[1] == "Health check failed: app has no container"


def test_one_container_of_several_that_was_removed_by_hand_fails_the_service(panel: Panel, host: FakeHost) -> None:
    host.containers = [running(), running("db")]
    service = deployed(panel)
    host.containers = [running()]

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "failed"
    seen = panel.services.observations([(service.host_id, service.id)])[service.id]
    assert (seen.health, seen.health_message) == ("unhealthy", "db has no container")


def test_a_start_that_leaves_a_container_missing_says_so(panel: Panel, host: FakeHost, monkeypatch: Any) -> None:
    monkeypatch.setattr("chalicelib.deploy.calls._SETTLE_SECONDS", 0.3)
    host.containers = [running(), running("db")]
    service = deployed(panel)
    host.containers = [running()]
    job = start.begin_lifecycle(service, "start", ADMIN)

    answer = call("lifecycle", job_id=job.id)["answer"]

    assert answer == {"status": "failed", "message": "The host shows it failed after the start: db has no container"}


def test_a_start_that_makes_a_lost_volume_anew_says_so(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.begin_lifecycle(service, "start", ADMIN)
    host.answers["lifecycle"] = {"containers": [running()], "storage_mb": None, "made_volumes": ["data"]}

    call("lifecycle", job_id=job.id)

    told = {(event.status, event.message) for event in panel.services.newest_events(service.id, 2)}
    assert told == {
        ("warning", "Volume data was no longer on the host: made anew, without what it held"),
        ("running", "Service started"),
    }


def test_a_look_while_a_job_has_the_service_misses_nothing(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    start.redeploy(service, ADMIN)
    host.containers = []

    call("measure", host_id=service.host_id, service_ids=[service.id])

    seen = panel.services.observations([(service.host_id, service.id)])[service.id]
    assert seen.health == "stopped"


def test_a_service_that_was_stopped_misses_no_container(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.containers = []
    job = start.begin_lifecycle(service, "stop", ADMIN)

    call("lifecycle", job_id=job.id)
    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    seen = panel.services.observations([(service.host_id, service.id)])[service.id]
    assert (panel.services.get(service.id).status, seen.health, seen.health_message) == ("stopped", "stopped", "")


def test_a_host_that_is_back_with_its_containers_makes_it_running_again(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.containers = [STOPPED]
    call("reconcile", host_id=service.host_id, service_ids=[service.id])
    host.containers = [running()]

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "running"


def test_a_crash_loop_neither_runs_again_nor_is_well_for_a_moment_up(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)

    def look(**container: Any) -> tuple[str, int]:
        host.containers = [running(**container)]
        call("reconcile", host_id=service.host_id, service_ids=[service.id])
        seen = panel.services.observations([(service.host_id, service.id)])[service.id]
        return panel.services.get(service.id).status, seen.consecutive_failures

    loop = [
        look(restart_count=1, up_s=0.5),
        look(state="restarting", restart_count=4, exit_code=1),
        look(restart_count=5, up_s=0.5),
        look(state="restarting", restart_count=5, exit_code=1),
    ]
    before = [event.message for event in panel.services.newest_events(service.id, 10)]
    steady = look(restart_count=5, up_s=11.0)
    after = [event.message for event in panel.services.newest_events(service.id, 2)]

    assert loop == [("running", 0), ("failed", 1), ("failed", 2), ("failed", 3)]
    assert [message for message in before if "again" in message or message.startswith("Health check failed")] == [
        "Health check failed: app exited with code 1"
    ]
    assert steady == ("running", 0)
    assert sorted(after) == ["Health check passed", "The service is running: its containers run again"]


def test_a_host_that_does_not_answer_changes_no_status(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.answers["observe"] = errors.HostUnreachable("no answer")

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    assert panel.services.get(service.id).status == "running"
    seen = panel.services.observations([(service.host_id, service.id)])[service.id]
    assert (seen.health, seen.consecutive_failures) == ("unknown", 1)
    messages = [event.message for event in panel.services.events(service.id, 1, 20)[0]]
    assert messages[0].startswith("Its health is not known: the host could not be asked")


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


def test_a_stop_that_begins_while_a_service_is_looked_at_is_no_failure_of_it(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)

    def stopped_meanwhile(request: dict[str, Any]) -> dict[str, Any]:
        start.begin_lifecycle(panel.services.get(service.id), "stop", ADMIN)
        host.containers = [STOPPED]
        return host._seen("observe", request)

    host.answers["observe"] = stopped_meanwhile

    call("reconcile", host_id=service.host_id, service_ids=[service.id])

    seen = panel.services.observations([(service.host_id, service.id)])[service.id]
    assert (panel.services.get(service.id).status, seen.health) == ("running", "healthy")
    assert [one.message for one in panel.services.newest_events(service.id, 9) if "failed" in one.message] == []


def test_orphans_are_listed_and_nothing_else_is_swept(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.answers["inventory"] = {
        "installation": None,
        "services": {service.id: {"containers": ["c1"]}, UNKNOWN: {"volumes": ["v1"]}},
    }

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
    host.answers["inventory"] = {
        "installation": None,
        "services": {id_: {"volumes": ["v1"]} for id_ in (running_one.id, leaving.id)},
    }

    listed = call("orphans", host_id=again.id)
    refused = [call("sweep", host_id=again.id, service_ids=[service.id]) for service in (running_one, leaving)]

    assert listed["answer"] == {"orphans": {}}
    assert [answer["error"]["type"] for answer in refused] == ["Conflict", "Conflict"]
    assert "remove" not in host.verbs()


def test_what_another_installation_has_on_its_host_is_no_orphan_here(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.answers["inventory"] = {"installation": "ins_another", "services": {UNKNOWN: {"volumes": ["v1"]}}}

    refused = [
        call("orphans", host_id=service.host_id),
        call("sweep", host_id=service.host_id, service_ids=[UNKNOWN]),
    ]

    assert [answer["error"]["type"] for answer in refused] == ["Conflict", "Conflict"]
    assert "ins_another" in refused[0]["error"]["message"]
    assert "remove" not in host.verbs()
    host.answers["inventory"]["installation"] = panel.installation.id()
    assert call("orphans", host_id=service.host_id)["answer"]["orphans"].keys() == {UNKNOWN}


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

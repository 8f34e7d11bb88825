"""The workflow's steps on a host that does what a test says: the good way, each bad way, and everything twice."""

import json
from typing import Any

import pytest

from chalicelib.deploy import drafting, functions, start, upkeep
from chalicelib.deploy.steps import STEPS
from chalicelib.domain import errors
from chalicelib.domain.errors import SlipwayError
from chalicelib.domain.job import Job
from chalicelib.domain.panel import Caller
from chalicelib.domain.service import Service
from chalicelib.domain.words import now
from chalicelib.live import kept
from chalicelib.store.records import attributes
from chalicelib.store.table import Table, put
from tests.deploy.fakes import Counted, FakeHost, resolved, running
from tests.emulator import Panel

ADMIN = Caller(token_id="tok_test", role="admin", customer_id=None)
COMPOSE = (
    "services:\n  app:\n    image: myapp:latest\n    environment:\n      PASSWORD: ${PASSWORD}\n    expose: ['80']\n"
)
GOOD_WAY = ("Admit", "Preflight", "Upload", "Up", "Health", "Route", "Record")


def created(panel: Panel, name: str = "blog", caller: Caller = ADMIN) -> tuple[Service, Job]:
    panel.a_host()
    wanted = drafting.NewService(
        name=name,
        customer_id=panel.a_customer().id,
        deploy_method="compose",
        compose=COMPOSE,
        variables={"PASSWORD": "canary-secret"},
    )
    service, job = start.create(drafting.draft(wanted, caller), caller)
    return service, job


def step(name: str, job: Job, **more: Any) -> str:
    event = {"step": name, "job_id": job.id, "previous_ended": now(), **more}
    outcome: str = functions.host_step(event, None)["outcome"]
    return outcome


def walk(job: Job, *names: str) -> None:
    for name in names:
        assert step(name, job) == "done"


def deployed(panel: Panel, name: str = "blog") -> Service:
    service, job = created(panel, name)
    walk(job, *GOOD_WAY)
    return panel.services.get(service.id)


def caught(error: SlipwayError) -> dict[str, str]:
    """The error as Step Functions hands it on."""
    return {"Error": type(error).__name__, "Cause": json.dumps({"errorMessage": error.message, "errorType": "x"})}


def test_a_deploy_that_goes_well_is_recorded(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)

    walk(job, *GOOD_WAY)

    ended, after = panel.jobs.get(job.id), panel.services.get(service.id)
    assert (ended.status, [step.status for step in ended.steps.values()]) == ("succeeded", ["succeeded"] * 7)
    assert (after.status, after.release, after.deployed_at is not None) == ("running", 1, True)
    release = panel.services.release(service.id, 1)
    assert (release.state, release.image_ids, release.digests) == ("good", {"app": "sha256:1"}, ("myapp@sha256:d1",))
    events, _ = panel.services.events(service.id, 1, 10)
    assert {(event.type, event.status) for event in events} == {
        ("deploy", "started"),
        ("deploy", "success"),
        ("health", "healthy"),
    }
    assert panel.services.observations([(service.host_id, service.id)])[service.id].memory_usage_mb == 11


def test_every_step_may_run_twice(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)

    for name in GOOD_WAY:
        walk(job, name, name)

    assert panel.jobs.get(job.id).status == "succeeded"
    assert len([event for event in panel.services.events(service.id, 1, 10)[0] if event.status == "success"]) == 1


def test_each_mutation_carries_a_higher_fence_than_the_one_before(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)

    walk(job, *GOOD_WAY)

    fences = [request["fence"] for _, request in host.asked if "fence" in request]
    assert fences == sorted(set(fences))
    assert len(fences) == 3


def test_jobs_beyond_those_a_host_takes_wait_their_turn_and_say_so(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    others = [f"job_{number}" for number in range(4)]
    for other in others:
        panel.slots.take(job.host_id, other, lambda _: False)
        panel.table.write(put((f"JOB#{other}", "META"), attributes(job.model_copy(update={"id": other}))))

    assert step("Admit", job) == "waiting"
    assert panel.jobs.get(job.id).steps["Admit"].message == "waiting for its turn on the host: 1 before it"
    panel.slots.give_back(job.host_id, others[0])
    walk(job, *GOOD_WAY)

    assert panel.table.get((f"SLOTS#{job.host_id}", "SLOTS")) is not None
    assert panel.slots.take(job.host_id, "job_next", lambda _: False) == 0


def test_a_job_says_what_it_waits_for_as_soon_as_it_waits(
    panel: Panel, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, job = created(panel)
    others = [f"job_{number}" for number in range(4)]
    for other in others:
        panel.slots.take(job.host_id, other, lambda _: False)
    said: list[str] = []

    def looked_at(_: float) -> None:
        said.append(panel.jobs.get(job.id).steps["Admit"].message)
        panel.slots.give_back(job.host_id, others[0])

    monkeypatch.setattr("chalicelib.deploy.steps.time.sleep", looked_at)

    assert step("Admit", job) == "done"
    assert said == ["waiting for its turn on the host: 1 before it"]


def test_a_deploy_that_makes_a_lost_volume_anew_says_so_once(panel: Panel, host: FakeHost) -> None:
    panel.a_host()
    wanted = drafting.NewService(
        name="blog",
        customer_id=panel.a_customer().id,
        deploy_method="compose",
        compose="services: {app: {image: app, volumes: ['data:/data', 'more:/more']}}\nvolumes: {data: , more: }\n",
        variables={},
    )
    service, job = start.create(drafting.draft(wanted, ADMIN), ADMIN)
    answer = {"missing_images": [], "built_here": [], "missing_volumes": ["data", "more"]}
    host.answers["upload"] = lambda request: {"resolved": resolved(request), **answer}
    walk(job, *GOOD_WAY)
    first = panel.services.newest_events(service.id, 20)
    again = start.redeploy(panel.services.get(service.id), ADMIN)
    answer["missing_volumes"] = ["data"]

    assert step("Upload", again) == step("Upload", again) == "images_missing"

    told = [(event.status, event.message) for event in panel.services.newest_events(service.id, 20)]
    assert "warning" not in {event.status for event in first}
    assert [message for status, message in told if status == "warning"] == [
        "Volume data was no longer on the host: made anew, without what it held"
    ]


def test_missing_images_are_pulled_as_a_detached_job(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    host.answers["upload"] = lambda request: {
        "resolved": resolved(request),
        "missing_images": ["myapp:latest"],
        "built_here": [],
    }
    walk(job, "Preflight")

    assert step("Upload", job) == "images_missing"
    walk(job, "Pull")

    verb, request = host.asked[-1]
    assert (verb, request["kind"], request["pull"]) == ("start", "pull", ["myapp:latest"])


def test_a_redeploy_does_not_pull_what_was_built_on_the_host(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    host.answers["upload"] = lambda request: {
        "resolved": resolved(request),
        "missing_images": [],
        "built_here": ["myapp:latest"],
    }

    walk(job, "Preflight", "Upload")


def test_a_redeploy_leaves_containers_that_did_not_change(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)

    start.redeploy(service, ADMIN)

    assert drafting.source_of(service.id, 2).document == drafting.source_of(service.id, 1).document


def test_an_image_that_cannot_be_pulled_fails_before_anything_is_touched(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    walk(job, "Preflight")
    assert step("Upload", job) == "images_missing"
    host.answers["start"] = {"state": "done", "rc": 1, "output": "pulling\nmanifest unknown"}

    with pytest.raises(errors.ImageUnavailable, match="manifest unknown") as error:
        step("Pull", job)
    walk_failure(job, error.value)

    after = panel.services.get(service.id)
    assert (after.status, after.release) == ("running", 1)
    assert panel.jobs.get(job.id).error is not None
    assert panel.services.release(service.id, 2).state == "failed"


def walk_failure(job: Job, error: SlipwayError, *, up_began: bool = False) -> None:
    if up_began:
        assert step("RollBack", job) == "done"
    assert step("RecordFailure", job, error=caught(error)) == "done"


def test_a_release_that_crashes_brings_back_the_last_good_one(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    walk(job, "Preflight")
    step("Upload", job)
    walk(job, "Up")
    host.containers = [running(state="exited", exit_code=1, restart_policy="no")]

    with pytest.raises(errors.Unhealthy, match="exited with code 1") as error:
        step("Health", job)
    host.containers = [running()]
    walk_failure(job, error.value, up_began=True)

    ended, after = panel.jobs.get(job.id), panel.services.get(service.id)
    assert (ended.status, after.status, after.release) == ("failed", "running", 1)
    assert "release 1 was brought back" in ended.message
    assert ended.error is not None
    assert ended.error["details"] == {"logs": ["app: last words"]}
    brought = [request for verb, request in host.asked if verb == "start"][-1]
    assert (brought["release"], brought["images"]) == (1, {"app": "sha256:1"})
    assert ended.message in panel.services.events(service.id, 1, 1)[0][0].message


def test_a_first_deploy_that_fails_is_stopped_and_failed(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    walk(job, "Preflight", "Upload", "Up")
    host.containers = [running(restart_count=5, state="restarting", exit_code=2)]

    with pytest.raises(errors.Unhealthy, match="keeps crashing") as error:
        step("Health", job)
    walk_failure(job, error.value, up_began=True)

    assert panel.services.get(service.id).status == "failed"
    assert ("lifecycle", "stop") in [(verb, request.get("action")) for verb, request in host.asked]


def test_a_roll_back_that_fails_too_says_both(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.redeploy(service, ADMIN)
    walk(job, "Preflight")
    step("Upload", job)
    host.answers["start"] = {"state": "done", "rc": 1, "output": "no space left on device"}
    with pytest.raises(errors.CommandFailed) as first:
        step("Up", job)

    with pytest.raises(errors.CommandFailed) as second:
        step("RollBack", job)
    step("RecordRollBackFailure", job, error=caught(first.value), roll_back_error=caught(second.value))

    assert panel.services.get(service.id).status == "failed"
    assert "bringing back release 1 failed too: no space left" in panel.jobs.get(job.id).message


def test_a_host_that_lacks_something_is_told_before_anything_is_touched(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    host.answers["preflight"] = {"problems": [{"check": "port", "message": "port 80 is taken by container x"}]}

    with pytest.raises(errors.PreflightFailed, match="port 80 is taken") as error:
        step("Preflight", job)
    walk_failure(job, error.value)

    assert host.verbs() == ["preflight"]
    assert panel.services.get(service.id).status == "failed"
    assert panel.jobs.get(job.id).error == {
        "code": "preflight_failed",
        "message": "port 80 is taken by container x",
        "details": [{"check": "port", "message": "port 80 is taken by container x"}],
        "step": "Preflight",
    }


def test_what_compose_resolves_on_the_host_is_judged_again(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)

    def tampered(request: dict[str, Any]) -> dict[str, Any]:
        document = resolved(request)
        document["services"]["app"]["privileged"] = True
        return {"resolved": document, "missing_images": [], "built_here": []}

    host.answers["upload"] = tampered
    walk(job, "Preflight")

    with pytest.raises(errors.PolicyRefused):
        step("Upload", job)


def test_secrets_leave_no_trace_in_errors(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Preflight", "Upload")
    host.answers["start"] = {
        "state": "done",
        "rc": 1,
        "output": "bad password canary-secret\nlogin canary-secret refused",
    }

    with pytest.raises(errors.CommandFailed) as error:
        step("Up", job)

    kept = panel.jobs.get(job.id).model_dump_json()
    assert "canary" not in kept + error.value.message + json.dumps(error.value.details)
    assert "[redacted]" in error.value.message


def test_a_fault_of_ours_is_a_failed_step_and_keeps_its_words_to_the_log(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    host.answers["preflight"] = {"surprise": "canary-secret"}

    with pytest.raises(SlipwayError, match="KeyError in Preflight") as error:
        step("Preflight", job)
    walk_failure(job, error.value)

    assert panel.jobs.get(job.id).steps["Preflight"].status == "failed"


def test_a_cancelled_job_kills_what_runs_on_the_host_and_says_so(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    walk(job, "Preflight", "Upload")
    host.answers["start"] = {"state": "running", "rc": None, "output": ""}
    panel.jobs.request_cancel(job.id)

    with pytest.raises(errors.Cancelled) as error:
        step("Up", job)
    walk_failure(job, error.value, up_began=True)

    assert panel.jobs.get(job.id).status == "cancelled"
    assert panel.services.get(service.id).status == "failed"


def test_a_cancel_during_a_poll_stops_the_detached_job(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Preflight", "Upload")

    def begin(request: dict[str, Any]) -> dict[str, Any]:
        panel.jobs.request_cancel(job.id)
        return {"state": "running", "rc": None, "output": ""}

    host.answers["start"] = begin

    with pytest.raises(errors.Cancelled):
        step("Up", job)

    assert host.asked[-1] == ("cancel", {"job": f"{job.id}.up.1", "tail_lines": 50})


def test_a_job_past_its_deadline_stops(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    panel.jobs.change(job, deadline="2020-01-01T00:00:00.000Z")

    with pytest.raises(errors.DeadlinePassed):
        step("Preflight", job)


def test_a_detached_job_that_was_lost_is_started_again_under_a_new_name(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Preflight", "Upload")
    host.answers["start"] = lambda request: (
        {"state": "lost", "rc": None, "output": ""}
        if request["job"].endswith(".1")
        else {"state": "done", "rc": 0, "output": ""}
    )

    walk(job, "Up")

    assert [request["job"] for verb, request in host.asked if verb == "start"] == [f"{job.id}.up.1", f"{job.id}.up.2"]


def test_a_port_that_nobody_listens_on_keeps_the_release_waiting_and_says_why(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Preflight", "Upload", "Up")
    host.listening = False

    assert step("Health", job) == "waiting"
    assert panel.jobs.get(job.id).steps["Health"].message == "waiting: nothing listens on port 80 of app"


def test_an_edge_that_gets_no_answer_is_not_a_success(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Preflight", "Upload", "Up", "Health")
    host.answers["route"] = {"changed": True, "answers": None}

    with pytest.raises(errors.Unhealthy, match="through the edge"):
        step("Route", job)


def test_a_removal_is_over_when_the_host_is_clean(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.remove(service, ADMIN)

    walk(job, "Remove", "RecordRemoval")

    assert panel.services.find(service.id) is None
    assert panel.jobs.get(job.id).status == "succeeded"


def test_a_removal_is_begun_again_until_the_host_is_clean(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    first = start.remove(service, ADMIN)
    step("RecordRemovalFailure", first, error=caught(errors.HostRefused("no")))
    assert panel.jobs.get(first.id).status == "failed"

    upkeep.go_on_removing()
    upkeep.go_on_removing()

    second = panel.workflow.started[-1]
    assert (second.kind, second.id != first.id) == ("delete", True)
    assert [removal["job_id"] for removal in panel.services.removals()] == [second.id]
    walk(second, "Remove", "RecordRemoval")
    assert panel.services.removals() == []


def test_what_a_lost_host_holds_is_given_up_with_it(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    job = start.remove(service, ADMIN)

    upkeep.forget_removals(service.host_id)

    assert panel.jobs.get(job.id).status == "failed"
    assert panel.services.find(service.id) is None
    assert panel.services.removals() == []
    assert panel.promises.of([service.host_id])[service.host_id]["services"] == 0


def test_a_port_that_speaks_no_http_gets_no_url_and_the_timeline_says_so(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    walk(job, "Admit", "Preflight", "Upload", "Up", "Health")
    host.answers["route"] = {"changed": True, "answers": 502}

    walk(job, "Route", "Record")

    after = panel.services.get(service.id)
    assert (after.status, after.has_url) == ("running", False)
    assert host.verbs()[-2:] == ["unroute", "observe"]
    messages = [event.message for event in panel.services.events(service.id, 1, 10)[0]]
    assert "Port 80 of app speaks no HTTP, so it has no URL" in messages


def test_a_resumed_job_runs_its_commands_anew(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Admit", "Preflight", "Upload")
    upkeep.resume_unfinished()

    walk(job, "Up")

    assert [request["job"] for verb, request in host.asked if verb == "start"] == [f"{job.id}.up.r1-1"]


def test_a_removal_that_leaves_something_is_not_over(panel: Panel, host: FakeHost) -> None:
    job = start.remove(deployed(panel), ADMIN)
    host.answers["remove"] = {
        "left": {"containers": [], "volumes": ["data"], "networks": [], "files": [], "route": False}
    }

    with pytest.raises(errors.CommandFailed, match="data"):
        step("Remove", job)

    assert panel.jobs.get(job.id).status == "running"


def test_the_reaper_ends_what_passed_its_deadline_and_frees_the_service(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    panel.jobs.change(job, deadline="2020-01-01T00:00:00.000Z")

    upkeep.reap()

    assert panel.jobs.get(job.id).status == "failed"
    assert panel.services.get(service.id).status == "failed"
    start.redeploy(panel.services.get(service.id), ADMIN)


def test_the_reaper_starts_again_what_the_workflow_never_began(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    panel.workflow.started.clear()
    panel.jobs.change(job, created_at="2020-01-01T00:00:00.000Z")

    upkeep.reap()

    assert [started.id for started in panel.workflow.started] == [job.id]


def test_a_late_step_of_a_job_the_reaper_ended_does_nothing(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    panel.jobs.change(job, deadline="2020-01-01T00:00:00.000Z")
    upkeep.reap()

    assert step("Preflight", job) == "done"
    assert host.verbs() == []


def test_unfinished_jobs_go_on_after_a_restart(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    panel.workflow.started.clear()

    assert upkeep.resume_unfinished() == 1
    assert [started.id for started in panel.workflow.started] == [job.id]


def lifecycle(panel: Panel, service: Service, kind: Any) -> tuple[Job, dict[str, Any]]:
    job = start.begin_lifecycle(service, kind, ADMIN)
    return job, functions.host_call({"call": "lifecycle", "arguments": {"job_id": job.id}}, None)


def test_a_stop_is_what_the_host_shows(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.containers = [running(state="exited", exit_code=143)]

    job, reply = lifecycle(panel, service, "stop")

    assert reply == {"answer": {"status": "stopped", "message": "Service stopped"}}
    assert panel.services.get(service.id).status == "stopped"
    assert panel.jobs.get(job.id).status == "succeeded"


def test_a_start_that_did_not_start_it_says_so(panel: Panel, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    service = deployed(panel)
    monkeypatch.setattr("chalicelib.deploy.calls._SETTLE_SECONDS", 0.1)
    host.containers = [running(state="restarting", exit_code=1)]

    _, reply = lifecycle(panel, service, "start")

    assert reply["answer"]["status"] == "failed"
    assert panel.services.get(service.id).status == "failed"


def test_a_stop_that_fails_is_raised_and_frees_the_service(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    host.answers["lifecycle"] = errors.HostUnreachable("one does not answer")

    job, reply = lifecycle(panel, service, "stop")

    assert reply["error"]["type"] == "HostUnreachable"
    assert panel.jobs.get(job.id).status == "failed"
    assert panel.services.get(service.id).status == "running"
    panel.services.refuse_if_busy(service.id)


def test_a_step_for_every_name(panel: Panel) -> None:
    assert set(GOOD_WAY) < set(STEPS)


def test_a_step_reads_nothing_that_the_one_before_it_had_in_hand(panel: Panel, host: FakeHost) -> None:
    counted = Counted(panel.client("dynamodb"))
    panel.table = Table(counted, panel.table._name)  # before anything uses the panel's stores
    _, job = created(panel)
    walk(job, "Admit", "Preflight")
    counted.verbs.clear()

    walk(job, "Upload")

    # Begun, and looked whether another customer's login brought the image; what it was made of is not in hand yet.
    assert sorted(verb for verb in counted.verbs if verb != "exceptions") == [
        "batch_get_item",
        "get_item",
        "put_item",
    ]


def test_a_cancel_between_two_steps_is_noticed_though_the_job_was_in_hand(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Admit", "Preflight")
    panel.jobs.request_cancel(job.id)

    with pytest.raises(errors.Cancelled):
        step("Upload", job)
    assert "upload" not in host.verbs()


def test_a_job_that_ended_elsewhere_between_two_steps_is_left_alone(panel: Panel, host: FakeHost) -> None:
    service, job = created(panel)
    walk(job, "Admit", "Preflight")
    upkeep.end_for(panel.jobs.get(job.id), "deadline_passed", "ended by the reaper")

    walk(job, "Upload", "Up")

    assert host.verbs() == ["preflight"]
    assert panel.services.get(service.id).status == "failed"


def test_a_step_that_another_process_began_meanwhile_keeps_its_higher_fence(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Admit", "Preflight")
    elsewhere = panel.jobs.get(job.id)
    begun = panel.jobs.begin_step(elsewhere, "Upload", None, up_began=False, keep_error=False, after_failure=False)

    walk(job, "Upload")

    assert [request["fence"] for verb, request in host.asked if verb == "upload"] == [begun.fence + 1]


def test_the_request_that_asked_for_a_job_is_named_in_the_log_of_each_step(
    panel: Panel, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="slipway")
    _, job = created(panel, caller=ADMIN.model_copy(update={"request_id": "req_1"}))

    step("Admit", job)
    host.answers["preflight"] = errors.CommandFailed("no")
    with pytest.raises(errors.CommandFailed):
        step("Preflight", job)

    lines = [record.getMessage() for record in caplog.records if job.id in record.getMessage()]
    assert json.loads(lines[0]) == {"request_id": "req_1", "job_id": job.id, "step": "Admit", "outcome": "done"}
    assert "req_1" in lines[1]


def test_what_a_job_printed_is_kept_without_secrets(panel: Panel, host: FakeHost) -> None:
    _, job = created(panel)
    walk(job, "Preflight", "Upload")
    host.answers["start"] = {"state": "done", "rc": 0, "output": "Container app Started\nwith canary-secret\n"}

    walk(job, "Up")
    walk(job, "Up")

    entries, truncated = kept.output_entries(job.id)
    assert [entry["message"] for entry in entries] == ["Container app Started", "with [redacted]"]
    assert not truncated

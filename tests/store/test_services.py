"""Services, jobs and leases in the table: all or nothing, one job at a time, and late ones refused."""

import threading
from typing import Any

import pytest

from chalicelib.domain.errors import Conflict, LeaseLost, NotFound
from chalicelib.domain.job import FENCE_STRIDE, Job
from chalicelib.domain.panel import CustomerLimits
from chalicelib.domain.placement import Amount
from chalicelib.domain.service import Event, Observation, Release, Service
from chalicelib.domain.words import new_id, now
from chalicelib.store.services import Room
from tests.emulator import Panel

ROOM = Room(Amount(cpu_millis=8000, memory_mb=100_000, disk_mb=1_000_000), CustomerLimits())
SOON, PAST = "2999-01-01T00:00:00.000Z", "2000-01-01T00:00:00.000Z"


def a_service(panel: Panel, name: str = "blog", **fields: Any) -> Service:
    return Service(
        **{
            "id": new_id("svc"),
            "name": name,
            "status": "deploying",
            "customer_id": panel.a_customer().id,
            "host_id": panel.a_host().id,
            "deploy_method": "compose",
            "compose": "services: {}\n" * 10,
            "sealed_variables": b"sealed",
            "last_release": 1,
            "created_at": now(),
            "updated_at": now(),
            **fields,
        }
    )


def a_job(service: Service, kind: Any = "deploy", deadline: str = SOON, **fields: Any) -> Job:
    return Job(
        **{
            "id": new_id("job"),
            "service_id": service.id,
            "service_name": service.name,
            "customer_id": service.customer_id,
            "host_id": service.host_id,
            "kind": kind,
            "release": 1,
            "fence": 1000,
            "created_at": now(),
            "deadline": deadline,
            **fields,
        }
    )


def a_release(service: Service, job: Job, number: int = 1) -> Release:
    return Release(
        service_id=service.id,
        number=number,
        name=service.name,
        state="pending",
        job_id=job.id,
        images=("bb:1",),
        cpu_millis=1000,
        memory_mb=512,
        created_at=now(),
    )


def an_event(message: str = "Deploying", at: str | None = None) -> Event:
    return Event(id=new_id("evt"), type="deploy", status="started", message=message, timestamp=at or now())


def added(panel: Panel, name: str = "blog", **fields: Any) -> tuple[Service, Job]:
    service = a_service(panel, name, **fields)
    job = a_job(service)
    panel.services.add(service, a_release(service, job), b"document", job, an_event(), ROOM)
    return service, job


def over(job: Job, status: str = "succeeded") -> Job:
    return job.model_copy(update={"status": status, "ended_at": now(), "version": job.version + 1})


def test_a_service_comes_back_as_it_was_stored(panel: Panel) -> None:
    service, job = added(panel)

    assert panel.services.get(service.id) == service
    assert panel.services.source(service.id, 1) == b"document"
    assert panel.services.with_release(service.id, 1)[1].images == ("bb:1",)
    assert [row["name"] for row in panel.services.rows()] == ["blog"]
    assert [open_job.id for open_job in panel.jobs.unfinished()] == [job.id]


def test_of_many_who_take_a_name_at_once_one_gets_it_and_the_others_leave_nothing(panel: Panel) -> None:
    outcomes: list[str] = []
    contenders = [a_service(panel) for _ in range(8)]

    def add(service: Service) -> None:
        job = a_job(service)
        try:
            panel.services.add(service, a_release(service, job), b"", job, an_event(), ROOM)
            outcomes.append("added")
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=add, args=(service,)) for service in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["added"] + ["refused"] * 7
    assert len(panel.services.rows()) == 1
    assert sum(panel.services.find(service.id) is not None for service in contenders) == 1


def test_a_customer_suspended_meanwhile_gets_no_service(panel: Panel) -> None:
    service = a_service(panel)
    panel.customers.change(panel.customers.get(service.customer_id), status="suspended")
    job = a_job(service)

    with pytest.raises(Conflict, match="no longer active"):
        panel.services.add(service, a_release(service, job), b"", job, an_event(), ROOM)

    assert panel.services.rows() == []


def test_a_busy_service_refuses_a_second_job_and_names_the_first(panel: Panel) -> None:
    service, job = added(panel)

    with pytest.raises(Conflict, match=job.id) as caught:
        panel.services.begin(service, a_job(service, "stop", fence=2000))

    assert caught.value.details == {"job_id": job.id}


def test_once_a_job_is_over_the_next_may_begin_with_a_higher_fence(panel: Panel) -> None:
    service, job = added(panel)
    panel.services.finish(service, over(job), (), status="running", release=1)

    fence = panel.services.next_fence(service.id, 0)
    panel.services.begin(panel.services.get(service.id), a_job(service, "stop", fence=fence))

    assert fence == job.fence + FENCE_STRIDE
    assert panel.services.get(service.id).status == "running"


def test_a_job_past_its_deadline_loses_its_lease_to_the_next(panel: Panel) -> None:
    service = a_service(panel)
    late = a_job(service, deadline=PAST)
    panel.services.add(service, a_release(service, late), b"", late, an_event(), ROOM)

    panel.services.begin(service, a_job(service, "redeploy", fence=2000))

    with pytest.raises(LeaseLost):
        panel.services.finish(panel.services.get(service.id), over(late), (), status="running")
    assert panel.services.get(service.id).status == "deploying"


def test_a_job_ends_once(panel: Panel) -> None:
    service, job = added(panel)
    panel.services.finish(service, over(job), (an_event("done"),), status="running")

    with pytest.raises(LeaseLost):
        panel.services.finish(panel.services.get(service.id), over(job, "failed"), (), status="failed")

    assert panel.jobs.get(job.id).status == "succeeded"
    assert panel.services.get(service.id).status == "running"
    assert list(panel.jobs.unfinished()) == []


def test_a_late_step_of_a_job_that_is_over_is_refused(panel: Panel) -> None:
    service, job = added(panel)
    panel.services.finish(service, over(job), (), status="running")

    with pytest.raises(LeaseLost):
        panel.jobs.begin_step(job, "Up", None, up_began=True, keep_error=False, after_failure=False)


def test_each_attempt_of_a_step_has_a_higher_fence_and_closes_the_step_before(panel: Panel) -> None:
    _, job = added(panel)

    first = panel.jobs.begin_step(job, "Preflight", None, up_began=False, keep_error=False, after_failure=False)
    second = panel.jobs.begin_step(
        first, "Upload", "2026-03-29T10:00:00.000Z", up_began=False, keep_error=False, after_failure=False
    )
    again = panel.jobs.begin_step(second, "Upload", None, up_began=False, keep_error=False, after_failure=False)

    assert [job.fence, first.fence, second.fence, again.fence] == [1000, 1001, 1002, 1003]
    assert again.steps["Preflight"].ended_at == "2026-03-29T10:00:00.000Z"
    assert again.steps["Upload"] == second.steps["Upload"]
    assert panel.jobs.get(job.id) == again


def test_asking_to_cancel_twice_changes_nothing_more(panel: Panel) -> None:
    service, job = added(panel)

    assert panel.jobs.request_cancel(job.id).cancel_requested
    assert panel.jobs.request_cancel(job.id).cancel_requested

    panel.services.finish(service, over(job, "cancelled"), (), status="failed")
    assert panel.jobs.request_cancel(job.id).status == "cancelled"


def test_a_deleted_service_is_gone_at_once_its_name_is_free_and_its_job_stays(panel: Panel) -> None:
    service, job = added(panel)
    panel.services.finish(service, over(job), (), status="running")
    removal = a_job(service, "delete", fence=900_000)

    gone = panel.services.begin(panel.services.get(service.id), removal, deleted_at=now())

    with pytest.raises(NotFound):
        panel.services.get(service.id)
    assert panel.services.rows() == []
    assert panel.services.id_of_name("blog") is None
    panel.services.purge(gone, over(removal))
    assert panel.services.find(service.id) is None
    assert list(panel.table.query(f"SVC#{service.id}")) == []
    assert panel.jobs.get(removal.id).status == "succeeded"


def test_the_timeline_is_paged_newest_first(panel: Panel) -> None:
    service, _ = added(panel)
    for minute in range(5):
        panel.services.note(service.id, an_event(f"event {minute}", f"2999-01-01T00:0{minute}:00.000Z"))

    events, total = panel.services.events(service.id, 2, 2)

    assert [event.message for event in events] == ["event 2", "event 1"]
    assert total == 6


def test_observations_are_kept_apart_from_the_service(panel: Panel) -> None:
    service, _ = added(panel)
    seen = Observation(measured_at=now(), cpu_usage_millis=150, health="healthy")

    panel.services.observe(service.host_id, {service.id: seen})

    assert panel.services.observations([(service.host_id, service.id), ("host_x", "svc_x")]) == {service.id: seen}
    assert panel.services.get(service.id).version == 1

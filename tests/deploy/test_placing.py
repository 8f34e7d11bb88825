"""Room on hosts and customers' limits: never promised twice, given back, and said when they are missing."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.deploy import drafting, placing, start
from chalicelib.deploy.placing import Place, Wish
from chalicelib.domain.errors import Conflict, NoRoom, ValidationFailed
from chalicelib.domain.panel import CustomerLimits, Host
from chalicelib.domain.service import Limits
from chalicelib.store.services import Room
from tests.deploy.fakes import FakeHost, running
from tests.deploy.test_steps import ADMIN, GOOD_WAY, deployed, walk
from tests.emulator import Panel

SMALL = {"cpus": 2, "memory_mb": 3000, "disk_total_mb": 100_000}  # 2700 MB may be promised: five times 512


def wanted(panel: Panel, name: str, customer_id: str, wish: Wish | None = None) -> drafting.NewService:
    return drafting.NewService(
        name=name,
        customer_id=customer_id,
        deploy_method="compose",
        compose="services: {app: {image: 'x:1'}}",
        variables={},
        wish=wish or Wish(),
    )


def small_hosts(panel: Panel, count: int) -> list[str]:
    ids = [panel.a_host(f"h{number}").id for number in range(count)]
    for host_id in ids:
        panel.hosts.change(panel.hosts.get(host_id), facts=SMALL)
    return ids


def test_many_creates_at_once_never_promise_more_than_there_is(panel: Panel) -> None:
    hosts, customer = small_hosts(panel, 4), panel.a_customer().id
    outcomes: list[str] = []

    def create(number: int) -> None:
        try:
            start.create(drafting.draft(wanted(panel, f"s{number}", customer), ADMIN), ADMIN)
            outcomes.append("placed")
        except Conflict as error:
            outcomes.append("full" if "no host can take" in error.message else error.message)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (outcomes.count("placed"), outcomes.count("full")) == (20, 12)
    promised = panel.promises.of(hosts)
    assert {host["memory_mb"] for host in promised.values()} == {5 * 512}
    assert sum(row["host_id"] in hosts for row in panel.services.rows()) == 20


def test_the_job_says_why_a_host_was_chosen(panel: Panel, host: FakeHost) -> None:
    small_hosts(panel, 2)

    _, job = start.create(drafting.draft(wanted(panel, "blog", panel.a_customer().id), ADMIN), ADMIN)

    assert "the least of 2 that it fits on" in panel.jobs.get(job.id).placement


def test_a_label_that_no_host_has_is_told_for_each(panel: Panel) -> None:
    small_hosts(panel, 2)

    with pytest.raises(Conflict) as caught:
        drafting.draft(wanted(panel, "blog", panel.a_customer().id, Wish(labels={"region": "eu"})), ADMIN)

    assert {host["reason"] for host in caught.value.details["hosts"]} == {"lacks the label region=eu"}


def test_room_is_given_back_when_a_service_is_gone(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    assert panel.promises.of([service.host_id])[service.host_id]["memory_mb"] == 512

    walk(start.remove(service, ADMIN), "Remove", "RecordRemoval")

    empty = {"cpu_millis": 0, "memory_mb": 0, "disk_mb": 0, "services": 0}
    assert panel.promises.of([service.host_id, service.customer_id]) == {
        service.host_id: empty,
        service.customer_id: empty,
    }


def test_a_change_has_room_for_both_until_it_is_known_which_runs(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)

    def promised() -> int:
        return panel.promises.of([service.host_id])[service.host_id]["memory_mb"]

    job = start.update(drafting.draft_change(service, drafting.Change(limits=Limits(memory_mb=2048))), ADMIN)
    assert promised() == 2048
    walk(job, *GOOD_WAY)
    assert promised() == 2048
    smaller = drafting.draft_change(panel.services.get(service.id), drafting.Change(limits=Limits(memory_mb=128)))
    job = start.update(smaller, ADMIN)
    assert promised() == 2048
    walk(job, *GOOD_WAY)
    assert promised() == 128


def test_a_limit_below_what_is_used_is_refused(panel: Panel, host: FakeHost) -> None:
    host.containers = [running(memory_usage_mb=300.0)]
    service = deployed(panel)

    with pytest.raises(ValidationFailed, match="uses 300 MB"):
        drafting.draft_change(service, drafting.Change(limits=Limits(memory_mb=128)))


def test_a_change_that_the_services_machine_could_not_run_is_refused(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    panel.hosts.change(panel.hosts.get(service.host_id), facts=SMALL)
    text = "services: {app: {image: 'x:1'}, db: {image: 'y:1', cpus: 2.5}}"

    for change in (drafting.Change(limits=Limits(cpu_millis=2001)), drafting.Change(compose=text)):
        with pytest.raises(NoRoom, match="has 2 cores, and one container is to have 2") as caught:
            drafting.draft_change(service, change)
        assert [one["host_id"] for one in caught.value.details["hosts"]] == [service.host_id]
    assert drafting.draft_change(service, drafting.Change(limits=Limits(cpu_millis=2000))).need.cpu_millis == 2000


def test_replicas_are_weighed_one_by_one_against_the_machine(panel: Panel) -> None:
    small_hosts(panel, 1)
    text = "services: {{app: {{image: 'x:1', deploy: {{replicas: 3, resources: {{limits: {{cpus: '{}'}}}}}}}}}}"
    service = wanted(panel, "many", panel.a_customer().id)

    assert drafting.draft(replace(service, compose=text.format(2)), ADMIN).need.cpu_millis == 6000
    with pytest.raises(Conflict, match=r"has 2 cores, and one container is to have 2\.1"):
        drafting.draft(replace(service, compose=text.format(2.1)), ADMIN)


def test_a_customers_limits_are_named_when_they_would_be_passed(panel: Panel, host: FakeHost) -> None:
    service = deployed(panel)
    customer = panel.customers.get(service.customer_id)
    panel.customers.change(customer, limits=CustomerLimits(services=1, memory_mb=600, cpu_millis=700))

    with pytest.raises(ValidationFailed) as create:
        drafting.draft(wanted(panel, "more", customer.id), ADMIN)
    with pytest.raises(ValidationFailed) as change:
        start.update(drafting.draft_change(service, drafting.Change(limits=Limits(memory_mb=700))), ADMIN)

    assert {problem["path"] for problem in create.value.details} == {
        "customer.limits.services",
        "customer.limits.memory_mb",
        "customer.limits.cpu",
    }
    told = [problem["message"] for problem in create.value.details]
    assert "the customer may have 0.7 cores, has 1 core, and this would add 1 core" in told
    assert "the customer may have 1 service, has 1 service, and this would add 1 service" in told
    assert [problem["path"] for problem in change.value.details] == ["customer.limits.memory_mb"]
    assert panel.services.get(service.id).status == "running"


@pytest.mark.parametrize("facts", [{}, SMALL | {"memory_mb": 256}])
def test_a_host_that_turned_out_to_have_nothing_to_promise_meanwhile_is_promised_nothing(
    panel: Panel, facts: dict[str, int]
) -> None:
    (host_id,) = small_hosts(panel, 1)
    drafted = drafting.draft(wanted(panel, "blog", panel.a_customer().id, Wish(host_id=host_id)), ADMIN)
    panel.hosts.change(panel.hosts.get(host_id), facts=facts)

    with pytest.raises(Conflict, match="no host can take this service"):
        start.create(drafted, ADMIN)

    assert panel.promises.of([host_id])[host_id]["services"] == 0
    assert panel.services.rows() == []


@pytest.fixture(params=["before its room is reckoned", "before it is promised"])
def host_that_goes(request: pytest.FixtureRequest, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that is removed while a service is being stored that was placed on it."""
    going = panel.a_host("going")
    find, room = placing.find_place, placing.room_for

    def removed() -> None:
        if going.id in {host.id for host in panel.hosts.all()}:
            panel.hosts.remove(going)

    def found(*given: Any) -> Place:
        place = find(*given)
        removed()
        return place

    def reckoned(*given: str) -> Room:
        reckoning = room(*given)
        removed()
        return reckoning

    if request.param == "before its room is reckoned":
        monkeypatch.setattr(drafting, "find_place", found)
    else:
        monkeypatch.setattr(start, "room_for", reckoned)
    return going


def test_a_host_that_is_removed_meanwhile_is_given_up_for_another(panel: Panel, host_that_goes: Host) -> None:
    customer = panel.a_customer().id
    drafted = drafting.draft(wanted(panel, "blog", customer), ADMIN)
    (staying,) = small_hosts(panel, 1)

    service, _ = start.create(drafted, ADMIN)

    assert service.host_id == staying


def test_a_host_that_was_asked_for_and_is_removed_meanwhile_is_named(panel: Panel, host_that_goes: Host) -> None:
    drafted = drafting.draft(wanted(panel, "blog", panel.a_customer().id, Wish(host_id=host_that_goes.id)), ADMIN)

    with pytest.raises(ValidationFailed, match="no such host"):
        start.create(drafted, ADMIN)

"""Which host takes a service, and what is said of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Conflict
from chalicelib.domain.panel import Host
from chalicelib.domain.placement import Amount, Candidate, Need, Overcommit, capacity_of, choose

NEED = Need(Amount(cpu_millis=1000, memory_mb=512, disk_mb=256), Amount(cpu_millis=1000, memory_mb=512))
ROOM = Amount(cpu_millis=8000, memory_mb=8000, disk_mb=50_000)


def candidate(name: str, memory_mb: int = 0, capacity: Amount | None = ROOM, **fields: object) -> Candidate:
    host = Host.model_validate(
        {
            "id": f"host_{name}",
            "name": name,
            "address": "192.0.2.1",
            "port": 22,
            "user": "deploy",
            "host_key": "k",
            "public_key": "k",
            "sealed_private_key": b"",
            "status": "ready",
            "created_at": "",
            "updated_at": "",
            **fields,
        }
    )
    return Candidate(host, Amount(memory_mb=memory_mb), capacity)


def refused(
    *candidates: Candidate, selector: dict[str, str] | None = None, host_id: str | None = None, need: Need = NEED
) -> list[str]:
    with pytest.raises(Conflict) as caught:
        choose(candidates, need, selector or {}, host_id)
    return [host["reason"] for host in caught.value.details["hosts"]]


def test_the_host_with_the_most_memory_left_is_chosen_and_the_reason_told() -> None:
    chosen, reason = choose([candidate("a", 4000), candidate("b", 1000), candidate("c", 2000)], NEED, {}, None)

    assert chosen.host.name == "b"
    assert reason == "b: 18% of its memory promised then, the least of 3 that it fits on"


def test_the_host_asked_for_is_taken_if_it_fits() -> None:
    chosen, reason = choose([candidate("a", 4000), candidate("b")], NEED, {}, "host_a")

    assert (chosen.host.name, reason) == ("a", "a, as asked for")
    assert refused(candidate("a", 7900), candidate("b"), host_id="host_a") == [
        "has not enough memory: 8412 MB would be promised of 8000 MB"
    ]


def test_each_host_says_why_it_does_not_fit() -> None:
    reasons = refused(
        candidate("new", status="new"),
        candidate("drained", draining=True, labels={"region": "eu"}),
        candidate("far", labels={"region": "us"}),
        candidate("full", 7900, labels={"region": "eu"}),
        selector={"region": "eu"},
    )

    assert reasons == [
        "is not ready: check it with POST /api/hosts/{id}/check",
        "is being drained",
        "lacks the label region=eu",
        "has not enough memory: 8412 MB would be promised of 8000 MB",
    ]


def test_one_container_is_never_promised_more_than_the_machine_has() -> None:
    small, large = {"cpus": 2, "memory_mb": 1000}, {"cpus": 4, "memory_mb": 4000}
    hosts = [candidate("small", facts=small), candidate("large", facts=large)]
    cpu = Amount(cpu_millis=4000, memory_mb=100)
    memory = Amount(cpu_millis=100, memory_mb=2000)

    assert choose(hosts, Need(cpu, cpu), {}, None)[0].host.name == "large"
    assert choose(hosts, Need(memory, memory), {}, None)[0].host.name == "large"
    assert refused(*hosts, need=Need(cpu, cpu), host_id="host_small") == [
        "has 2 cores, and one container is to have 4",
    ]
    assert refused(hosts[0], need=Need(memory, memory)) == [
        "has 1000 MB of memory, and one container is to have 2000 MB"
    ]


def test_several_containers_may_be_promised_more_cores_than_there_are() -> None:
    host = candidate("a", facts={"cpus": 2, "memory_mb": 8000})

    chosen, _ = choose([host], Need(Amount(cpu_millis=8000), Amount(cpu_millis=2000)), {}, None)

    assert chosen.host.name == "a"


@pytest.mark.parametrize("host_id", [None, "host_far"])
@pytest.mark.parametrize("status", ["new", "not_ready", "ready"])
def test_a_host_that_was_never_found_in_order_takes_nothing_though_it_is_asked_for(
    host_id: str | None, status: str
) -> None:
    far = candidate("far", capacity=None, status=status)

    assert refused(far, host_id=host_id) == ["was never found in order: check it with POST /api/hosts/{id}/check"]


def test_a_host_that_is_not_ready_is_tried_if_it_is_asked_for() -> None:
    assert choose([candidate("a", status="not_ready")], NEED, {}, "host_a")[0].host.name == "a"


def test_without_hosts_it_is_said_how_to_add_one() -> None:
    with pytest.raises(Conflict, match="POST /api/hosts"):
        choose([], NEED, {}, None)


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=8), st.integers(1, 9000))
def test_what_is_chosen_always_has_room(reserved: list[int], memory_mb: int) -> None:
    candidates = [candidate(f"h{number}", amount) for number, amount in enumerate(reserved)]

    try:
        chosen, _ = choose(candidates, Need(Amount(memory_mb=memory_mb), Amount(memory_mb=memory_mb)), {}, None)
    except Conflict:
        assert all(amount + memory_mb > ROOM.memory_mb for amount in reserved)
    else:
        assert chosen.reserved.memory_mb + memory_mb <= ROOM.memory_mb
        assert chosen.reserved.memory_mb == min(reserved)


def test_capacity_is_what_the_check_found_less_what_the_host_keeps() -> None:
    host = candidate("a", facts={"cpus": 2, "memory_mb": 1000, "disk_total_mb": 5000}).host

    assert capacity_of(host, Overcommit(400, 90)) == Amount(cpu_millis=8000, memory_mb=900, disk_mb=5000)
    assert capacity_of(candidate("b").host, Overcommit(400, 90)) is None

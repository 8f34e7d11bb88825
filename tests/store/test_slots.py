"""Turns on a host: never more than allowed at a time, in order, and none is lost with a job that was killed."""

import threading

from chalicelib.store.slots import Slots
from tests.emulator import Panel


def alive(_: str) -> bool:
    return False


def test_jobs_beyond_those_allowed_wait_in_the_order_they_came(panel: Panel) -> None:
    slots = Slots(panel.table, 2)

    assert [slots.take("host_a", job, alive) for job in ("j1", "j2", "j3", "j4")] == [0, 0, 1, 2]
    assert slots.take("host_a", "j4", alive) == 2
    slots.give_back("host_a", "j1")
    assert [slots.take("host_a", job, alive) for job in ("j4", "j3")] == [1, 0]


def test_who_comes_gets_a_free_turn_or_the_last_place(panel: Panel) -> None:
    slots = Slots(panel.table, 2)

    assert [slots.line_up("host_a", job) for job in ("j1", "j2", "j3", "j4")] == [0, 0, 1, 2]
    assert [slots.line_up("host_a", job) for job in ("j1", "j3", "j4")] == [0, 1, 2]
    slots.give_back("host_a", "j1")
    assert slots.line_up("host_a", "j5") == 3  # the turn that came free is the first in line's
    assert [slots.take("host_a", job, alive) for job in ("j3", "j4", "j5")] == [0, 1, 2]


def test_hosts_do_not_wait_for_each_other(panel: Panel) -> None:
    slots = Slots(panel.table, 1)

    assert [slots.take(host, "j1" + host, alive) for host in ("host_a", "host_b")] == [0, 0]


def test_asking_again_while_working_changes_nothing(panel: Panel) -> None:
    slots = Slots(panel.table, 1)

    assert [slots.take("host_a", "j1", alive) for _ in range(3)] == [0, 0, 0]


def test_a_job_that_ended_without_giving_its_turn_back_holds_nobody_up(panel: Panel) -> None:
    slots = Slots(panel.table, 1)
    slots.take("host_a", "killed", alive)
    slots.take("host_a", "waiting-and-killed", alive)

    assert slots.take("host_a", "next", lambda job: job != "next") == 0


def test_many_at_once_never_exceed_the_limit(panel: Panel) -> None:
    slots, working, most, lock = Slots(panel.table, 4), set[str](), [0], threading.Lock()

    def work(job: str) -> None:
        before = slots.line_up("host_a", job)
        while before:
            before = slots.take("host_a", job, alive)
        with lock:
            working.add(job)
            most[0] = max(most[0], len(working))
        with lock:
            working.discard(job)
        slots.give_back("host_a", job)

    threads = [threading.Thread(target=work, args=(f"j{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 <= most[0] <= 4
    item = panel.table.get(("SLOTS#host_a", "SLOTS"))
    assert item is not None
    assert (item["working"], item["waiting"]) == ([], [])

"""A host's name is one host's alone, also of two that ask at the same instant, and free again when it is given up."""

import threading

import pytest

from chalicelib.domain.errors import Changed, Conflict, SameMachine, SlipwayError
from chalicelib.domain.words import new_id
from chalicelib.store.table import delete
from tests.emulator import Panel


def test_of_many_creates_at_once_one_gets_the_name(panel: Panel) -> None:
    first = panel.a_host("before")
    ended: list[str] = []
    ready = threading.Barrier(8)

    def add() -> None:
        host = first.model_copy(update={"id": new_id("host"), "name": "wanted"})
        ready.wait()
        try:
            panel.hosts.add(host)
        except Conflict:
            ended.append("taken")
        else:
            ended.append("added")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ended) == ["added"] + ["taken"] * 7
    assert sorted(host.name for host in panel.hosts.all()) == ["before", "wanted"]


def test_a_rename_takes_the_new_name_and_frees_the_old(panel: Panel) -> None:
    one, two = panel.a_host("one"), panel.a_host("two")

    with pytest.raises(Conflict, match="a host named two exists already"):
        panel.hosts.change(one, name="two")
    renamed = panel.hosts.change(one, name="three")

    assert panel.hosts.get(one.id).name == "three"
    assert panel.a_host("one").name == "one"
    with pytest.raises(Changed):
        panel.hosts.change(one, name="four")
    assert panel.hosts.change(renamed, name="four").version == renamed.version + 1
    assert panel.hosts.get(two.id) == two


def test_a_host_that_goes_frees_its_name(panel: Panel) -> None:
    one = panel.a_host("one")
    changed = panel.hosts.change(one, draining=True)

    with pytest.raises(Changed):
        panel.hosts.remove(one)
    with pytest.raises(SlipwayError):
        panel.a_host("one")
    panel.hosts.remove(changed)
    panel.hosts.remove(changed)  # a repeat

    assert panel.a_host("one").name == "one"


def test_a_host_from_before_names_were_kept_can_be_renamed_and_removed(panel: Panel) -> None:
    one, two = panel.a_host("one"), panel.a_host("two")
    for name in ("one", "two"):
        panel.table.write(delete((f"HOSTNAME#{name}", "NAME")))

    panel.hosts.change(one, name="three")
    panel.hosts.remove(two)

    assert [host.name for host in panel.hosts.all()] == ["three"]


def test_of_many_hosts_that_say_to_be_one_machine_one_is(panel: Panel) -> None:
    hosts = [panel.a_host(f"h{number}") for number in range(8)]
    ended: list[str] = []
    ready = threading.Barrier(len(hosts))

    def claim(number: int) -> None:
        ready.wait()
        while True:
            try:
                panel.hosts.change(hosts[number], machine="E1")
            except Changed:  # the two wrote at the same instant
                continue
            except SameMachine as error:
                ended.append(error.details["host_id"])
            else:
                ended.append("claimed")
            return

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(hosts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (holder,) = [host for host in panel.hosts.all() if host.machine]
    assert sorted(ended) == sorted(["claimed"] + [holder.id] * 7)


def test_a_machine_is_free_for_another_host_once_its_own_is_gone_or_is_another(panel: Panel) -> None:
    one, two, three = (panel.a_host(name) for name in ("one", "two", "three"))
    one = panel.hosts.change(one, machine="E1")
    one = panel.hosts.change(one, name="renamed", machine="E2")
    two = panel.hosts.change(two, machine="E1")
    with pytest.raises(SameMachine, match="as two"):
        panel.hosts.change(one, machine="E1")
    with pytest.raises(Conflict, match="a host named two exists already"):
        panel.hosts.change(one, name="two", machine="E3")

    panel.hosts.remove(two)

    assert panel.hosts.change(three, machine="E1").machine == "E1"

"""A host's name is one host's alone, also of two that ask at the same instant, and free again when it is given up."""

import threading

import pytest

from chalicelib.domain.errors import Changed, Conflict, SlipwayError
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

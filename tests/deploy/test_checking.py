"""A host's check is kept for what was checked, and a machine is one host."""

import pytest

from chalicelib.deploy import calls
from chalicelib.domain.errors import Conflict
from tests.deploy.fakes import FakeHost
from tests.emulator import Panel


def test_a_check_of_a_host_that_was_moved_meanwhile_is_not_kept(panel: Panel, host: FakeHost) -> None:
    one = panel.a_host()

    def move(_: object) -> dict[str, list[str]]:
        panel.hosts.change(panel.hosts.get(one.id), address="192.0.2.2", status="new")
        return {"problems": []}

    host.answers |= {"check": move, "edge": {}}
    with pytest.raises(Conflict, match="address"):
        calls.check_host(one.id)

    assert panel.hosts.get(one.id).status == "new"
    host.answers["check"] = {"problems": []}
    assert calls.check_host(one.id) == {"status": "ready"}
    assert panel.hosts.get(one.id).status == "ready"


def test_a_check_is_kept_though_the_host_was_renamed_meanwhile(panel: Panel, host: FakeHost) -> None:
    one = panel.a_host()

    def rename(_: object) -> dict[str, list[str]]:
        panel.hosts.change(panel.hosts.get(one.id), name="renamed", status="new")
        return {"problems": []}

    host.answers |= {"check": rename, "edge": {}}

    assert calls.check_host(one.id) == {"status": "ready"}
    assert (panel.hosts.get(one.id).name, panel.hosts.get(one.id).status) == ("renamed", "ready")


def test_a_machine_that_is_a_host_already_is_no_other_and_nothing_is_put_there(panel: Panel, host: FakeHost) -> None:
    one, again = panel.a_host("one"), panel.a_host("again")
    host.answers |= {"check": {"problems": [], "engine_id": "E1", "hostname": "m", "cpus": 8}, "edge": {}}
    calls.check_host(one.id)
    host.asked.clear()

    assert calls.check_host(again.id) == {"status": "not_ready"}

    found = panel.hosts.get(again.id)
    assert [problem["check"] for problem in found.problems] == ["same_machine"]
    assert "registered already, as one" in found.problems[0]["message"]
    assert found.facts == {}  # what it has is promised once
    assert host.verbs() == ["check"]
    assert calls.check_host(one.id) == {"status": "ready"}


def test_the_host_is_asked_whether_it_is_this_installations(panel: Panel, host: FakeHost) -> None:
    one = panel.a_host()
    other = {"check": "other_installation", "message": "…"}
    host.answers |= {"check": {"problems": [other], "engine_id": "E1", "hostname": "m"}, "edge": {}}

    assert calls.check_host(one.id) == {"status": "not_ready"}
    assert host.verbs() == ["check"]  # nothing is put there
    host.answers["check"] = {"problems": []}
    assert calls.check_host(one.id) == {"status": "ready"}
    assert {request["installation"] for _, request in host.asked} == {panel.installation.id()}


def test_a_host_that_was_moved_onto_another_gives_up_the_machine_that_it_was(panel: Panel, host: FakeHost) -> None:
    one, two, three = (panel.a_host(name) for name in ("one", "two", "three"))
    for moved, engine in ((one, "E1"), (three, "E3")):
        host.answers |= {"check": {"problems": [], "engine_id": engine, "hostname": "m"}, "edge": {}}
        calls.check_host(moved.id)

    host.answers["check"] = {"problems": [], "engine_id": "E1", "hostname": "m"}
    assert calls.check_host(three.id) == {"status": "not_ready"}
    host.answers["check"] = {"problems": [], "engine_id": "E3", "hostname": "m"}
    assert calls.check_host(two.id) == {"status": "ready"}


def test_a_host_whose_docker_does_not_answer_stays_the_machine_that_it_is(panel: Panel, host: FakeHost) -> None:
    one, again = panel.a_host("one"), panel.a_host("again")
    host.answers |= {"check": {"problems": [], "engine_id": "E1", "hostname": "m"}, "edge": {}}
    calls.check_host(one.id)
    host.answers["check"] = {"problems": [{"check": "docker", "message": "no"}], "engine_id": None, "hostname": None}
    calls.check_host(one.id)
    host.answers["check"] = {"problems": [], "engine_id": "E1", "hostname": "m"}

    assert calls.check_host(again.id) == {"status": "not_ready"}


def test_machines_made_of_one_image_are_told_apart_by_their_host_names(panel: Panel, host: FakeHost) -> None:
    hosts = panel.a_host("one"), panel.a_host("two")

    for each, hostname in zip(hosts, ("m1", "m2"), strict=True):
        host.answers |= {"check": {"problems": [], "engine_id": "E1", "hostname": hostname}, "edge": {}}

        assert calls.check_host(each.id) == {"status": "ready"}


def test_a_host_is_left_only_where_it_is_the_machine_that_was_checked(panel: Panel, host: FakeHost) -> None:
    one = panel.a_host()
    host.answers |= {"check": {"problems": [], "engine_id": "E1", "hostname": "m"}, "edge": {}, "leave": {}}
    calls.check_host(one.id)

    calls.leave_host(one.id)
    assert host.asked[-1] == ("leave", {"installation": panel.installation.id()})

    host.asked.clear()
    host.answers["check"] = {"problems": [], "engine_id": "E2", "hostname": "m"}
    with pytest.raises(Conflict, match="no longer the machine"):
        calls.leave_host(one.id)
    assert host.verbs() == ["check"]

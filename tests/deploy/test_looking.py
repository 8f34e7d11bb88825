"""The minute's look tells the truth of a host: one that is gone takes nothing, and one that is back is ready again."""

from typing import Any

import pytest

from chalicelib.deploy import calls, drafting, reconcile, upkeep
from chalicelib.deploy.placing import Wish
from chalicelib.domain.errors import Conflict, HostKeyMismatch, HostNotReady, HostTimeout, HostUnreachable
from chalicelib.domain.panel import Host
from chalicelib.domain.reach import OTHER_INSTALLATION
from tests.deploy.fakes import FakeHost
from tests.deploy.test_placing import wanted
from tests.deploy.test_steps import ADMIN, deployed
from tests.emulator import Panel

SOUND = {"problems": [], "docker": "26.1.5", "cpus": 8, "memory_mb": 16_000, "disk_total_mb": 100_000}


@pytest.fixture
def one(panel: Panel, host: FakeHost) -> Host:
    host.answers |= {"check": SOUND, "edge": {}}
    return panel.a_host("one")


def look(panel: Panel, one: Host) -> Host:
    reconcile.look(one.id, [])
    return panel.hosts.get(one.id)


def found(host: Host) -> tuple[str, list[str]]:
    return host.status, [problem["check"] for problem in host.problems]


@pytest.mark.parametrize("gone", [HostUnreachable("no answer"), HostKeyMismatch("another key")])
def test_a_host_that_is_not_reached_is_passed_over_until_a_look_reaches_it(
    panel: Panel, host: FakeHost, one: Host, gone: Any
) -> None:
    host.answers["observe"] = gone
    first, second = look(panel, one), look(panel, one)

    assert found(first) == ("not_ready", [gone.code])
    assert second == first  # since when stays as it was, and so does the version
    with pytest.raises(Conflict, match=f"is not ready: {gone.code} since {first.problems[0]['since']}"):
        drafting.draft(wanted(panel, "blog", panel.a_customer().id, Wish()), ADMIN)

    del host.answers["observe"]
    assert found(look(panel, one)) == ("ready", [])


def test_a_host_that_is_back_with_something_amiss_says_what(panel: Panel, host: FakeHost, one: Host) -> None:
    host.answers["observe"] = HostUnreachable("no answer")
    look(panel, one)
    del host.answers["observe"]
    host.answers["check"] = {**SOUND, "problems": [{"check": "disk", "message": "full"}]}

    assert found(look(panel, one)) == ("not_ready", ["disk"])
    host.asked.clear()
    assert found(look(panel, one)) == ("not_ready", ["disk"])
    assert "check" not in host.verbs()  # a look tells nothing of that; it is asked to be checked again


@pytest.mark.parametrize("amiss", [HostNotReady("Docker does not answer"), HostTimeout("it did not end in time")])
def test_a_host_that_answers_and_not_as_it_should_is_checked_and_again_once_it_does(
    panel: Panel, host: FakeHost, one: Host, amiss: Any
) -> None:
    host.answers |= {"observe": amiss, "check": {"problems": [{"check": "docker", "message": "dead"}], "docker": None}}
    first, second = look(panel, one), look(panel, one)

    assert found(first) == ("not_ready", ["docker"])
    assert second == first

    del host.answers["observe"]
    host.answers["check"] = SOUND
    assert found(look(panel, one)) == ("ready", [])


def test_what_a_check_found_meanwhile_is_not_overwritten_by_a_look(panel: Panel, host: FakeHost, one: Host) -> None:
    def checked_while_it_is_looked_at(_: object) -> dict[str, Any]:
        calls.check_host(one.id)
        raise HostUnreachable("the connection broke")

    host.answers["observe"] = checked_while_it_is_looked_at

    assert found(look(panel, one)) == ("ready", [])


def test_every_host_is_looked_at_though_nothing_lives_there(panel: Panel, one: Host) -> None:
    service = deployed(panel)
    panel.host_calls.told.clear()

    upkeep.look_at_every_host()

    nothing: dict[str, list[str]] = {known.id: [] for known in panel.hosts.all()}
    expected = nothing | {service.host_id: [service.id]}
    assert len(expected) > 1
    assert {call for call, _ in panel.host_calls.told} == {"look"}
    assert {asked["host_id"]: asked["service_ids"] for _, asked in panel.host_calls.told} == expected


@pytest.mark.parametrize(("due", "asked"), [(True, ["check_host"]), (False, [])])
def test_a_new_host_is_checked_if_that_was_asked_for(
    panel: Panel, host: FakeHost, one: Host, due: bool, asked: list[str]
) -> None:
    panel.hosts.change(one, status="new", check_due=due)

    upkeep.look_at_every_host()

    assert [call for call, _ in panel.host_calls.told] == asked
    calls.check_host(one.id)
    assert panel.hosts.get(one.id).check_due is False


def test_a_look_at_a_new_host_leaves_it_to_its_check(panel: Panel, host: FakeHost, one: Host) -> None:
    new = panel.hosts.change(one, status="new", check_due=True)
    host.answers["observe"] = HostUnreachable("no answer")

    assert look(panel, one) == new


def test_an_edge_that_is_gone_is_put_there_again(panel: Panel, host: FakeHost, one: Host) -> None:
    host.answers["observe"] = {"at": "", "services": {}, "edge_serves": False}

    assert found(look(panel, one)) == ("ready", [])
    assert host.verbs() == ["observe", "check", "edge"]


def test_a_host_that_became_anothers_takes_nothing(panel: Panel, host: FakeHost, one: Host) -> None:
    theirs = {"check": OTHER_INSTALLATION, "message": "a host of another installation"}
    host.answers |= {
        "observe": {"at": "", "services": {}, "edge_serves": False},
        "check": {**SOUND, "problems": [theirs]},
    }

    assert found(look(panel, one)) == ("not_ready", [OTHER_INSTALLATION])
    assert "edge" not in host.verbs()
    with pytest.raises(Conflict, match="one is a host of another installation"):
        drafting.draft(wanted(panel, "blog", panel.a_customer().id, Wish(host_id=one.id)), ADMIN)


def test_a_host_that_is_back_before_its_edge_is_ready_with_it(panel: Panel, host: FakeHost, one: Host) -> None:
    host.answers["observe"] = HostUnreachable("no answer")
    look(panel, one)
    host.answers["observe"] = {"at": "", "services": {}, "edge_serves": False}

    assert found(look(panel, one)) == ("ready", [])
    assert "edge" in host.verbs()

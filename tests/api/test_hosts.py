"""Hosts that move, are reinstalled, or get another key, while services live on them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.domain.errors import Changed, HostRefused, HostUnreachable, Unavailable, ValidationFailed
from chalicelib.domain.panel import SILENT_SECONDS, NextKey, RetiredKey
from chalicelib.domain.words import now, timestamp
from tests.api.conftest import Api
from tests.api.test_panel import HOST, KEY
from tests.api.test_services import deployed
from tests.emulator import Panel

OTHER_KEY = KEY[:-1] + "g"


@pytest.fixture
def path(panel: Panel, host_id: str) -> str:
    panel.host_calls.answers["scan_host"] = {"host_key": KEY}
    panel.host_calls.answers["rotate_key"] = rotating(panel)
    return f"/hosts/{host_id}"


def rotating(panel: Panel) -> Any:
    def rotate(host_id: str, **_: Any) -> dict[str, Any]:
        panel.hosts.change(panel.hosts.get(host_id), public_key="ssh-ed25519 NEW")
        return {"public_key": "ssh-ed25519 NEW", "left": []}

    return rotate


def told(panel: Panel) -> list[str]:
    return [call for call, _ in panel.host_calls.told]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"address": "10.0.0.2"}, {"address": "10.0.0.2"}),
        ({"port": 2222}, {"port": 2222}),
        ({"user": "slipway"}, {"user": "slipway"}),
        ({"host_key": f"{KEY} a comment"}, {"host_key": KEY}),
        ({"trust_on_first_use": True}, {"host_key": KEY}),
    ],
)
def test_a_host_that_is_reached_otherwise_is_not_ready_until_it_is_checked(
    api: Api, panel: Panel, path: str, host_id: str, change: dict[str, Any], shown: dict[str, Any]
) -> None:
    problems = ({"check": "host_key_mismatch", "message": "another key"},)
    panel.hosts.change(panel.hosts.get(host_id), problems=problems)

    reply = api.patch(path, change)

    assert reply.status == 200
    assert {**shown, "status": "new", "problems": []}.items() <= reply.body.items()
    assert api.get(path).body == reply.body
    assert panel.host_calls.told[-1] == ("check_host", {"host_id": host_id})


@pytest.mark.parametrize(
    "same",
    [
        {"address": "192.0.2.1", "port": 22, "user": "deploy"},
        {"host_key": f"{KEY} a comment"},
        {"trust_on_first_use": True},
        {"labels": {}},
    ],
)
def test_what_is_as_it_was_changes_nothing(
    api: Api, panel: Panel, path: str, host_id: str, same: dict[str, Any]
) -> None:
    panel.hosts.change(panel.hosts.get(host_id), host_key=KEY)
    before = api.get(path)

    reply = api.patch(path, same)

    assert (reply.status, reply.body, reply.headers["ETag"]) == (200, before.body, before.headers["ETag"])
    assert "check_host" not in told(panel)


def test_a_given_key_is_pinned_without_a_look_at_what_the_host_shows(api: Api, panel: Panel, path: str) -> None:
    assert api.patch(path, {"host_key": OTHER_KEY, "trust_on_first_use": True}).body["host_key"] == OTHER_KEY
    assert "scan_host" not in told(panel)


def test_the_key_that_is_trusted_is_the_one_shown_at_the_new_address(api: Api, panel: Panel, path: str) -> None:
    api.patch(path, {"address": "10.0.0.2", "trust_on_first_use": True})

    assert ("scan_host", {"address": "10.0.0.2", "port": 22}) in panel.host_calls.told


def test_a_host_that_does_not_answer_has_no_key_to_be_trusted(api: Api, panel: Panel, path: str) -> None:
    panel.host_calls.answers["scan_host"] = HostUnreachable("no connection")
    before = api.get(path).body

    assert api.patch(path, {"trust_on_first_use": True}).status == 502
    assert api.get(path).body == before


def test_services_keep_what_was_promised_them_on_a_host_that_moves(
    api: Api, panel: Panel, path: str, wanted: dict[str, Any]
) -> None:
    service_id = deployed(api, panel, wanted)
    reserved = api.get(path).body["reserved"]

    moved = api.patch(path, {"address": "10.0.0.2"}).body

    assert (moved["reserved"]["services"], moved["reserved"]) == (1, reserved)
    assert moved["capacity"] == api.get(path).body["capacity"] is not None
    assert api.get(f"/services/{service_id}").body["status"] == "running"
    assert "is not ready" in str(api.post("/services", {**wanted, "name": "second"}).error["details"])


@pytest.mark.parametrize(
    "change",
    [
        {}, {"trust_on_first_use": False}, {"address": None}, {"address": "a b"}, {"port": 0}, {"user": "-x"},
        {"host_key": "no key"}, {"private_key": "x"},
    ],
)  # fmt: skip
def test_a_change_that_is_none_or_cannot_be_is_a_422(api: Api, panel: Panel, path: str, change: dict[str, Any]) -> None:
    before = api.get(path).body

    assert api.patch(path, change).status == 422
    assert api.get(path).body == before


@pytest.mark.parametrize(
    "address", ["010.77.0.12", "10.77.0.012", "10.77.0", "10.77.0.256", "10..0.12", "1", "167772161"]
)
def test_digits_and_dots_are_an_ipv4_address_or_refused(api: Api, panel: Panel, path: str, address: str) -> None:
    before = api.get("/hosts").body

    replies = [api.post("/hosts", {**HOST, "host_key": KEY, "address": address}), api.patch(path, {"address": address})]

    for reply in replies:
        assert (reply.status, [detail["path"] for detail in reply.error["details"]]) == (422, ["address"])
        assert "must be an IPv4 address" in reply.error["message"]
    assert api.get("/hosts").body == before
    assert not panel.host_calls.told


@pytest.mark.parametrize("address", ["10.77.0.12", "0.0.0.10", "10-77.example.com", "010a", "fd00::12", "::1"])
def test_a_host_is_at_an_address_or_a_name(api: Api, path: str, address: str) -> None:
    assert api.patch(path, {"address": address}).body["address"] == address


@pytest.mark.parametrize("junk", ["junk", "", " ", "ssh-ed25519", "ssh-ed25519 ö"])
def test_a_host_key_that_is_none_is_refused_in_our_words(api: Api, path: str, junk: str) -> None:
    reply = api.patch(path, {"host_key": junk})

    assert reply.status == 422
    assert reply.error["details"][0]["message"].startswith("is cut short, or no public key")


def test_a_move_is_made_of_the_version_that_was_seen(api: Api, panel: Panel, path: str) -> None:
    tag = api.get(path).headers["ETag"]
    assert api.patch(path, {"labels": {"disk": "ssd"}}).status == 200

    assert api.patch(path, {"address": "10.0.0.2"}, if_match=tag).status == 412
    assert "check_host" not in told(panel)


@pytest.mark.parametrize(
    ("body", "given"), [(None, None), ({}, None), ({"private_key": None}, None), ({"private_key": "k"}, "k")]
)
def test_a_key_is_rotated_and_the_host_shown_with_the_new_one(
    api: Api, panel: Panel, path: str, host_id: str, body: Any, given: str | None
) -> None:
    reply = api.post(f"{path}/rotate_key", body)

    assert (reply.status, reply.body["public_key"], reply.body["status"]) == (200, "ssh-ed25519 NEW", "ready")
    assert reply.headers["ETag"] == api.get(path).headers["ETag"]
    assert panel.host_calls.told == [("rotate_key", {"host_id": host_id, "private_key": given, "seen": None})]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValidationFailed("private_key cannot be read", []), 422),
        (HostUnreachable("no connection"), 502),
        (HostRefused("the host does not accept the new key"), 502),
        (Changed("the host was changed meanwhile"), 409),
    ],
)
def test_a_rotation_that_fails_says_why(api: Api, panel: Panel, path: str, error: Exception, status: int) -> None:
    panel.host_calls.answers["rotate_key"] = error

    reply = api.post(f"{path}/rotate_key")

    assert (reply.status, reply.error["message"]) == (status, str(error))


def test_a_rotation_is_made_of_the_version_that_was_seen(api: Api, panel: Panel, path: str) -> None:
    tag = api.get(path).headers["ETag"]
    assert api.post(f"{path}/rotate_key", if_match='"0"').status == 412
    assert told(panel) == []

    assert api.post(f"{path}/rotate_key", if_match=tag).status == 200
    assert panel.host_calls.told[-1][1]["seen"] == int(tag.strip('"'))
    panel.host_calls.answers["rotate_key"] = Changed("the host was changed meanwhile")
    assert api.post(f"{path}/rotate_key", if_match=api.get(path).headers["ETag"]).status == 412


def test_a_repeat_under_its_key_rotates_once(api: Api, panel: Panel, path: str) -> None:
    first = api.post(f"{path}/rotate_key", idempotency_key="rotate")
    second = api.post(f"{path}/rotate_key", idempotency_key="rotate")

    assert (second.body, second.headers["Idempotency-Replayed"]) == (first.body, "true")
    assert told(panel) == ["rotate_key"]


def test_no_half_of_a_rotation_is_hidden_and_no_private_key_shown(
    api: Api, panel: Panel, path: str, host_id: str
) -> None:
    fresh = NextKey(public_key="ssh-ed25519 NEXT", sealed_private_key=b"sealed-next")
    old = RetiredKey(public_key="ssh-ed25519 OLD", sealed_private_key=b"sealed-old", problem="the disk is full")
    panel.hosts.change(panel.hosts.get(host_id), next_key=fresh, retired_keys=(old,))

    reply = api.get(path)

    assert [problem["check"] for problem in reply.body["problems"]] == ["key_rotation", "old_key"]
    assert "ssh-ed25519 NEXT" in reply.body["problems"][0]["message"]
    assert "the disk is full" in reply.body["problems"][1]["message"]
    assert reply.body["status"] == "ready"
    assert "sealed" not in reply.text
    assert panel.hosts.get(host_id).retired_keys == (old,)


def test_a_machine_is_not_registered_twice_nor_moved_to(api: Api, panel: Panel, path: str, host_id: str) -> None:
    other = panel.hosts.change(panel.a_host("other"), address="one.example.com")
    place = {"address": "One.Example.com", "port": 22}

    added = api.post("/hosts", {"name": "new", "user": "root", "host_key": KEY, **place})
    moved = api.patch(path, {"address": place["address"], "trust_on_first_use": True})

    for refused in (added, moved):
        assert refused.status == 409
        assert refused.error["message"].endswith("is registered already, as other")
        assert refused.error["details"] == {"host_id": other.id}
    assert told(panel) == []
    assert len(panel.hosts.all()) == 2
    assert (
        api.patch(path, {"address": place["address"], "port": 2222}).status == 200
    )  # behind one address, two machines


def test_a_move_whose_check_could_not_begin_is_checked_all_the_same(api: Api, panel: Panel, host_id: str) -> None:
    panel.host_calls.tell = _no_answer

    assert api.patch(f"/hosts/{host_id}", {"address": "10.0.0.2"}).status == 503

    assert (panel.hosts.get(host_id).status, panel.hosts.get(host_id).check_due) == ("new", True)


def test_a_host_that_is_not_reached_says_since_when_and_its_agent_is_not_connected(
    api: Api, panel: Panel, path: str, host_id: str
) -> None:
    problem = {"check": "host_unreachable", "message": "no answer", "since": now()}
    panel.hosts.change(panel.hosts.get(host_id), status="not_ready", problems=(problem,))
    panel.agents.set_token(host_id, "hash")
    panel.agents.connected(host_id, "c1")
    panel.agents.seen(host_id, "1", "boot")
    assert api.get(path).body["agent"]["connected"]
    long_ago = timestamp(datetime.now(UTC) - timedelta(seconds=SILENT_SECONDS))
    panel.agents._change(host_id, {"last_seen": long_ago})

    shown = api.get(path).body

    assert shown["problems"] == [problem]
    assert (shown["agent"]["connected"], shown["agent"]["last_seen"]) == (False, long_ago)


def _no_answer(*_: Any, **__: Any) -> None:
    raise Unavailable("nobody answers")


def test_a_host_that_is_forgotten_is_left_first(panel: Panel, api: Api) -> None:
    machine, away = "E1 on m", {"check": "host_unreachable", "message": "no answer"}
    never_checked, sound, lost, broken = (panel.a_host(name) for name in ("never", "sound", "lost", "broken"))
    panel.hosts.change(sound, machine=machine)
    panel.hosts.change(lost, machine="E2 on m", status="not_ready", problems=(away,))
    panel.hosts.change(broken, machine="E3 on m")
    panel.host_calls.answers["leave_host"] = lambda host_id: {}

    assert [api.delete(f"/hosts/{one.id}").status for one in (never_checked, sound, lost)] == [204, 204, 204]
    assert panel.host_calls.told == [("leave_host", {"host_id": sound.id})]

    panel.host_calls.answers["leave_host"] = HostUnreachable("no answer")
    assert api.delete(f"/hosts/{broken.id}").status == 204
    assert api.get(f"/hosts/{broken.id}").status == 404


def test_the_key_of_a_host_that_is_anothers_is_not_rotated(panel: Panel, api: Api) -> None:
    one = panel.a_host()
    panel.hosts.change(one, status="not_ready", problems=({"check": "other_installation", "message": "theirs"},))

    assert api.post(f"/hosts/{one.id}/rotate_key").error["code"] == "conflict"
    assert panel.host_calls.told == []

"""Each follower gets every entry once and in order, whoever else is slow, gone or cut off."""

from typing import Any

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.domain.following import FRAME_BYTES, messages
from chalicelib.domain.redaction import Redactor
from chalicelib.live import following, relay
from chalicelib.store.lanes import Batch
from tests.live.conftest import Scene


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FOLLOWER_SECONDS", 0.2)
    monkeypatch.setattr(relay, "YOUNG_SECONDS", 0)


def lines(first: int, last: int) -> list[dict[str, Any]]:
    return [
        {"timestamp": f"2026-01-01T00:00:{n:02d}Z", "stream": "stdout", "message": f"line {n}", "container": "web",
         "cursor": f"c{n}"}
        for n in range(first, last + 1)
    ]  # fmt: skip


def nothing(_job_id: str) -> Redactor:
    return Redactor(())


def relayed(scene: Scene, sequence: int, to: list[int], entries: list[dict[str, Any]], **more: Any) -> Any:
    section = {"service_id": scene.service.id, "to": to, "entries": entries, **more}
    batch, (_, followers) = Batch(scene.host.id, "boot", "live", sequence), relay.of_host(scene.host.id)
    return relay.relay(batch, [section], nothing, followers)  # type: ignore[list-item]


def test_each_follower_gets_the_entries_in_its_own_format(scene: Scene) -> None:
    one, many = scene.follow("one"), scene.follow("many", form="batch")

    answer = relayed(scene, 1, [one.number, many.number], lines(1, 3))

    assert answer == {"behind": [], "gone": []}
    assert [entry["message"] for entry in scene.gateway.got("one")] == ["line 1", "line 2", "line 3"]
    assert [entry["cursor"] for entry in scene.gateway.got("one")] == ["c1", "c2", "c3"]
    ((*first, last),) = scene.gateway.got("many")
    assert [entry["message"] for entry in (*first, last)] == ["line 1", "line 2", "line 3"]
    assert [entry.get("cursor") for entry in (*first, last)] == [None, None, "c3"]


def test_a_batch_that_is_sent_again_is_relayed_once(scene: Scene) -> None:
    follower = scene.follow("one")
    scene.gateway.room["one"] = 2

    first = relayed(scene, 1, [follower.number], lines(1, 3))
    again = relayed(scene, 1, [follower.number], lines(1, 3))

    assert first == again == {"behind": [[follower.number, 2]], "gone": []}
    assert [entry["message"] for entry in scene.gateway.got("one")] == ["line 1", "line 2"]


def test_a_batch_that_is_being_relayed_is_not_relayed_beside(scene: Scene) -> None:
    follower = scene.follow("one")
    scene.panel.lanes.begin(Batch(scene.host.id, "boot", "live", 1))

    with pytest.raises(Conflict):
        relayed(scene, 1, [follower.number], lines(1, 3))

    assert scene.gateway.got("one") == []


def test_followers_of_a_batch_whose_request_died_are_cut_so_that_they_come_back_with_their_cursor(scene: Scene) -> None:
    follower = scene.follow("one")
    scene.panel.lanes.begin(Batch(scene.host.id, "boot", "live", 1))
    scene.panel.lanes._clock = lambda: 1e12

    answer = relayed(scene, 1, [follower.number], lines(1, 3))

    assert answer == {"behind": [], "gone": [follower.number]}
    assert scene.gateway.closed == ["one"]
    assert scene.gateway.got("one") == []


def test_a_slow_follower_gets_what_it_takes_and_the_others_all(scene: Scene) -> None:
    slow, quick = scene.follow("slow"), scene.follow("quick")
    scene.gateway.room["slow"] = 1

    answer = relayed(scene, 1, [slow.number, quick.number], lines(1, 3))

    assert answer == {"behind": [[slow.number, 1]], "gone": []}
    assert len(scene.gateway.got("slow")) == 1
    assert len(scene.gateway.got("quick")) == 3


def test_a_gone_follower_is_forgotten_and_no_other(scene: Scene) -> None:
    gone, here = scene.follow("gone"), scene.follow("here")
    scene.gateway.state["gone"] = "gone"

    answer = relayed(scene, 1, [gone.number, here.number], lines(1, 1))

    assert answer == {"behind": [], "gone": [gone.number]}
    assert [follower.connection_id for follower in relay.of_host(scene.host.id)[1]] == ["here"]
    assert scene.panel.followers.socket("gone") is None
    assert scene.panel.followers.socket("here") is not None


def test_one_that_is_not_there_yet_is_not_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "YOUNG_SECONDS", 10)
    young = scene.follow("young")
    scene.gateway.state["young"] = "gone"

    answer = relayed(scene, 1, [young.number], lines(1, 1))

    assert answer == {"behind": [[young.number, 0]], "gone": []}
    assert [follower.connection_id for follower in relay.of_host(scene.host.id)[1]] == ["young"]


def test_a_follower_whose_message_may_have_arrived_or_not_is_cut(scene: Scene) -> None:
    follower = scene.follow("one")
    scene.gateway.state["one"] = "unknown"

    answer = relayed(scene, 1, [follower.number], lines(1, 1))

    assert answer == {"behind": [], "gone": [follower.number]}
    assert scene.gateway.closed == ["one"]


def test_an_agent_cannot_send_to_followers_of_another_service_or_host(scene: Scene) -> None:
    elsewhere = scene.follow("elsewhere", subject=scene.service.model_copy(update={"id": "svc_other"}))
    other_host = scene.follow("far", subject=scene.service.model_copy(update={"host_id": "host_other"}))

    answer = relayed(scene, 1, [elsewhere.number, other_host.number], lines(1, 1))

    assert answer["gone"] == sorted([elsewhere.number, other_host.number])
    assert scene.gateway.got("elsewhere") == scene.gateway.got("far") == []


def test_the_agent_is_told_whom_it_serves_once_and_that_they_changed(scene: Scene) -> None:
    follower = scene.follow("one")

    told = relay.follow_set(*relay.of_host(scene.host.id), 0)
    again = relay.follow_set(*relay.of_host(scene.host.id), told["followers_version"])
    following.end("one")
    after = relay.follow_set(*relay.of_host(scene.host.id), told["followers_version"])

    assert told["followers"] == [{"number": follower.number, "service_id": scene.service.id, "start": {"tail": 10}}]
    assert "followers" not in again
    assert after["followers"] == []


def test_coming_and_going_wake_the_agent_that_listens(scene: Scene) -> None:
    following.begin_agent(scene.host.id, "agent")

    scene.follow("one")
    following.end("one")
    following.end("agent")
    scene.follow("two")

    assert scene.gateway.got("agent") == [{"type": "sync"}] * 2


def test_batches_stay_within_a_frame_and_lose_nothing() -> None:
    entries = [{"timestamp": "t", "stream": "stdout", "message": "é" * (n * 37 % 9000), "container": "web",
                "cursor": "c" * 60} for n in range(200)]  # fmt: skip

    sent = list(messages(entries, "batch"))

    assert sum(message.entries for message in sent) == 200
    assert all(len(message.text.encode()) <= FRAME_BYTES for message in sent if message.entries > 1)

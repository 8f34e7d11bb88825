"""What one request carries, and what is left of it when the agent is killed at any point."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.hostkit.agent import cursor
from chalicelib.hostkit.agent.entries import Entry
from chalicelib.hostkit.agent.lanes import Lane
from chalicelib.hostkit.agent.packing import MOST_BYTES, MOST_ENTRIES, Batch, Room, Section, unpacked
from chalicelib.hostkit.agent.post import Answer, Connection, Unanswered
from chalicelib.hostkit.agent.state import State

SVC = {"service_id": "svc_abcdefgh12345678"}


def entry(number: int, size: int = 0) -> Entry:
    text = cursor.of_file("place", number)
    fields = {"message": "x" * size or str(number), "cursor": text}
    return Entry(json.dumps(fields, separators=(",", ":")).encode(), text)


def batch(count: int = 3, sequence: int = 1) -> Batch:
    section = Section(SVC, [7, 8], [entry(number) for number in range(1, count + 1)], cursor.of_file("place", 0))
    return Batch("live", sequence, [section], {"events": [{"id": "e"}]})


def test_a_batch_is_the_protocols_json() -> None:
    body = batch().body({"version": "v", "boot": "b"}, 4)

    told = json.loads(gzip.decompress(body))
    assert told["agent"] == {"version": "v", "boot": "b"}
    assert (told["known"], told["lane"], told["sequence"], told["events"]) == (4, "live", 1, [{"id": "e"}])
    (section,) = told["sections"]
    assert (section["service_id"], section["to"]) == (SVC["service_id"], [7, 8])
    assert [one["message"] for one in section["entries"]] == ["1", "2", "3"]


def test_a_batch_has_room_for_so_many_entries_and_so_many_bytes() -> None:
    assert Room().fits([entry(number) for number in range(MOST_ENTRIES + 5)]) == MOST_ENTRIES
    assert Room().fits([entry(number, MOST_BYTES // 3) for number in range(10)]) == 2
    assert Room().fits([entry(1, 2 * MOST_BYTES), entry(2)]) == 1
    half = Room()
    half.take([entry(1)])
    assert half.fits([entry(1, 2 * MOST_BYTES)]) == 0


def test_halves_are_the_whole_and_follow_each_other() -> None:
    whole = batch(5)
    halves = whole.halves()
    assert halves is not None
    first, second = halves
    one, other = first.sections[0], second.sections[0]

    assert one.entries + other.entries == whole.sections[0].entries
    assert (one.before, other.before) == (whole.sections[0].before, one.after(len(one.entries)))
    assert (first.sequence, second.sequence) == (1, 2)
    assert (first.more, second.more) == ({}, whole.more)
    assert batch(1).halves() is None


def test_a_batch_that_was_on_its_way_is_itself_again(tmp_path: Path) -> None:
    sent = batch()
    body = sent.body({"version": "v", "boot": "b"}, 0)

    again = unpacked(body, [section.before for section in sent.sections])

    assert [one.cursor for one in again.sections[0].entries] == [one.cursor for one in sent.sections[0].entries]
    assert again.sections[0].after(0) == sent.sections[0].before
    assert again.more == sent.more


class Plane:
    """Takes a batch once, however often it comes; `script` says what becomes of each request."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.got: list[int] = []
        self.last = 0
        self.behind: list[list[int]] = []

    def post(self, path: str, body: bytes) -> Answer:
        told = json.loads(gzip.decompress(body))
        step = self.script.pop(0) if self.script else "ok"
        if step == "unheard":
            raise Unanswered("cut")
        if isinstance(step, int):
            return Answer(step, b"{}")
        if told["sequence"] > self.last:
            self.last = told["sequence"]
            self.got += [int(one["message"]) for section in told["sections"] for one in section["entries"]]
        if step == "unanswered":
            raise Unanswered("cut")
        if step == "killed":
            raise Killed
        return Answer(200, json.dumps({"behind": self.behind}).encode())

    def close(self) -> None:
        """Nothing is open."""


class Killed(BaseException):
    pass


class Agent:
    """A lane on a state folder, and what it was told of its batches."""

    def __init__(self, folder: Path, plane: Plane) -> None:
        self.state, self.plane = State(str(folder)), plane
        self.settled: list[tuple[int, list[list[int]], bool]] = []
        self.lane = Lane("live", self.state, self._connect, lambda: ([], {}), self._settle, self._describe)

    def _connect(self) -> Connection:
        return self.plane  # type: ignore[return-value]

    def _describe(self) -> tuple[dict[str, str], int]:
        return {"version": "v", "boot": self.state.boot}, 0

    def _settle(self, sent: Batch, answer: dict[str, Any], left_over: bool) -> None:
        self.settled.append((sent.sequence, answer.get("behind", []), left_over))
        self.state.acknowledged["live"] = sent.sequence
        self.state.save(
            lambda: {"boot": self.state.boot, "acknowledged": self.state.acknowledged, "places": {}, "events_since": 0}
        )


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.hostkit.agent.lanes.time.sleep", lambda seconds: None)


@pytest.mark.parametrize(
    "script",
    [
        ["ok"],
        ["unheard"],
        ["unanswered"],
        [409, 409],
        [503, "unheard", "unanswered"],
        [401, "unanswered"],
    ],
)
def test_a_batch_is_sent_until_it_is_acknowledged_and_relayed_once(tmp_path: Path, script: list[Any]) -> None:
    plane = Plane()
    agent = Agent(tmp_path, plane)
    plane.script = list(script)
    agent.lane.send(batch())

    assert plane.got == [1, 2, 3]
    assert [sequence for sequence, _, _ in agent.settled] == [1]


def test_what_is_too_large_goes_in_halves_and_nothing_is_left_out(tmp_path: Path) -> None:
    plane = Plane()
    agent = Agent(tmp_path, plane)
    plane.script = [413, 413]
    agent.lane.send(batch(5))
    while agent.lane._rest:
        agent.lane.send(agent.lane._next())

    assert plane.got == [1, 2, 3, 4, 5]
    assert [sequence for sequence, _, _ in agent.settled] == list(range(1, len(agent.settled) + 1))


def test_what_can_never_be_delivered_is_given_up(tmp_path: Path) -> None:
    plane = Plane()
    agent = Agent(tmp_path, plane)
    plane.script = [422]
    agent.lane.send(batch(1))

    assert plane.got == []
    assert [sequence for sequence, _, _ in agent.settled] == [1]


@pytest.mark.parametrize("heard", [True, False])
def test_an_agent_killed_with_a_batch_on_its_way_sends_the_same_again(tmp_path: Path, heard: bool) -> None:
    plane = Plane()
    agent = Agent(tmp_path, plane)
    agent.lane.send(batch(2))
    plane.script = ["killed"]
    plane.behind = [[8, 1]]
    if heard:
        with pytest.raises(Killed):
            agent.lane.send(batch(3, 2))
    else:
        agent.state.sending(batch(3, 2), batch(3, 2).body({"version": "v", "boot": agent.state.boot}, 0))
    plane.script = []
    again = Agent(tmp_path, plane)
    again.lane.resend()

    assert plane.got == [1, 2, 1, 2, 3]
    assert again.settled == [(2, [[8, 1]], True)]
    assert again.state.boot == agent.state.boot


def test_an_agent_killed_after_an_acknowledgement_sends_nothing_again(tmp_path: Path) -> None:
    plane = Plane()
    Agent(tmp_path, plane).lane.send(batch())
    again = Agent(tmp_path, plane)
    again.lane.resend()

    assert again.settled == []
    assert again.state.acknowledged == {"live": 1}


@pytest.mark.parametrize("damage", ["", "{", '{"boot": 3', "[]"])
def test_a_state_that_cannot_be_read_is_a_new_one(tmp_path: Path, damage: str) -> None:
    (tmp_path / "state.json").write_text(damage)
    (tmp_path / "live.batch").write_text(damage)

    state = State(str(tmp_path))

    assert len(state.boot) == 16
    assert state.acknowledged == {}
    assert state.left_over("live") is None


def test_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    plane = Plane()
    agent = Agent(tmp_path, plane)
    agent.state._folder = str(tmp_path / "gone")
    agent.lane.send(batch())

    assert plane.got == [1, 2, 3]

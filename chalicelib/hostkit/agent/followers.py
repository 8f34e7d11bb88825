"""Who follows what, and where each of them is: catching up by a backlog, or on the stream that all share.

The control plane says who follows; each answer repeats it where it changed. A follower begins with a backlog, read for
him alone up to where the shared stream was packed to when the reading began. When that is delivered he is `ready`, and
the next batch of the live lane takes him along from exactly there. One who could not keep up goes back to a backlog.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from . import cursor
from .cursor import Position
from .entries import Entry
from .joblogs import JobLog
from .packing import Room, Section
from .shared import SharedStream, Waiting

MOST_QUEUED = 1 << 18  # bytes of one follower's backlog read ahead
PAUSES_S = (0.2, 0.5, 1.0, 2.0)  # of a follower who was too slow, or whose backlog could not be read


class Follower:
    """One who follows a service."""

    def __init__(self, number: int, service: str, start: dict[str, Any]) -> None:
        self.number, self.service, self.start = number, service, start
        self.state = "catching"  # then "ready", then "live"
        self.position: Position | None = None  # delivered; None until his start is looked up
        self.queue: deque[Entry] = deque()
        self.size = 0
        self.reading = 0  # which reading of his backlog the queue is of; a later one makes it worthless
        self.until: Position | None = None  # where he is once the queue is delivered; None while it is being read
        self.in_flight = False
        self.failures = 0
        self.not_before = 0.0

    def text(self) -> str:
        return (self.position or Position()).text()

    def again(self, position: Position | None, pause: float = 0.0) -> None:
        """Read the backlog anew, from there."""
        self.state, self.position, self.until = "catching", position, None
        self.reading += 1
        self.queue.clear()
        self.size = 0
        self.not_before = time.monotonic() + pause

    def pause(self) -> float:
        self.failures += 1
        return PAUSES_S[min(self.failures, len(PAUSES_S)) - 1]


class Followers:
    """All of them. Everything is touched under `turn`."""

    def __init__(self, turn: threading.Condition, places: dict[int, str]) -> None:
        self.turn = turn
        self.version = 0
        self.services: dict[int, Follower] = {}
        self.jobs: dict[int, JobLog] = {}
        self.streams: dict[str, SharedStream] = {}
        self.unseen: set[str] = set()  # services whose containers must be looked at
        self.to_read: deque[Follower] = deque()  # whose backlog waits for somebody to read it
        self.sign_of_life_s = 540.0
        self._places = places  # where they were when the agent before this one ended
        self._waiting = Waiting()
        self._round = 0

    # what the control plane says

    def set(self, rows: list[dict[str, Any]]) -> None:
        wanted = {int(row["number"]): row for row in rows}
        for number in (self.services.keys() | self.jobs.keys()) - wanted.keys():
            self.forget(number)
        for number, row in wanted.items():
            if "job_id" in row:
                log = self.jobs.get(number) or self._add_job(number, row)
                log.over = log.over or bool(row.get("job_over"))
            elif number not in self.services:
                self._add(number, row)
        self._places.clear()
        self.turn.notify_all()

    def forget(self, number: int) -> None:
        self.jobs.pop(number, None)
        follower = self.services.pop(number, None)
        if follower is None:
            return
        follower.reading += 1
        stream = self.streams[follower.service]
        stream.live.discard(number)
        if not any(other.service == follower.service for other in self.services.values()):
            self.streams.pop(follower.service).close()
        self.turn.notify_all()

    def over(self, jobs: Iterable[str]) -> None:
        for log in self.jobs.values():
            if log.job in jobs:
                log.over = True
        self.turn.notify_all()

    # the live lane

    def pack_live(self) -> list[Section]:
        room = Room()
        sections: list[Section] = []
        for stream in self._in_turn(list(self.streams.values())):
            sections += self._of_stream(stream, room)
        for number, log in self._in_turn(list(self.jobs.items())):
            section = log.section(number, room, self.sign_of_life_s)
            sections += [section] if section else []
        return sections

    def settle_live(self, sections: list[Section], behind: dict[int, int]) -> None:
        for section in sections:
            for number in section.to:
                if number in self.jobs:
                    self.jobs[number].delivered(section, behind.get(number))
                elif number in behind and number in self.services:
                    follower = self.services[number]
                    self.streams[follower.service].live.discard(number)
                    self._read_again(follower, cursor.read(section.after(behind[number])))
            stream = self.streams.get(section.of.get("service_id", ""))
            if stream is not None:
                stream.delivered = section.after(len(section.entries))
        self.turn.notify_all()

    def next_look(self) -> float:
        """How long the live lane may sleep, if nothing is written meanwhile."""
        waits = [self.sign_of_life_s - (time.monotonic() - stream.said) for stream in self.streams.values()]
        waits += [log.next_look() for log in self.jobs.values()]
        return max(0.01, min([*waits, 60.0]))

    # the lane of those who catch up

    def pack_backlogs(self) -> list[Section]:
        room = Room()
        behind = [follower for follower in self.services.values() if follower.queue and not follower.in_flight]
        sections: list[Section] = []
        for count, follower in enumerate(self._in_turn(behind)):
            share = Room(-(-room.entries // (len(behind) - count)), -(-room.size // (len(behind) - count)))
            fits = share.fits(follower.queue) or (0 if sections else 1)
            taken = [follower.queue.popleft() for _ in range(fits)]
            if taken:
                room.take(taken)
                follower.size -= sum(len(entry.text) for entry in taken)
                follower.in_flight = True
                sections.append(Section({"service_id": follower.service}, [follower.number], taken, follower.text()))
        if sections:
            self.turn.notify_all()
        return sections

    def settle_backlogs(self, sections: list[Section], behind: dict[int, int]) -> None:
        for section in sections:
            for number in section.to:
                follower = self.services.get(number)
                if follower is None:
                    continue
                follower.in_flight = False
                count = behind.get(number)
                if count is not None:
                    self._read_again(follower, cursor.read(section.after(count)))
                    continue
                follower.failures = 0
                follower.position = cursor.read(section.after(len(section.entries)))
                self.maybe_ready(follower)
        self.turn.notify_all()

    def maybe_ready(self, follower: Follower) -> None:
        """Whether his backlog is delivered: then he may join the others."""
        if follower.state == "catching" and follower.until and not follower.queue and not follower.in_flight:
            follower.state, follower.position = "ready", follower.until
            self.turn.notify_all()

    def failed(self, follower: Follower) -> None:
        """His backlog could not be read to its end; what was read of it is delivered first."""
        if not follower.queue and not follower.in_flight:
            self._read_again(follower, follower.position)
        else:
            follower.not_before = time.monotonic() + PAUSES_S[0]
            self.to_read.append(follower)

    def places(self) -> dict[str, list[int]]:
        """Where everybody is, by cursor."""
        found: dict[str, list[int]] = {}
        for number, follower in self.services.items():
            if follower.state == "live":
                found.setdefault(self.streams[follower.service].delivered, []).append(number)
            elif follower.position is not None:
                found.setdefault(follower.text(), []).append(number)
            elif "cursor" in follower.start:
                found.setdefault(str(follower.start["cursor"]), []).append(number)
        for number, log in self.jobs.items():
            found.setdefault(log.text(), []).append(number)
        for number, place in self._places.items():
            found.setdefault(place, []).append(number)
        return found

    def settle_left_over(self, sections: list[Section], behind: dict[int, int]) -> None:
        """A batch of the agent before this one has been relayed."""
        for section in sections:
            for number in section.to:
                self._places[number] = section.after(behind.get(number, len(section.entries)))

    def _add(self, number: int, row: dict[str, Any]) -> None:
        service = row["service_id"]
        follower = Follower(number, service, row.get("start") or {})
        if number in self._places:
            follower.start = {"cursor": self._places[number]}
        self.services[number] = follower
        if service not in self.streams:
            self.streams[service] = SharedStream(service, self.turn, self._waiting)
            self.unseen.add(service)
        self.to_read.append(follower)

    def _add_job(self, number: int, row: dict[str, Any]) -> JobLog:
        start = {"cursor": self._places[number]} if number in self._places else row.get("start") or {}
        log = self.jobs[number] = JobLog(row["job_id"], start)
        return log

    def _read_again(self, follower: Follower, position: Position | None) -> None:
        follower.again(position, follower.pause())
        self.to_read.append(follower)
        self.turn.notify_all()

    def _of_stream(self, stream: SharedStream, room: Room) -> list[Section]:
        followers = [one for one in self.services.values() if one.service == stream.service]
        joining = self._joining(stream, followers, room)
        self._sign_of_life(stream)
        share = Room(room.entries // (1 + len(joining)), room.size // (1 + len(joining)))
        before, fresh = stream.packed, stream.take(share.fits(stream.fresh))
        sections = []
        if fresh and stream.live:
            sections.append(Section({"service_id": stream.service}, sorted(stream.live), fresh, before))
            room.take(fresh)
        for position, (numbers, kept) in joining.items():
            taken = kept + [entry for entry in fresh if not _has(cursor.read(position), entry)]
            if taken:
                sections.append(Section({"service_id": stream.service}, numbers, taken, position))
                room.take(taken)
            for number in numbers:
                self.services[number].state, self.services[number].failures = "live", 0
                stream.live.add(number)
        if sections:
            stream.said = time.monotonic()
        stream.keep(fresh, wanted=any(one.state != "live" for one in followers))
        return sections

    def _joining(
        self, stream: SharedStream, followers: list[Follower], room: Room
    ) -> dict[str, tuple[list[int], list[Entry]]]:
        """Those who come along from here on, by where they are, and what of the packed they still lack."""
        joining: dict[str, tuple[list[int], list[Entry]]] = {}
        base, packed = cursor.read(stream.base), cursor.read(stream.packed)
        for follower in followers:
            position = follower.position
            if follower.state != "ready" or position is None or position.floor > time.time_ns():
                continue
            place = position.text()
            if place in joining:
                joining[place][0].append(follower.number)
            elif not position.reaches(base):
                self._read_again(follower, position)
            elif all(packed.covers(pair, mark) or not stream.reads(pair[0]) for pair, mark in position.pairs.items()):
                lacking = [entry for entry in stream.kept if not _has(position, entry)]
                if room.holds(lacking):
                    room.take(lacking)
                    joining[place] = ([follower.number], lacking)
                elif room.entries == Room().entries:
                    self._read_again(follower, position)
        return joining

    def _sign_of_life(self, stream: SharedStream) -> None:
        if stream.live and not stream.fresh and time.monotonic() - stream.said >= self.sign_of_life_s:
            stream.say("no new lines")

    def _in_turn(self, things: list[Any]) -> list[Any]:
        """All of them, another one first each time."""
        self._round += 1
        first = self._round % len(things) if things else 0
        return things[first:] + things[:first]


def _has(position: Position, entry: Entry) -> bool:
    """Whether who is there needs this entry no more; what we said to others is none of his."""
    return entry.pair is None or position.covers(entry.pair, entry.mark)

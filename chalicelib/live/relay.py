"""From a host's agent to its followers: each batch once, each follower in order, none held up by another.

Nothing of a stream is kept here. What a follower could not be given in time is told to the agent, which has the logs
and sends it again; where nobody can know whether a message arrived, the connection is ended, and its follower comes
back with the cursor of what it got.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Literal, NotRequired, TypedDict

from chalicelib.domain.following import Entry, Follower, Format, Message, messages, system_entry
from chalicelib.domain.job import Job
from chalicelib.domain.redaction import Redactor
from chalicelib.domain.words import now, parse_time
from chalicelib.live import following
from chalicelib.store.lanes import Batch
from chalicelib.wiring import adapters

# A follower that has not taken its part of a batch by then gets the rest from the catch-up lane, at its own pace.
FOLLOWER_SECONDS = 2.0
# A post that overtakes the answer to `$connect` finds nobody: API Gateway knows the connection only afterwards.
YOUNG_SECONDS = 10
_RETRY_SECONDS = 0.05
_AT_ONCE = 32
_MESSAGES_A_TURN = 25
_seen: dict[str, tuple[int, tuple[Follower, ...]]] = {}


class Section(TypedDict):
    """A piece of one stream, and the numbers of those whom it is for."""

    service_id: NotRequired[str]
    job_id: NotRequired[str]
    to: list[int]
    entries: list[Entry]
    ended: NotRequired[bool]


def relay(
    batch: Batch, sections: Sequence[Section], redactor: Callable[[str], Redactor], followers: Sequence[Follower]
) -> dict[str, Any]:
    """Give each of the host's `followers` its part; `{behind: [[number, entries it has]], gone: [number]}`.

    Raise `Conflict` while an earlier request relays the same batch.
    """
    if not any(section["to"] for section in sections):
        return {"behind": [], "gone": []}
    begun = adapters().lanes.begin(batch)
    if begun.state == "ended":
        return begun.answer or {"behind": [], "gone": []}
    known = {follower.number: follower for follower in followers}
    if begun.state == "abandoned":
        answer = {"behind": [], "gone": _cut(sections, known)}
    else:
        answer = _delivered(sections, known, redactor)
    adapters().lanes.end(batch, answer)
    return answer


def of_host(host_id: str) -> tuple[int, tuple[Follower, ...]]:
    """Who follows what runs there, and a number that rises when that changes."""
    version = adapters().followers.version(host_id)
    known = _seen.get(host_id)
    if known is None or known[0] != version:
        _seen[host_id] = known = (version, tuple(adapters().followers.of_host(host_id, int(time.time()))))
    return known


def follow_set(version: int, followers: Sequence[Follower], known: int) -> dict[str, Any]:
    """What the agent is to follow, if that is not what it knows, and which followed jobs are over."""
    over = sorted({follower.job_id for follower in followers if follower.job_id and _is_over(follower.job_id)})
    told: dict[str, Any] = {"followers_version": version, "jobs_over": over}
    if version != known:
        told["followers"] = [
            {
                "number": follower.number,
                "start": follower.start,
                **({"service_id": follower.service_id} if follower.service_id else {}),
                **({"job_id": follower.job_id, "job_over": follower.job_id in over} if follower.job_id else {}),
            }
            for follower in followers
        ]
    return told


def outcome(job: Job) -> Entry:
    """The last entry of a job's output: how it ended."""
    error = {"code": job.error["code"], "message": job.error["message"]} if job.error else None
    about = {"id": job.id, "status": job.status, "message": job.message, "error": error}
    return system_entry(job.ended_at or now(), f"{job.kind} {job.status}: {job.message}", job=about)


def say(follower: Follower, entry: Entry) -> bool:
    """One entry of our own to one follower; whether it arrived."""
    (message,) = messages([entry], follower.format)
    return adapters().gateway.post(follower.connection_id, message.text) == "sent"


def _delivered(
    sections: Sequence[Section], followers: dict[int, Follower], redactor: Callable[[str], Redactor]
) -> dict[str, Any]:
    parts: list[_Part] = []
    gone: set[int] = set()
    for section in sections:
        subject = section.get("service_id") or section.get("job_id")
        rendered = _Rendered(_cleaned(section, redactor))
        for number in section["to"]:
            follower = followers.get(number)
            if follower is None or follower.subject != subject:
                gone.add(number)
            else:
                parts.append(_Part(follower, rendered))
    if parts:
        _send(parts)
    gone |= {part.follower.number for part in parts if part.state == "gone"}
    behind = [[part.follower.number, part.count] for part in parts if part.state == "behind"]
    ended = {number for section in sections if section.get("ended") for number in section["to"]}
    for part in parts:
        if part.state == "delivered" and part.follower.number in ended and part.follower.job_id:
            end_job(part.follower, adapters().jobs.get(part.follower.job_id))
    return {"behind": behind, "gone": sorted(gone)}


def end_job(follower: Follower, job: Job) -> None:
    """Tell how the job ended, and end the connection."""
    say(follower, outcome(job))
    following.cut(follower)


class _Rendered:
    """A section's messages, made once for all who get them in the same format."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._made: dict[Format, list[Message]] = {}

    def messages(self, form: Format) -> list[Message]:
        if form not in self._made:
            self._made[form] = list(messages(self._entries, form))
        return self._made[form]


class _Part:
    """One follower's messages of a section, on their way; a few at a time, so that all get some of a long batch."""

    def __init__(self, follower: Follower, rendered: _Rendered) -> None:
        self.follower = follower
        self.state: Literal["sending", "delivered", "behind", "gone"] = "sending"
        self.count = 0  # entries that are with the follower
        self._left = deque(rendered.messages(follower.format))

    def send(self, deadline: float) -> None:
        for _ in range(_MESSAGES_A_TURN):
            if not self._left:
                self.state = "delivered"
                return
            if time.monotonic() > deadline:
                self.state = "behind"
                return
            message = self._left[0]
            posted = adapters().gateway.post(self.follower.connection_id, message.text)
            if posted == "sent":
                self.count += message.entries
                self._left.popleft()
            elif posted == "unknown":
                following.cut(self.follower)
                self.state = "gone"
                return
            elif posted == "gone" and not _is_young(self.follower):
                following.forget(following.socket_of(self.follower))
                self.state = "gone"
                return
            else:
                time.sleep(_RETRY_SECONDS)
                return


def _is_young(follower: Follower) -> bool:
    return time.time() - parse_time(follower.connected_at).timestamp() < YOUNG_SECONDS


def _send(parts: Sequence[_Part]) -> None:
    """All of them at once, in turns, until each is where it should be or the time is over."""
    deadline = time.monotonic() + FOLLOWER_SECONDS
    turns: SimpleQueue[_Part] = SimpleQueue()
    for part in parts:
        turns.put(part)

    def work() -> None:
        while True:
            try:
                part = turns.get_nowait()
            except Empty:
                return
            part.send(deadline)
            if part.state == "sending":
                turns.put(part)

    if len(parts) == 1:
        work()
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(parts))) as pool:
        for done in [pool.submit(work) for _ in range(min(_AT_ONCE, len(parts)))]:
            done.result()


def _cut(sections: Sequence[Section], followers: dict[int, Follower]) -> list[int]:
    """A request died with this batch in hand: who got what of it, only they know."""
    numbers = sorted({number for section in sections for number in section["to"]})
    for number in numbers:
        if number in followers:
            following.cut(followers[number])
    return numbers


def _cleaned(section: Section, redactor: Callable[[str], Redactor]) -> list[Entry]:
    """What Compose or a build prints may hold a secret of the service; what its containers print is its own."""
    job_id = section.get("job_id")
    if job_id is None:
        return section["entries"]
    clean = redactor(job_id).clean
    return [{**entry, "message": clean(entry["message"])} for entry in section["entries"]]


_over: set[str] = set()


def _is_over(job_id: str) -> bool:
    if job_id not in _over and adapters().jobs.is_over(job_id):
        if len(_over) > 10_000:  # noqa: PLR2004  jobs are over for good; a process need not remember all
            _over.clear()
        _over.add(job_id)
    return job_id in _over

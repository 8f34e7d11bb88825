"""From a host's agent to its followers: each batch once, each follower in order, none held up by another.

Nothing of a stream is kept here. What a follower could not be given in time is told to the agent, which has the logs
and sends it again; where nobody can know whether a message arrived, the connection is ended, and its follower comes
back with the cursor of what it got.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from chalicelib.domain.following import Entry, Follower, Format, Message, messages, system_entry
from chalicelib.domain.job import Job
from chalicelib.domain.redaction import Redactor
from chalicelib.domain.words import now, parse_time
from chalicelib.live import following
from chalicelib.store.lanes import Batch
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.live")

# A follower that has not taken its part of a batch by then gets the rest from the catch-up lane, at its own pace.
FOLLOWER_SECONDS = 2.0
# A post that overtakes the answer to `$connect` finds nobody: API Gateway knows the connection only afterwards.
YOUNG_SECONDS = 10
_RETRY_SECONDS = 0.05
_AT_ONCE = 32
_seen: dict[str, tuple[int, tuple[Follower, ...]]] = {}


class Section(TypedDict):
    """A piece of one stream, and the numbers of those whom it is for."""

    service_id: NotRequired[str]
    job_id: NotRequired[str]
    to: list[int]
    entries: list[Entry]
    ended: NotRequired[bool]


@dataclass(frozen=True)
class _Delivery:
    """How it went with one follower: `count` entries of the section are with it."""

    follower: Follower
    state: Literal["delivered", "behind", "gone"]
    count: int = 0


def relay(batch: Batch, sections: Sequence[Section], redactor: Callable[[str], Redactor]) -> dict[str, Any]:
    """Give each follower its part; `{behind: [[number, entries it has]], gone: [number]}`.

    Raise `Conflict` while an earlier request relays the same batch.
    """
    if not any(section["to"] for section in sections):
        return {"behind": [], "gone": []}
    begun = adapters().lanes.begin(batch)
    if begun.state == "ended":
        return begun.answer or {"behind": [], "gone": []}
    followers = {follower.number: follower for follower in of_host(batch.host_id)[1]}
    if begun.state == "abandoned":
        answer = {"behind": [], "gone": _cut(sections, followers)}
    else:
        answer = _delivered(sections, followers, redactor)
    adapters().lanes.end(batch, answer)
    return answer


def of_host(host_id: str) -> tuple[int, tuple[Follower, ...]]:
    """Who follows what runs there, and a number that rises when that changes."""
    version = adapters().followers.version(host_id)
    known = _seen.get(host_id)
    if known is None or known[0] != version:
        _seen[host_id] = known = (version, tuple(adapters().followers.of_host(host_id, int(time.time()))))
    return known


def follow_set(host_id: str, known: int) -> dict[str, Any]:
    """What the agent is to follow, if that is not what it knows, and which followed jobs are over."""
    version, followers = of_host(host_id)
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
    work: list[Callable[[], _Delivery]] = []
    gone: set[int] = set()
    for section in sections:
        subject = section.get("service_id") or section.get("job_id")
        rendered = _Rendered(_cleaned(section, redactor))
        for number in section["to"]:
            follower = followers.get(number)
            if follower is None or follower.subject != subject:
                gone.add(number)
            else:
                work.append(lambda follower=follower, rendered=rendered: _sent(follower, rendered))  # type: ignore[misc]
    done = _together(work)
    gone |= {one.follower.number for one in done if one.state == "gone"}
    behind = [[one.follower.number, one.count] for one in done if one.state == "behind"]
    ended = {number for section in sections if section.get("ended") for number in section["to"]}
    for one in done:
        if one.state == "delivered" and one.follower.number in ended and one.follower.job_id:
            end_job(one.follower, adapters().jobs.get(one.follower.job_id))
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


def _sent(follower: Follower, rendered: _Rendered) -> _Delivery:
    count = 0
    deadline = time.monotonic() + FOLLOWER_SECONDS
    for message in rendered.messages(follower.format):
        state = _posted(follower, message.text, deadline)
        if state == "behind":
            return _Delivery(follower, "behind", count)
        if state == "gone":
            return _Delivery(follower, "gone")
        count += message.entries
    return _Delivery(follower, "delivered", count)


def _posted(follower: Follower, text: str, deadline: float) -> Literal["sent", "behind", "gone"]:
    while True:
        if time.monotonic() > deadline:
            return "behind"
        posted = adapters().gateway.post(follower.connection_id, text)
        if posted == "sent":
            return "sent"
        if posted == "unknown":
            following.cut(follower)
            return "gone"
        if posted == "gone" and not _is_young(follower):
            following.forget(following.socket_of(follower))
            return "gone"
        time.sleep(_RETRY_SECONDS)


def _is_young(follower: Follower) -> bool:
    return time.time() - parse_time(follower.connected_at).timestamp() < YOUNG_SECONDS


def _together(work: Sequence[Callable[[], _Delivery]]) -> list[_Delivery]:
    if len(work) <= 1:
        return [act() for act in work]
    with ThreadPoolExecutor(min(_AT_ONCE, len(work))) as pool:
        return list(pool.map(lambda act: act(), work))


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

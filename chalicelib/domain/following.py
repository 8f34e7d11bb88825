"""Who watches what over a WebSocket, from where on, and what the messages that they get are made of."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chalicelib.domain.words import Noun

Format = Literal["entry", "batch"]
Entry = dict[str, Any]

# API Gateway's limits for a WebSocket (quotas page): a frame, which a batch stays within, and a whole message.
FRAME_BYTES = 32 * 1024
MESSAGE_BYTES = 128 * 1024
# API Gateway ends a connection after two hours; what we keep of one goes a little later.
LIFETIME_SECONDS = 7200 + 600


class Follower(Noun):
    """One WebSocket that watches one service or one job's output, from `start` on: `{tail}`, `{since}` or `{cursor}`.

    `number` stands for it in what the host's agent is told; it is unique among those of its host.
    """

    connection_id: str
    number: int
    host_id: str
    token_id: str
    service_id: str | None = None
    job_id: str | None = None
    format: Format = "entry"
    start: dict[str, Any]
    connected_at: str
    told_at: str | None = None  # when it was last told that its host's agent is silent
    expires: int

    @property
    def subject(self) -> str:
        return self.service_id or self.job_id or ""


@dataclass(frozen=True)
class Message:
    """A text that goes out as one message, and how many entries it holds."""

    text: str
    entries: int


def messages(entries: Sequence[Entry], form: Format) -> Iterator[Message]:
    """The messages by which these entries are sent: one each, or arrays of as many as a frame takes.

    In an array only the last entry has its `cursor`, the one that a follower may come back with.
    """
    if form == "entry":
        for entry in entries:
            yield Message(_text(entry), 1)
        return
    parts: list[str] = []
    last: Entry = {}
    size = 2
    for entry in entries:
        text = _text({name: value for name, value in entry.items() if name != "cursor"})
        length = len(text.encode()) + 1
        cursor = len(entry.get("cursor") or "") + 16
        if parts and size + length + cursor > FRAME_BYTES:
            yield _array(parts, last)
            parts, size = [], 2
        parts.append(text)
        last = entry
        size += length
    if parts:
        yield _array(parts, last)


def system_entry(at: str, message: str, **more: Any) -> Entry:
    """What we say ourselves, on a stream of its own."""
    return {"timestamp": at, "stream": "system", "message": message, "container": "", **more}


def _array(parts: list[str], last: Entry) -> Message:
    return Message("[" + ",".join([*parts[:-1], _text(last)]) + "]", len(parts))


def _text(entry: Entry) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))

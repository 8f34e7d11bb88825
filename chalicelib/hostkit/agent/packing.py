"""What one request carries, small enough for every follower's gateway on the way."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

from .entries import Entry

MOST_ENTRIES = 2000
MOST_BYTES = 900_000  # with what surrounds the entries it stays below a megabyte
GZIP = 31  # zlib's word for its format


class Room:
    """What still fits into a batch."""

    def __init__(self, entries: int = MOST_ENTRIES, size: int = MOST_BYTES) -> None:
        self.entries, self.size = entries, size

    def take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.entries -= 1
            self.size -= len(entry.text)

    def holds(self, entries: list[Entry]) -> bool:
        return len(entries) <= self.entries and sum(len(entry.text) for entry in entries) <= self.size

    def fits(self, waiting: Iterable[Entry]) -> int:
        """How many of these, from the first on. One alone always fits into an empty batch."""
        count, size = 0, self.size
        for entry in waiting:
            size -= len(entry.text)
            if count >= self.entries or (size < 0 and (count or self.size < MOST_BYTES)):
                break
            count += 1
        return count


class Section:
    """Entries of one service or job for these followers, who are all at the cursor `before`."""

    def __init__(self, of: dict[str, str], to: list[int], entries: list[Entry], before: str) -> None:
        self.of, self.to, self.entries, self.before = of, to, entries, before
        self.ended = False  # a job's output is read to its end

    def after(self, count: int) -> str:
        """Where a follower is that got the first `count`."""
        return self.entries[count - 1].cursor if count else self.before

    def text(self) -> bytes:
        head = {**self.of, "to": self.to, **({"ended": True} if self.ended else {})}
        opening = json.dumps(head, separators=(",", ":")).encode()[:-1]
        return opening + b',"entries":[' + b",".join(entry.text for entry in self.entries) + b"]}"

    def halves(self) -> tuple[Section, Section]:
        middle = len(self.entries) // 2
        first = Section(self.of, self.to, self.entries[:middle], self.before)
        second = Section(self.of, self.to, self.entries[middle:], first.after(middle))
        second.ended = self.ended
        return first, second


class Batch:
    """One request, the same however often it has to be sent."""

    def __init__(self, lane: str, sequence: int, sections: list[Section], more: dict[str, Any] | None = None) -> None:
        self.lane, self.sequence, self.sections, self.more = lane, sequence, sections, more or {}

    def body(self, agent: dict[str, str], known: int) -> bytes:
        head = {"agent": agent, "known": known, "lane": self.lane, "sequence": self.sequence, **self.more}
        opening = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
        text = opening + b',"sections":[' + b",".join(section.text() for section in self.sections) + b"]}"
        packer = zlib.compressobj(1, zlib.DEFLATED, GZIP)
        return packer.compress(text) + packer.flush()

    def halves(self) -> tuple[Batch, Batch] | None:
        """Two that are smaller, or None where there is nothing left to divide."""
        if len(self.sections) > 1:
            middle = len(self.sections) // 2
            first, second = self.sections[:middle], self.sections[middle:]
        elif self.sections and len(self.sections[0].entries) > 1:
            one, other = self.sections[0].halves()
            first, second = [one], [other]
        else:
            return None
        return Batch(self.lane, self.sequence, first), Batch(self.lane, self.sequence + 1, second, self.more)


def unpacked(body: bytes, befores: list[str]) -> Batch:
    """A batch as it was sent, from what was kept of it."""
    told = json.loads(zlib.decompress(body, GZIP))
    sections = []
    for one, before in zip(told["sections"], befores):  # noqa: B905 - python 3.9 has no `strict`
        of = {name: one[name] for name in ("service_id", "job_id") if name in one}
        section = Section(of, one["to"], [_entry(entry) for entry in one["entries"]], before)
        section.ended = bool(one.get("ended"))
        sections.append(section)
    more = {name: told[name] for name in ("stats", "events", "tails") if name in told}
    return Batch(told["lane"], told["sequence"], sections, more)


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode(), fields["cursor"])

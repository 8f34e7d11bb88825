"""Batches of log lines, each relayed once however often it is sent.

An agent sends its batches one after the other in each of its lanes, and the same again while it has no answer. A batch
is begun and ended by conditional writes, so that a repeat finds out what became of the first: ended, still at work, or
cut off in the middle by a crash.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from chalicelib.domain.errors import Conflict
from chalicelib.store.table import Item, Key, Lost, Table, update

# The function that relays is ended at 29 s: what began earlier than this is not at work any more.
ABANDONED_SECONDS = 35


@dataclass(frozen=True)
class Batch:
    host_id: str
    boot: str
    lane: str
    sequence: int


@dataclass(frozen=True)
class Begun:
    """`new`: relay it. `ended`: it was, with this answer. `abandoned`: nobody knows how far it came."""

    state: Literal["new", "ended", "abandoned"]
    answer: dict[str, Any] | None = None


class LaneStore:
    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def begin(self, batch: Batch) -> Begun:
        """Take the batch in hand. Raise `Conflict` while an earlier request is relaying it."""
        moment = int(self._clock())
        try:
            self._table.write(
                update(
                    _key(batch),
                    {"boot": batch.boot, "seq": batch.sequence, "begun_at": moment, "is_over": False},
                    "attribute_not_exists(pk) OR boot <> :boot OR (seq < :next AND is_over = :over)",
                    boot=batch.boot,
                    next=batch.sequence,
                    over=True,
                )
            )
        except Lost:
            return self._taken(batch, moment)
        return Begun("new")

    def end(self, batch: Batch, answer: dict[str, Any]) -> None:
        """It was relayed; this is what a repeat is answered."""
        self._table.write(
            update(
                _key(batch),
                {"is_over": True, "answer": answer},
                "boot = :boot AND seq = :sequence",
                boot=batch.boot,
                sequence=batch.sequence,
            )
        )

    def relayed(self, host_id: str) -> dict[str, dict[str, Any]]:
        """The last batch of each lane that was relayed whole: `{lane: {boot, sequence}}`."""
        return {
            item["sk"].removeprefix("LANE#"): {
                "boot": item["boot"],
                "sequence": int(item["seq"]) if item["is_over"] else int(item["seq"]) - 1,
            }
            for item in self._table.query(f"AGENT#{host_id}", "LANE#")
        }

    def _taken(self, batch: Batch, moment: int) -> Begun:
        item = self._table.get(_key(batch)) or {}
        if item.get("seq", 0) > batch.sequence or (item.get("seq") == batch.sequence and item.get("is_over")):
            return Begun("ended", _answer(item) if item.get("seq") == batch.sequence else None)
        if item.get("begun_at", 0) + ABANDONED_SECONDS > moment:
            raise Conflict("an earlier request is at work on this lane; send it again in a moment")
        return self._taken_over(batch, item, moment)

    def _taken_over(self, batch: Batch, item: Item, moment: int) -> Begun:
        """What lies there was left in the middle, this batch or the one before it."""
        try:
            self._table.write(
                update(
                    _key(batch),
                    {"boot": batch.boot, "seq": batch.sequence, "begun_at": moment, "is_over": False},
                    "seq = :seen AND begun_at = :at AND is_over = :over",
                    seen=item["seq"],
                    at=item["begun_at"],
                    over=False,
                )
            )
        except Lost as error:
            raise Conflict("an earlier request is at work on this lane; send it again in a moment") from error
        return Begun("abandoned")


def _answer(item: Item) -> dict[str, Any]:
    return {
        "behind": [[int(number), int(count)] for number, count in item.get("answer", {}).get("behind", [])],
        "gone": [int(number) for number in item.get("answer", {}).get("gone", [])],
    }


def _key(batch: Batch) -> Key:
    return (f"AGENT#{batch.host_id}", f"LANE#{batch.lane}")

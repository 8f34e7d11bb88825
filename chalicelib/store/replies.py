"""Answers kept for requests that are repeated under the same Idempotency-Key.

A key is taken by one conditional write before anything is done, so of many equal requests at once one gets it. The
claim ends by itself, later than any function that holds it can run: a crash does not block the key for a day. What is
kept, is kept under that claim alone, so one who comes late changes nothing.

What a request makes is bound to its key in the very transaction that makes it. So a crash after that leaves a key that
is not free: a repeat is told what was made, and makes nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.words import new_id
from chalicelib.store.table import Key, Lost, Table, delete, put, update

# The API's function is ended at 29 s.
CLAIM_SECONDS = 60
KEPT_SECONDS = 86_400


@dataclass(frozen=True)
class Claim:
    """The right to carry out a request, and to say what its answer was."""

    token_id: str
    key: str
    id: str


@dataclass(frozen=True)
class Held:
    """Who has the key: a request with this fingerprint.

    `sealed` is its answer; None where that could not be kept. `made` is what it made, by kind, where it ended before it
    could answer.
    """

    fingerprint: str
    is_over: bool
    sealed: bytes | None
    made: dict[str, str] | None = None


_claim: ContextVar[Claim | None] = ContextVar("claim", default=None)


@contextmanager
def carried_out_under(claim: Claim) -> Iterator[None]:
    """What is made in this block is made under this claim."""
    before = _claim.set(claim)
    try:
        yield
    finally:
        _claim.reset(before)


def bound(asked_by: str | None = None, **made: str) -> list[dict[str, Any]]:
    """The write that binds what is made to the key it is asked for under, for the transaction that makes it.

    None outside of such a request, nor for what somebody else than its caller (`asked_by`, a token's id) has made.
    """
    claim = _claim.get()
    if claim is None or asked_by not in (None, claim.token_id):
        return []
    changes = {"made": made, "expires": int(time.time()) + KEPT_SECONDS}
    return [update(_key(claim.token_id, claim.key), changes, "claim = :claim", claim=claim.id)]


class ReplyStore:
    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def take(self, token_id: str, key: str, fingerprint: str) -> Claim | None:
        """The key for this request; None if another has it."""
        claim, moment = Claim(token_id, key, new_id("claim")), int(self._clock())
        until = moment + CLAIM_SECONDS
        item = {"fingerprint": fingerprint, "claim": claim.id, "claimed_until": until, "expires": until}
        try:
            self._table.write(
                put(_key(token_id, key), item, "attribute_not_exists(pk) OR expires < :moment", moment=moment)
            )
        except Lost:
            return None
        return claim

    def find(self, token_id: str, key: str) -> Held | None:
        """Who has the key now; None if it is free."""
        item = self._table.get(_key(token_id, key))
        if item is None or item["expires"] < int(self._clock()):
            return None
        over, has_died = bool(item.get("is_over")), item.get("claimed_until", 0) < int(self._clock())
        made = item.get("made") if has_died and not over else None
        return Held(item["fingerprint"], over, item.get("sealed"), made)

    def keep(self, claim: Claim, sealed: bytes | None) -> None:
        """The request is over, and this was its answer. Nothing if the claim ended."""
        over = {"is_over": True, "expires": int(self._clock()) + KEPT_SECONDS}
        changes = over if sealed is None else {**over, "sealed": sealed}
        self._as_holder(update(_key(claim.token_id, claim.key), changes, "claim = :claim", claim=claim.id))

    def release(self, claim: Claim) -> None:
        """The key is free again, as if the request had never come."""
        self._as_holder(delete(_key(claim.token_id, claim.key), "claim = :claim", claim=claim.id))

    def _as_holder(self, write: dict[str, Any]) -> None:
        try:
            self._table.write(write)
        except Lost:
            return  # it took longer than a claim lasts, and the key is another's now


def _key(token_id: str, key: str) -> Key:
    return (f"REPLY#{token_id}#{key}", "REPLY")

"""Idempotency-Key: of equal requests under one key, one is carried out, and all get its answer.

What is kept is sealed, all of it: the answer to POST /tokens holds a token's text, and a list of which answers are
secret would one day lack one. A fault of ours (5xx) is not an answer to keep: the key is free again, and a repeat is
carried out. If the process dies in between, the key is free after a minute, unless something was made by then, which is
bound to the key in its own transaction: a repeat is told what that is, and that its answer is lost.
"""

import hashlib
import json
import logging
import random
import time
import zlib
from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import Conflict, Unavailable, ValidationFailed
from chalicelib.domain.reply import Reply
from chalicelib.domain.words import finding
from chalicelib.store.replies import Claim, Held, carried_out_under
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.api")

HEADER = "Idempotency-Key"
WAIT_SECONDS = 20
_MOST_CHARACTERS = 255
# A DynamoDB item ends at 400 KB.
_MOST_KEPT_BYTES = 350_000


def once(token_id: str, key: str, fingerprint: str, act: Callable[[], Reply]) -> Reply:
    """What `act` answers, or answered to an equal request under this key.

    Raise `ValidationFailed` for a bad key, `Conflict` where it was used for another request or is still at work.
    """
    _judge(key)
    while (claim := adapters().replies.take(token_id, key, fingerprint)) is None:
        held = _awaited(token_id, key, fingerprint)
        if held:
            return _opened(held, token_id)
    return _carried_out(claim, act)


def fingerprint(method: str, path: str, query: dict[str, Any], body: bytes) -> str:
    """The same for equal requests."""
    asked = json.dumps([method, path, query, hashlib.sha256(body).hexdigest()], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _judge(key: str) -> None:
    if not 1 <= len(key) <= _MOST_CHARACTERS or not key.isascii() or not key.isprintable():
        message = f"must be 1 to {_MOST_CHARACTERS} printable ASCII characters"
        raise ValidationFailed(f"{HEADER} {message}", [finding(HEADER, "bad-key", message)])


def _carried_out(claim: Claim, act: Callable[[], Reply]) -> Reply:
    with carried_out_under(claim):
        reply = act()
    try:
        if reply.status >= 500:  # noqa: PLR2004
            adapters().replies.release(claim)
        else:
            adapters().replies.keep(claim, _sealed(reply, claim.token_id))
    except Unavailable as error:
        # What was done is done, and this caller shall know; the key is free again when its claim ends.
        log.warning("an answer was not kept under its key: %s", error.message)
    return reply


def _sealed(reply: Reply, token_id: str) -> bytes | None:
    """None where it cannot be kept: a repeat then learns that the request was carried out, and no more."""
    try:
        sealed = adapters().sealer.seal(zlib.compress(reply.model_dump_json().encode()), token_id)
    except Unavailable as error:
        log.warning("an answer was not kept under its key: %s", error.message)
        return None
    return sealed if len(sealed) <= _MOST_KEPT_BYTES else None


def _awaited(token_id: str, key: str, fingerprint: str) -> Held | None:
    """Who has the key, once that request is over; None if the key is free again."""
    deadline, pause = time.monotonic() + WAIT_SECONDS, 0.05
    while held := adapters().replies.find(token_id, key):
        if held.fingerprint != fingerprint:
            raise Conflict(f"this {HEADER} was used for another request; choose a new one")
        if held.is_over:
            return held
        if held.made:
            message = f"the request with this {HEADER} was carried out, but Slipway died before it could answer"
            raise Conflict(message, dict(held.made))
        if time.monotonic() > deadline:
            raise Conflict(f"the first request with this {HEADER} is still in progress; ask again later")
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  nothing secret: many wait, and not in step
        pause = min(pause * 1.5, 0.5)
    return None


def _opened(held: Held, token_id: str) -> Reply:
    if held.sealed is None:
        raise Conflict(f"the request with this {HEADER} was carried out, but its answer was not kept")
    reply = Reply.model_validate_json(zlib.decompress(adapters().sealer.unseal(held.sealed, token_id)))
    return reply.model_copy(update={"replayed": True})

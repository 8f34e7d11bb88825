"""The lanes to the control plane: each sends one batch after the other, and a batch until it is acknowledged."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from .packing import Batch
from .post import Answer, Connection, Unanswered
from .state import State

BATCHES = "/api/agent/batches"
OK, UNAUTHORIZED, BEING_RELAYED, TOO_LARGE, REFUSED = 200, 401, 409, 413, 422
BEING_RELAYED_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
REVOKED_PAUSE_S, LONGEST_REVOKED_S = 30.0, 300.0

_log = logging.getLogger("agent")


class Pauses:
    """Longer and longer, never twice the same, so that a thousand agents do not come back at once."""

    def __init__(self, first: float = FIRST_PAUSE_S, longest: float = LONGEST_PAUSE_S) -> None:
        self._first, self._longest, self._next = first, longest, first

    def next(self) -> float:
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - a pause needs no secrecy

    def reset(self) -> None:
        self._next = self._first


class Lane(threading.Thread):
    """One lane. `pack` waits for something to send; `settle` is told what became of it."""

    def __init__(
        self,
        name: str,
        state: State,
        connect: Callable[[], Connection],
        pack: Callable[[], tuple[list[Any], dict[str, Any]]],
        settle: Callable[[Batch, dict[str, Any], bool], None],
        describe: Callable[[], tuple[dict[str, str], int]],
    ) -> None:
        super().__init__(name=f"lane {name}", daemon=True)
        self.lane = name
        self._state, self._connect, self._pack, self._settle, self._describe = state, connect, pack, settle, describe
        self._connection = connect()
        self._rest: list[Batch] = []  # of a batch that was too large
        self._pauses, self._revoked = Pauses(), Pauses(REVOKED_PAUSE_S, LONGEST_REVOKED_S)

    def run(self) -> None:
        while True:
            self.send(self._next())

    def resend(self) -> None:
        """What was on its way when the agent before this one ended."""
        left = self._state.left_over(self.lane)
        if left is not None:
            batch, body = left
            self._settle(batch, self._delivered(batch, body, halve=False), True)

    def send(self, batch: Batch) -> None:
        agent, known = self._describe()
        body = batch.body(agent, known)
        self._state.sending(batch, body)
        answer = self._delivered(batch, body, halve=True)
        if answer:
            self._settle(batch, {**answer, "asked_with": known}, False)

    def _next(self) -> Batch:
        if self._rest:
            return self._rest.pop(0)
        sections, more = self._pack()
        return Batch(self.lane, self._state.acknowledged.get(self.lane, 0) + 1, sections, more)

    def _delivered(self, batch: Batch, body: bytes, *, halve: bool) -> dict[str, Any]:
        """The answer, however long it takes; nothing where the batch was divided instead."""
        self._pauses.reset()
        self._revoked.reset()
        while True:
            try:
                answer = self._connection.post(BATCHES, body)
                if answer.status == OK:
                    return answer.json()
            except Unanswered as trouble:
                _log.info("%s %d: no answer: %s", self.lane, batch.sequence, trouble)
                time.sleep(self._pauses.next())
                continue
            if answer.status in (TOO_LARGE, REFUSED):
                _log.error("%s %d was refused: %d %r", self.lane, batch.sequence, answer.status, answer.body[:300])
                if not halve or not self._divide(batch):
                    return {"refused": True}  # it can never be delivered
                return {}
            self._wait(batch, answer)

    def _divide(self, batch: Batch) -> bool:
        halves = batch.halves()
        if halves:
            self._rest = [*halves, *self._rest]
            for number, part in enumerate(self._rest):
                part.sequence = batch.sequence + number
        return bool(halves)

    def _wait(self, batch: Batch, answer: Answer) -> None:
        if answer.status == BEING_RELAYED:
            time.sleep(BEING_RELAYED_S)
            return
        _log.info("%s %d: %d %r", self.lane, batch.sequence, answer.status, answer.body[:200])
        if answer.status == UNAUTHORIZED:
            time.sleep(self._revoked.next())
            self._connection.close()
            self._connection = self._connect()  # `check` may have put another token there
        else:
            time.sleep(self._pauses.next())

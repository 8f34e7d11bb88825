"""The list of services: packed into shards, kept decoded in the process, and written with the services themselves.

Any page, order, filter, search and total is a question about all services, so all rows are at hand: a reader asks for
the shards' versions (one read unit), and fetches only shards that changed. A row changes in its service's transaction,
on the condition that its shard is the version the row was put into. Losing that race is no conflict of the service's:
it is tried again here, and only what the service itself lost is told to the caller.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.listing import Listing, Row
from chalicelib.store import shards
from chalicelib.store.shards import SHARDS, Shard
from chalicelib.store.table import Lost, Table

_ATTEMPTS = 20
_LONGEST_PAUSE_SECONDS = 0.3


class Directory:
    """One a process: what it has read stays decoded. Any number of threads may use it."""

    def __init__(self, table: Table, attempts: int = _ATTEMPTS) -> None:
        self._table = table
        self._attempts = attempts
        self._held: dict[int, Shard] = {}
        self._listing = Listing()
        self._keeping = threading.Lock()
        self._look = Together(self._fetch_what_changed)
        # Threads of one process take turns at a shard; only against other processes is a race ever lost.
        self._turns = [threading.Lock() for _ in range(SHARDS)]

    def listing(self) -> Listing:
        """Every service with a row; whatever was written before the call is in it."""
        self._look.done_for_me()
        return self._listing

    def commit(self, service_id: str, row: Row | None, writes: Sequence[dict[str, Any]]) -> None:
        """All of `writes` together with the service's row (None: no more), or nothing.

        Raise `Lost` with the numbers of those of `writes` whose conditions failed.
        """
        number = shards.number_of(service_id)
        for attempt in range(self._attempts):
            time.sleep(_pause(attempt))
            with self._turns[number]:
                shard = shards.read(self._table, number).changed(service_id, row)
                try:
                    self._table.transact(*writes, *shard.writes())
                except Lost as error:
                    failed = tuple(place for place in error.failed if place < len(writes))
                    if failed:
                        raise Lost(error.message, failed) from error
                    continue  # another service of this shard was written meanwhile
                self._keep([shard])
                return
        raise Unavailable("very many services are changing at once; try again")

    def _fetch_what_changed(self) -> None:
        listed = shards.listed_versions(self._table)
        held = self._held
        behind = [number for number, version in listed.items() if number not in held or held[number].version < version]
        if not behind:
            return
        # Half the price, and nearly always the newest; a replica that lags behind the version just read is passed over.
        found = shards.read_many(self._table, behind, consistent=False)
        late = [number for number in behind if number not in found or found[number].version < listed[number]]
        if late:
            found |= shards.read_many(self._table, late, consistent=True)
        self._keep(found.values())

    def _keep(self, found: Iterable[Shard]) -> None:
        """Hold each shard under the version it came with, so that an old one is fetched again, never taken for new."""
        with self._keeping:
            newer = {
                shard.number: shard
                for shard in found
                if shard.number not in self._held or self._held[shard.number].version < shard.version
            }
            if newer:
                self._held = {**self._held, **newer}
                self._listing = Listing(row for shard in self._held.values() for row in shard.rows.values())


class Together:
    """Work that threads share: whoever comes while it is done waits for the next time, which serves all who waited."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._begun = 0
        self._done = 0
        self._at_work = False
        self.waiting = 0

    def done_for_me(self) -> None:
        """Return once the work was begun after this call, and done. What it raises reaches only who did it."""
        if turn := self._my_turn():
            done = self._done
            try:
                self._work()
                done = turn
            finally:
                self._over(done)

    def _my_turn(self) -> int | None:
        """The number of the turn to do now; None when another thread did one that serves."""
        with self._changed:
            serves = self._begun + 1
            self.waiting += 1
            self._changed.wait_for(lambda: self._done >= serves or not self._at_work)
            self.waiting -= 1
            if self._done >= serves:
                return None
            self._at_work = True
            self._begun += 1
            return self._begun

    def _over(self, done: int) -> None:
        with self._changed:
            self._at_work = False
            self._done = done
            self._changed.notify_all()


def _pause(attempt: int) -> float:
    return random.uniform(0, min(0.01 * 2**attempt, _LONGEST_PAUSE_SECONDS)) if attempt else 0  # noqa: S311

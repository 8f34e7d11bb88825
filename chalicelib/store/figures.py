"""What was last measured of each service, in items of its own, so that it never contends with a deploy.

A list shows the figures of a hundred services at once, and is asked for again and again. So it takes what this process
read or wrote within two seconds as it is, and reads only the rest: half a read unit a row.
"""

import time
from collections.abc import Mapping, Sequence

from chalicelib.domain.service import Observation
from chalicelib.store.records import attributes
from chalicelib.store.table import Key, Table, put

_REMEMBERED_SECONDS = 2.0
_MOST_REMEMBERED = 20_000

Pair = tuple[str, str]  # host id, service id


class Figures:
    """Any number of threads may use it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._remembered: dict[Pair, tuple[float, Observation | None]] = {}

    def of(self, pairs: Sequence[Pair], *, consistent: bool = True) -> dict[str, Observation]:
        """By service id: a read unit each, or half a one for what may be a moment old."""
        found = self._table.get_many([_key(pair) for pair in pairs], consistent=consistent)
        return {key[1]: Observation.model_validate(item) for key, item in found.items()}

    def recent(self, pairs: Sequence[Pair]) -> dict[str, Observation]:
        """By service id, as they are or were two seconds ago."""
        since = time.monotonic() - _REMEMBERED_SECONDS
        known = {pair: kept[1] for pair in pairs if (kept := self._remembered.get(pair)) and kept[0] >= since}
        unknown = [pair for pair in pairs if pair not in known]
        if unknown:
            moment = time.monotonic()
            found = self.of(unknown, consistent=False)
            read = {pair: found.get(pair[1]) for pair in unknown}
            self._remember(moment, read)
            known |= read
        return {pair[1]: seen for pair, seen in known.items() if seen}

    def keep(self, host_id: str, observations: Mapping[str, Observation]) -> None:
        for service_id, seen in observations.items():
            self._table.write(put(_key((host_id, service_id)), attributes(seen)))
        self._remember(time.monotonic(), {(host_id, service_id): seen for service_id, seen in observations.items()})

    def _remember(self, moment: float, seen: Mapping[Pair, Observation | None]) -> None:
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered = {}
        for pair, observation in seen.items():
            kept = self._remembered.get(pair)
            if kept is None or kept[0] <= moment:  # what was written since this was read is the newer
                self._remembered[pair] = (moment, observation)


def _key(pair: Pair) -> Key:
    return (f"OBSERVED#{pair[0]}", pair[1])

"""The list of all services as it stood at one moment: rows in any order, narrowed to what was asked for."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

Row = Mapping[str, Any]


class Listing:
    """Rows, never changed; many threads may read one. An order is worked out when first asked for, and then kept."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows: Sequence[Row] = sorted(rows, key=itemgetter("id"))
        self._ordered: dict[str, Sequence[Row]] = {"id": self.rows}

    def by(self, field: str, *, descending: bool = False) -> Sequence[Row]:
        """Every row in the order of `field`; equal ones in the order of their ids."""
        if field not in self._ordered:
            # By id already, and a stable sort leaves it so: no pair is built for each row.
            self._ordered[field] = sorted(self.rows, key=itemgetter(field))
        ordered = self._ordered[field]
        return ordered[::-1] if descending else ordered


def narrowed(rows: Sequence[Row], search: str | None = None, **wanted: str | None) -> Sequence[Row]:
    """Rows whose fields equal what is `wanted` (None: anything), and whose name has `search` in it."""
    for field, value in wanted.items():
        if value is not None:
            rows = [row for row in rows if row[field] == value]
    if search:
        part = search.lower()
        rows = [row for row in rows if part in row["name"]]
    return rows

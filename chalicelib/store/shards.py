"""A shard of the service list as the table holds it: compressed rows with their own version, and that version again
in a small item, which it shares with other shards so that all versions are read at once.

Rows are kept by column: values that resemble each other stand together, which compresses best (about 50 bytes a row),
and a shard written before a field existed is read with nothing in it.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.listing import Row
from chalicelib.store.table import Item, Key, Table, put, update

# 10,000 services make shards of 6 to 9 KB: at most one and a half read units, and about twenty write units a change.
# An item ends at 400 KB. After another number was chosen, the list must be rebuilt.
SHARDS = 64
# Two shards whose versions share an item cannot be written in the same instant: one of them is tried again. More items
# would make that rarer, and each reading of all versions dearer.
_VERSION_ITEMS = 8
_VERSIONS = "DIR"
_ROWS = "ROWS"


@dataclass(frozen=True)
class Shard:
    """Rows by service id. Version 0: there is none yet. `before` is the version that this one is to replace."""

    number: int
    version: int = 0
    rows: Mapping[str, Row] = field(default_factory=dict)
    before: int = 0

    def changed(self, service_id: str, row: Row | None) -> "Shard":
        """The next version, with `row` in it; None takes the service out."""
        rows = {other: kept for other, kept in self.rows.items() if other != service_id}
        return self.with_rows(rows if row is None else {**rows, service_id: row})

    def with_rows(self, rows: Mapping[str, Row], above: int = 0) -> "Shard":
        """The next version, which is also above `above`."""
        return Shard(self.number, max(self.version, above) + 1, rows, self.version)

    def writes(self) -> list[dict[str, Any]]:
        """The two writes that store this version in place of the one before."""
        stored = {"version": self.version, "packed": pack(self.rows.values())}
        return [
            put(_key(self.number), stored, "version = :before", before=self.before)
            if self.before
            else put(_key(self.number), stored, "attribute_not_exists(pk)"),
            update(_versions_key(self.number), {f"v{self.number:03d}": self.version}),
        ]


class DamagedShard(Unavailable):
    """A shard that cannot be read; the services themselves are whole, and the list can be rebuilt from them."""

    def __init__(self, number: int, version: int) -> None:
        super().__init__(f"shard {number} of the service list is damaged; the list must be rebuilt")
        self.without_rows = Shard(number, version)


def number_of(service_id: str) -> int:
    return zlib.crc32(service_id.encode()) % SHARDS


def read(table: Table, number: int) -> Shard:
    """The shard as it is now. Raise `DamagedShard` if its rows cannot be read."""
    item = table.get(_key(number))
    return _shard(number, item) if item else Shard(number)


def read_many(table: Table, numbers: Iterable[int], *, consistent: bool) -> dict[int, Shard]:
    """Those that there are. Each is of the version it says, which may be another than the one last listed."""
    keys = {_key(number): number for number in numbers}
    found = table.get_many(list(keys), consistent=consistent)
    return {keys[key]: _shard(keys[key], item) for key, item in found.items()}


def listed_versions(table: Table) -> dict[int, int]:
    """The version of every shard, by number: one read unit, as long as they fit in 4 KB."""
    return {
        int(name[1:]): version
        for item in table.query(_VERSIONS)
        for name, version in item.items()
        if name.startswith("v")
    }


def pack(rows: Iterable[Row]) -> bytes:
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    names = dict.fromkeys(name for row in ordered for name in row)
    columns = {name: [row.get(name) for row in ordered] for name in names}
    return zlib.compress(json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode())


def unpack(packed: bytes) -> dict[str, Row]:
    columns = json.loads(zlib.decompress(packed))
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return {row["id"]: row for row in rows}


def _shard(number: int, item: Item) -> Shard:
    try:
        return Shard(number, item["version"], unpack(item["packed"]))
    except (zlib.error, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedShard(number, item["version"]) from error


def _versions_key(number: int) -> Key:
    return (_VERSIONS, f"{number % _VERSION_ITEMS:02d}")


def _key(number: int) -> Key:
    return (f"{_VERSIONS}#{number:03d}", _ROWS)

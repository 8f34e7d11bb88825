"""The audit trail: an item a request, by day; begun before anything is done, and told once how it ended.

A crash between a write and its line would leave a change that nobody is recorded for. So the line comes first: one that
was begun and has no status says that the request may have been carried out. Nothing here changes or deletes a line; the
table drops it when its time is over.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from chalicelib.domain.audit import AuditEntry
from chalicelib.domain.words import parse_time, timestamp
from chalicelib.store.records import attributes
from chalicelib.store.table import Key, Lost, Table, put

_DAY = timedelta(days=1)
_AFTER = "$"  # sorts after the # that follows a time in a key


class AuditStore:
    def __init__(self, table: Table, days_kept: int) -> None:
        self._table = table
        self._kept = timedelta(days=days_kept)

    def begin(self, entry: AuditEntry) -> None:
        """Say that this is about to be done."""
        self._table.write(put(_key(entry), self._stored(entry), "attribute_not_exists(pk)"))

    def end(self, entry: AuditEntry) -> None:
        """Say how it ended, whether or not it was begun. A line that has an end keeps it."""
        try:
            self._table.write(put(_key(entry), self._stored(entry), "attribute_not_exists(#status)"))
        except Lost:
            return

    def page(
        self, since: datetime, until: datetime, page: int, per_page: int, **equal: str
    ) -> tuple[list[AuditEntry], int]:
        """One page of what was asked from `since` to `until`, newest first, and how much that is in all.

        `equal` are values that its lines' fields have: token_id, object_id, method.

        Every line of those days is counted: about a read unit for 20 of them.
        """
        since = max(since, datetime.now(UTC) - self._kept)
        total, skip, found = 0, (page - 1) * per_page, list[AuditEntry]()
        for day, first, last in _days(since, until):
            count = self._table.count_between(day, first, last, **equal)
            total += count
            if skip < count and len(found) < per_page:
                items = self._table.between(day, first, last, **equal)
                wanted = islice(items, skip, skip + per_page - len(found))
                found += [AuditEntry.model_validate(item) for item in wanted]
            skip = max(0, skip - count)
        return found, total

    def _stored(self, entry: AuditEntry) -> dict[str, object]:
        return {**attributes(entry), "expires": int((parse_time(entry.at) + self._kept).timestamp())}


def _key(entry: AuditEntry) -> Key:
    return (f"AUDIT#{entry.at[:10]}", f"{entry.at}#{entry.id}")


def _days(since: datetime, until: datetime) -> Iterator[tuple[str, str, str]]:
    """The partition of each day, the last one first, with the sort keys between which its lines are wanted."""
    day = until
    while day.date() >= since.date():
        yield f"AUDIT#{day:%Y-%m-%d}", timestamp(since), timestamp(until) + _AFTER
        day -= _DAY

"""Nouns that live alone under one key: hosts, customers, tokens, the operator's own templates."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

from chalicelib.domain.errors import Changed, NotFound
from chalicelib.domain.panel import Customer, Host, Token
from chalicelib.store.replies import bound
from chalicelib.store.table import Lost, Table, delete, put

Record = TypeVar("Record", Host, Customer, Token)


class Records(Generic[Record]):
    """All records of one kind in one partition: there are few, and they are listed whole."""

    def __init__(self, table: Table, partition: str, noun: type[Record], word: str) -> None:
        self._table = table
        self._partition = partition
        self._noun: type[Record] = noun
        self._word = word

    def add(self, record: Record) -> None:
        new = put(self._key(record.id), attributes(record), "attribute_not_exists(pk)")
        self._table.transact(new, *bound(**{f"{self._word}_id": record.id}))

    def get(self, record_id: str) -> Record:
        """Raise `NotFound` if there is none."""
        item = self._table.get(self._key(record_id))
        if item is None:
            raise NotFound(f"no such {self._word}")
        return self._noun.model_validate(item)

    def glance(self, record_id: str) -> Record:
        """As `get`, at half the price, and perhaps as it was a moment ago."""
        item = self._table.get(self._key(record_id), consistent=False)
        return self._noun.model_validate(item) if item else self.get(record_id)  # it may be that new

    def all(self) -> list[Record]:
        return [self._noun.model_validate(item) for item in self._table.query(self._partition)]

    def change(self, record: Record, **changes: Any) -> Record:
        """Save `record` with `changes`; raise `Changed` if someone changed it since it was read."""
        version = getattr(record, "version", None)
        if version is None:
            changed = record.model_copy(update=changes)
            self._table.write(put(self._key(record.id), attributes(changed), "attribute_exists(pk)"))
            return changed
        changed = record.model_copy(update={**changes, "version": version + 1})
        try:
            self._table.write(put(self._key(record.id), attributes(changed), "version = :seen", seen=version))
        except Lost as error:
            raise Changed(f"the {self._word} was changed meanwhile; read it again") from error
        return changed

    def remove(self, record: Record) -> None:
        """Forget `record`; raise `Changed` if someone changed it since it was read. One that is gone is no error."""
        version = getattr(record, "version", None)
        if version is None:
            self._table.write(delete(self._key(record.id)))
            return
        condition = "attribute_not_exists(pk) OR version = :seen"
        try:
            self._table.write(delete(self._key(record.id), condition, seen=version))
        except Lost as error:
            raise Changed(f"the {self._word} was changed meanwhile; read it again") from error

    def _key(self, record_id: str) -> tuple[str, str]:
        return (self._partition, record_id)


def attributes(noun: Any) -> Mapping[str, Any]:
    """A noun's fields as DynamoDB takes them: tuples become lists, nulls are left out by the table."""
    return {name: _listed(value) for name, value in noun.model_dump().items()}


def _listed(value: Any) -> Any:
    if isinstance(value, float):  # DynamoDB takes no floats; only what a host reports about an error may hold one
        return Decimal(str(value))
    if isinstance(value, (list, tuple)):
        return [_listed(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _listed(inner) for name, inner in value.items()}
    return value

"""Hosts. A host's name is an item of its own, as a service's is: of two that want it at once, one gets it."""

from typing import Any

from chalicelib.domain.errors import Changed, Conflict
from chalicelib.domain.panel import Host
from chalicelib.store.records import Records, attributes
from chalicelib.store.replies import bound
from chalicelib.store.table import Key, Lost, Table, delete, put


class HostStore(Records[Host]):
    def __init__(self, table: Table) -> None:
        super().__init__(table, "HOSTS", Host, "host")

    def add(self, record: Host) -> None:
        """Raise `Conflict` if the name is taken."""
        new = put(self._key(record.id), attributes(record), "attribute_not_exists(pk)")
        try:
            self._table.transact(_named(record.name, record.id), new, *bound(host_id=record.id))
        except Lost as error:
            raise taken(record.name) from error

    def change(self, record: Host, **changes: Any) -> Host:
        """Save `record` with `changes`.

        Raise `Changed` if someone changed it since it was read, `Conflict` if the name that it shall have is taken.
        """
        name = changes.get("name", record.name)
        if name == record.name:
            return super().change(record, **changes)
        changed = record.model_copy(update={**changes, "version": record.version + 1})
        try:
            self._table.transact(
                put(self._key(record.id), attributes(changed), "version = :seen", seen=record.version),
                _named(name, record.id),
                _unnamed(record),
            )
        except Lost as error:
            if error.failed == (1,):
                raise taken(name) from error
            raise Changed("the host was changed meanwhile; read it again") from error
        return changed

    def remove(self, record: Host) -> None:
        """Forget `record` and free its name. Raise `Changed` if someone changed it since it was read."""
        unchanged = "attribute_not_exists(pk) OR version = :seen"
        try:
            self._table.transact(
                delete(self._key(record.id), unchanged, seen=record.version),
                _unnamed(record),
            )
        except Lost as error:
            raise Changed("the host was changed meanwhile; read it again") from error


def taken(name: str) -> Conflict:
    return Conflict(f"a host named {name} exists already")


def _named(name: str, host_id: str) -> dict[str, Any]:
    # Its own too: an installation may have hosts from before names were items.
    return put(_name(name), {"host_id": host_id}, "attribute_not_exists(pk) OR host_id = :own", own=host_id)


def _unnamed(host: Host) -> dict[str, Any]:
    return delete(_name(host.name), "attribute_not_exists(pk) OR host_id = :id", id=host.id)


def _name(name: str) -> Key:
    return (f"HOSTNAME#{name}", "NAME")

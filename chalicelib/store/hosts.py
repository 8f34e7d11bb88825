"""Hosts. A host's name and its machine are items of their own: of two that want one at once, one gets it."""

from typing import Any

from chalicelib.domain.errors import Changed, Conflict, SameMachine, SlipwayError
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

        Raise `Changed` if someone changed it since it was read, `Conflict` if the name that it shall have is taken,
        `SameMachine` if the machine that it was found to be is another host's.
        """
        changed = record.model_copy(update={**changes, "version": record.version + 1})
        named, claimed = changed.name != record.name, changed.machine != record.machine
        if not named and not claimed:
            return super().change(record, **changes)
        writes = [put(self._key(record.id), attributes(changed), "version = :seen", seen=record.version)]
        if named:
            writes += [_named(changed.name, record.id), _unnamed(record)]
        if claimed:
            writes += [*_claimed(changed), *_given_up(record)]
        try:
            self._table.transact(*writes)
        except Lost as error:
            if 0 not in error.failed and named and 1 in error.failed:
                raise taken(changed.name) from error
            if 0 not in error.failed and error.failed and changed.machine:
                raise self._same_machine(changed.machine) from error
            raise Changed("the host was changed meanwhile; read it again") from error
        return changed

    def remove(self, record: Host) -> None:
        """Forget `record` and free its name. Raise `Changed` if someone changed it since it was read."""
        unchanged = "attribute_not_exists(pk) OR version = :seen"
        try:
            self._table.transact(
                delete(self._key(record.id), unchanged, seen=record.version),
                _unnamed(record),
                *_given_up(record),
            )
        except Lost as error:
            raise Changed("the host was changed meanwhile; read it again") from error

    def _same_machine(self, machine: str) -> SlipwayError:
        claim = self._table.get(_machine(machine))
        item = self._table.get(self._key(claim["host_id"])) if claim else None
        if item is None:  # it was removed just now
            return Changed("the host that this machine was is just being removed; check it again")
        return SameMachine(
            f"this machine is registered already, as {item['name']}: its Docker says that it is {machine} too",
            {"host_id": item["id"]},
        )


def taken(name: str) -> Conflict:
    return Conflict(f"a host named {name} exists already")


def _named(name: str, host_id: str) -> dict[str, Any]:
    # Its own too: an installation may have hosts from before names were items.
    return put(_name(name), {"host_id": host_id}, "attribute_not_exists(pk) OR host_id = :own", own=host_id)


def _unnamed(host: Host) -> dict[str, Any]:
    return delete(_name(host.name), "attribute_not_exists(pk) OR host_id = :id", id=host.id)


def _claimed(host: Host) -> list[dict[str, Any]]:
    if host.machine is None:
        return []
    free = "attribute_not_exists(pk) OR host_id = :own"
    return [put(_machine(host.machine), {"host_id": host.id}, free, own=host.id)]


def _given_up(host: Host) -> list[dict[str, Any]]:
    if host.machine is None:
        return []
    return [delete(_machine(host.machine), "attribute_not_exists(pk) OR host_id = :id", id=host.id)]


def _machine(machine: str) -> Key:
    return (f"MACHINE#{machine}", "MACHINE")


def _name(name: str) -> Key:
    return (f"HOSTNAME#{name}", "NAME")

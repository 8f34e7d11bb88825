"""Which installation this is. The table says so: wherever it is restored to, it is the same, with the same hosts."""

from contextlib import suppress

from chalicelib.domain.words import new_id
from chalicelib.store.table import Lost, Table, put

_KEY = ("INSTALLATION", "ID")


class InstallationStore:
    def __init__(self, table: Table) -> None:
        self._table = table
        self._known = ""

    def id(self) -> str:
        """`ins_…`, made when it is first asked for."""
        if not self._known:
            item = self._table.get(_KEY)
            self._known = item["id"] if item else self.begin(new_id("ins"))
        return self._known

    def begin(self, installation: str) -> str:
        """Be this one, unless the table says already which it is of; which it is."""
        with suppress(Lost):
            self._table.write(put(_KEY, {"id": installation}, "attribute_not_exists(pk)"))
        return str((self._table.get(_KEY) or {})["id"])

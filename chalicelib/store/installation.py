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
            self._known = (self._table.get(_KEY) or self._begun())["id"]
        return self._known

    def _begun(self) -> dict[str, str]:
        item = {"id": new_id("ins")}
        with suppress(Lost):  # another process was first
            self._table.write(put(_KEY, item, "attribute_not_exists(pk)"))
        return self._table.get(_KEY) or item

"""Registry logins, and which repositories hold images that were fetched by one.

A host keeps what it pulled, for whoever names it. So a repository that was ever pulled from with a login is noted, with
the customers whose own pull succeeded: for anyone else the registry must decide anew, though the image is on the host.
"""

from collections.abc import Iterable

from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.registry import Registry
from chalicelib.store.records import attributes
from chalicelib.store.table import Key, Lost, Table, check, delete, put, update

_PARTITION = "REGISTRIES"


class RegistryStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self) -> list[Registry]:
        return [Registry.model_validate(item) for item in self._table.query(_PARTITION)]

    def get(self, registry_id: str) -> Registry:
        """Raise `NotFound` if there is none."""
        found = self.find([registry_id])
        if registry_id not in found:
            raise _missing()
        return found[registry_id]

    def find(self, registry_ids: Iterable[str]) -> dict[str, Registry]:
        """Those that there are."""
        items = self._table.get_many([(_PARTITION, registry_id) for registry_id in registry_ids])
        return {key[1]: Registry.model_validate(item) for key, item in items.items()}

    def add(self, registry: Registry) -> None:
        """Raise `NotFound` if there is no such customer, `Conflict` if it has a login there already."""
        customer = check(("CUSTOMERS", registry.customer_id), "attribute_exists(pk)")
        try:
            self._table.transact(
                customer, put((_PARTITION, registry.id), attributes(registry), "attribute_not_exists(pk)")
            )
        except Lost as error:
            if 0 in error.failed:
                raise NotFound("no such customer") from error
            if error.failed:
                message = f"this customer has credentials for {registry.registry} already; delete them first"
                raise Conflict(message, {"registry_id": registry.id}) from error
            raise

    def remove(self, registry_id: str) -> None:
        """Raise `NotFound` if there is none."""
        try:
            self._table.write(delete((_PARTITION, registry_id), "attribute_exists(pk)"))
        except Lost as error:
            raise _missing() from error

    def remove_of(self, customer_id: str) -> None:
        for registry in self.all():
            if registry.customer_id == customer_id:
                self._table.write(delete((_PARTITION, registry.id)))

    def will_pull(self, customer_id: str, repositories: Iterable[str]) -> None:
        """Note, before it is done, that images of these come by this customer's login."""
        for repository in repositories:
            unless_known = f"{customer_id} = if_not_exists({customer_id}, :no)"
            self._table.write(update(_noted(repository), {}, expressions=(unless_known,), no=False))

    def has_pulled(self, customer_id: str, repositories: Iterable[str]) -> None:
        """Note that the registry let this customer have them."""
        for repository in repositories:
            self._table.write(update(_noted(repository), {customer_id: True}))

    def closed_to(self, customer_id: str, repositories: Iterable[str]) -> set[str]:
        """Those of the repositories that others have by a login, and this customer has not."""
        keys = {_noted(repository): repository for repository in repositories}
        noted = self._table.get_many(list(keys))
        return {keys[key] for key, item in noted.items() if not item.get(customer_id)}


def _noted(repository: str) -> Key:
    return (f"PULLED#{repository}", "PULLED")


def _missing() -> NotFound:
    return NotFound("no such registry credentials")

"""What repositories tell of pushes: the secret that proves them, deliveries that were taken, and what is to follow.

The secret lies beside the service, not in it: it changes while a job holds the service, and goes when the service goes.
"""

import time
from collections.abc import Iterator
from typing import Any

from chalicelib.store.table import Item, Key, Lost, Table, delete, put

_AGAIN = "AGAIN"
# Providers repeat a delivery for hours at most.
DELIVERY_KEPT_SECONDS = 7 * 86400


class WebhookStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def keep_secret(self, service_id: str, sealed: bytes) -> None:
        """In place of an earlier one."""
        self._table.write(put(_hook(service_id), {"sealed": sealed}))

    def secret(self, service_id: str) -> bytes | None:
        item = self._table.get(_hook(service_id))
        return bytes(item["sealed"]) if item else None

    def was_taken(self, service_id: str, delivery: str) -> bool:
        return self._table.get(_delivery(service_id, delivery)) is not None

    def taking(self, service_id: str, delivery: str) -> dict[str, Any]:
        """The write that takes a delivery, once: for the transaction of what it begins."""
        expires = int(time.time()) + DELIVERY_KEPT_SECONDS
        return put(_delivery(service_id, delivery), {"expires": expires}, "attribute_not_exists(pk)")

    def mark(self, service_id: str, delivery: str, commit: str) -> bool:
        """Note that the service is to be deployed again once its job is over; False if this was taken before."""
        to_follow = put((_AGAIN, service_id), {"service_id": service_id, "commit": commit, "delivery": delivery})
        try:
            self._table.transact(to_follow, self.taking(service_id, delivery))
        except Lost:
            return False
        return True

    def marked(self, service_id: str) -> Item | None:
        """`{service_id, commit, delivery}` of the newest push that a job was too busy for."""
        return self._table.get((_AGAIN, service_id))

    def all_marked(self) -> Iterator[Item]:
        return self._table.query(_AGAIN)

    def unmarking(self, mark: Item) -> dict[str, Any]:
        """The write that forgets this mark, and not a newer one."""
        return delete((_AGAIN, mark["service_id"]), "delivery = :delivery", delivery=mark["delivery"])

    def unmark(self, mark: Item) -> None:
        try:
            self._table.write(self.unmarking(mark))
        except Lost:
            return  # a newer push, which is looked at by itself


def _hook(service_id: str) -> Key:
    return (f"SVC#{service_id}", "HOOK")


def _delivery(service_id: str, delivery: str) -> Key:
    return (f"DELIVERY#{service_id}#{delivery}", "DELIVERY")

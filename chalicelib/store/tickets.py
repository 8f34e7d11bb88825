"""Tickets: a way into one WebSocket for those who cannot send a header, once and soon.

A browser cannot set a header on a WebSocket, and a token in a URL would end up in logs. A ticket may: it opens what it
was made for, once, within a minute, and only its hash is kept.
"""

import secrets
import time
from collections.abc import Callable

from chalicelib.domain.panel import Caller, hash_of
from chalicelib.store.table import Key, Lost, Table, delete, put

TICKET_SECONDS = 60


class TicketStore:
    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def issue(self, caller: Caller, subject: str) -> str:
        """A ticket by which this caller may watch `subject`, a service's or a job's id."""
        ticket = secrets.token_urlsafe(24)
        expires = int(self._clock()) + TICKET_SECONDS
        self._table.write(put(_key(ticket), {"caller": caller.model_dump(), "subject": subject, "expires": expires}))
        return ticket

    def redeem(self, ticket: str, subject: str) -> Caller | None:
        """Who it was issued to; None if it was not for this, is too old, or was used."""
        item = self._table.get(_key(ticket))
        if item is None or item["subject"] != subject or item["expires"] <= self._clock():
            return None
        try:
            self._table.write(delete(_key(ticket), "attribute_exists(pk)"))
        except Lost:  # another was faster
            return None
        return Caller.model_validate(item["caller"])


def _key(ticket: str) -> Key:
    return (f"TICKET#{hash_of(ticket)}", "TICKET")

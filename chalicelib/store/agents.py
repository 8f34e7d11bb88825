"""The agents of hosts: one token each, and the connection over which one is told to look again."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from chalicelib.domain.panel import Agent
from chalicelib.domain.words import now
from chalicelib.store.table import Key, Lost, Table, update

# How a token is known that is of no use for logging in.
_TOKEN_ID_LENGTH = 8


class AgentStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, host_id: str) -> Agent | None:
        """The host's agent; None if it was never given a token."""
        item = self._table.get(_key(host_id))
        return Agent.model_validate(item) if item else None

    def set_token(self, host_id: str, token_hash: str) -> Agent:
        """Give the host's agent a token; the one before is worth nothing from now on."""
        fields = {
            "host_id": host_id,
            "token_hash": token_hash,
            "token_id": token_hash[:_TOKEN_ID_LENGTH],
            "created_at": now(),
            "revoked_at": None,
        }
        return Agent.model_validate(self._table.write(update(_key(host_id), fields)))

    def revoke(self, host_id: str) -> None:
        """Its token is worth nothing from now on; there may be none."""
        self._change(host_id, {"revoked_at": now()})

    def seen(self, host_id: str, version: str, boot: str) -> None:
        """It was heard of just now."""
        self._change(host_id, {"version": version, "boot": boot, "last_seen": now()})

    def connected(self, host_id: str, connection_id: str) -> None:
        """It listens on this connection; on no earlier one any more."""
        self._change(host_id, {"connection_id": connection_id})

    def disconnected(self, host_id: str, connection_id: str) -> None:
        """It listens no longer, unless it has opened another connection meanwhile."""
        self._change(host_id, {"connection_id": None}, "connection_id = :gone", gone=connection_id)

    def _change(self, host_id: str, changes: Mapping[str, Any], condition: str = "", **values: Any) -> None:
        # Only what exists: a late word from a host that was removed makes no item of its own.
        wanted = " AND ".join(filter(None, ("attribute_exists(pk)", condition)))
        with suppress(Lost):
            self._table.write(update(_key(host_id), changes, wanted, **values))


def _key(host_id: str) -> Key:
    return (f"AGENT#{host_id}", "META")

"""Followers: who watches what on which host, by the host's agent, by connection and by token.

A host's followers are one partition, so that a batch of its log lines costs one query at most. A counter beside them
rises whenever one comes or goes: a process that has read them keeps them until it does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.following import Follower
from chalicelib.store.records import attributes
from chalicelib.store.table import Item, Key, Table, delete, put, update


@dataclass(frozen=True)
class Socket:
    """A WebSocket that is open, as far as we know: a follower's, or the one of a host's agent."""

    connection_id: str
    host_id: str
    token_id: str
    number: int | None  # None: the agent's


class FollowerStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, follower: Follower) -> None:
        """Both that it is watching and where it is found by its connection and its token."""
        self._table.transact(
            put(_follower(follower.host_id, follower.number), attributes(follower)),
            *_socket_writes(
                Socket(follower.connection_id, follower.host_id, follower.token_id, follower.number), follower.expires
            ),
        )
        self._count(follower.host_id)

    def add_agent(self, connection_id: str, host_id: str, expires: int) -> None:
        self._table.transact(*_socket_writes(Socket(connection_id, host_id, f"agent-{host_id}", None), expires))

    def change(self, follower: Follower, **changes: Any) -> None:
        """It is still there, or nothing is written: raise `Lost`."""
        self._table.write(
            update(
                _follower(follower.host_id, follower.number), changes, "connection_id = :id", id=follower.connection_id
            )
        )

    def socket(self, connection_id: str) -> Socket | None:
        item = self._table.get(_socket(connection_id))
        return _read(item) if item else None

    def of_token(self, token_id: str) -> list[str]:
        """The connections that this token opened."""
        return [item["sk"] for item in self._table.query(f"SOCKETS#{token_id}")]

    def forget(self, socket: Socket) -> None:
        """The connection is gone; safe to repeat."""
        writes = [delete(_socket(socket.connection_id)), delete((f"SOCKETS#{socket.token_id}", socket.connection_id))]
        if socket.number is not None:
            writes.append(delete(_follower(socket.host_id, socket.number)))
        self._table.transact(*writes)
        if socket.number is not None:
            self._count(socket.host_id)

    def version(self, host_id: str) -> int:
        item = self._table.get(_version(host_id))
        return int(item["version"]) if item else 0

    def of_host(self, host_id: str, moment: int) -> Iterator[Follower]:
        """Every follower of what runs on this host, but those whose connection must have ended by `moment`."""
        for item in self._table.query(_partition(host_id), "F#"):
            if item["expires"] > moment:
                yield Follower.model_validate(item)

    def _count(self, host_id: str) -> None:
        self._table.write(
            update(
                _version(host_id), {}, expressions=("version = if_not_exists(version, :none) + :one",), none=0, one=1
            )
        )


def _socket_writes(socket: Socket, expires: int) -> list[dict[str, Any]]:
    about = {"host_id": socket.host_id, "token_id": socket.token_id, "number": socket.number, "expires": expires}
    return [
        put(_socket(socket.connection_id), about),
        put((f"SOCKETS#{socket.token_id}", socket.connection_id), {"expires": expires}),
    ]


def _read(item: Item) -> Socket:
    number = item.get("number")
    return Socket(
        connection_id=item["pk"].removeprefix("SOCKET#"),
        host_id=item["host_id"],
        token_id=item["token_id"],
        number=None if number is None else int(number),
    )


def _partition(host_id: str) -> str:
    return f"FOLLOWERS#{host_id}"


def _follower(host_id: str, number: int) -> Key:
    return (_partition(host_id), f"F#{number:015d}")


def _version(host_id: str) -> Key:
    return (_partition(host_id), "VERSION")


def _socket(connection_id: str) -> Key:
    return (f"SOCKET#{connection_id}", "SOCKET")

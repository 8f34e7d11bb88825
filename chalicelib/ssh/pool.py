"""One live connection per host and process, shared by every thread.

Handshakes cost 60 ms and a host turns away more than ten at once, so a step finds the connection of the step before. A
connection that has been idle is tried before it is trusted: a frozen Lambda wakes up with dead sockets.

A host's key, address and user change while others hold its `RemoteHost`, here and in other processes: it goes by the
newest that this process was told, and asks for a newer one where it is not let in.
"""

import threading
from collections.abc import Callable

from chalicelib.ssh.remote import RemoteHost
from chalicelib.ssh.transport import HostAddress

_hosts: dict[str, RemoteHost] = {}
_turn = threading.Lock()


def connected(host: HostAddress, newest: Callable[[], HostAddress] | None = None) -> RemoteHost:
    """The host, reachable now; `newest` is asked how it is reached where it cannot be reached so."""
    with _turn:
        remote = _hosts.setdefault(host.id, RemoteHost(host, newest))
    remote.follow(host)
    remote.ensure_alive()
    return remote


def close_all() -> None:
    with _turn:
        remotes = list(_hosts.values())
        _hosts.clear()
    for remote in remotes:
        remote.close()

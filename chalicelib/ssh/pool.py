"""One live connection per host and process, shared by every thread.

Handshakes cost 60 ms and a host turns away more than ten at once, so a step finds the connection of the step before. A
connection that has been idle is tried before it is trusted: a frozen Lambda wakes up with dead sockets.
"""

import threading

from chalicelib.ssh.remote import RemoteHost
from chalicelib.ssh.transport import HostAddress

_hosts: dict[HostAddress, RemoteHost] = {}
_turn = threading.Lock()


def connected(host: HostAddress) -> RemoteHost:
    """The host, reachable now. The address's every field is the key: another key or user is another connection."""
    with _turn:
        remote = _hosts.setdefault(host, RemoteHost(host))
    remote.ensure_alive()
    return remote


def close_all() -> None:
    with _turn:
        remotes = list(_hosts.values())
        _hosts.clear()
    for remote in remotes:
        remote.close()

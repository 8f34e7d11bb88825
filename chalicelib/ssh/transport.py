"""Opening an SSH connection: the socket's manners, the pinned host key, and foreign errors made ours.

paramiko leaves Nagle's algorithm on, which makes an exec take 50 ms instead of 5; and its keepalive does not notice a
dead link, so the kernel is told to (TCP_USER_TIMEOUT): a cut connection then ends within about 12 seconds.
"""

import base64
import logging
import random
import socket
import time
from dataclasses import dataclass, field, replace

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from chalicelib.domain.errors import HostKeyMismatch, HostRefused, HostUnreachable
from chalicelib.ssh.keys import load

CONNECT_S = 5.0
ANSWER_S = 10.0
DEAD_LINK_MS = 8000
KEEPALIVE_S = 5
ATTEMPTS = 4
BUSY_S = 2.0  # a server with too many connections turns one away at once; a slow one is not asked again
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class HostAddress:
    """Where a host is, who enters it by which key, and what it must show. `version` tells how new that is."""

    id: str
    address: str
    port: int
    user: str
    private_key: str = field(repr=False)
    host_key: str
    version: int = field(default=1, compare=False)

    def is_where(self, other: "HostAddress") -> bool:
        """Whether both lead to the same user of the same machine, by whatever key."""
        return replace(self, private_key=other.private_key) == other

    def __str__(self) -> str:
        # Errors reach customers, who are not to learn where a host is or who logs in; its id tells an admin.
        return self.id


def opened(host: HostAddress) -> paramiko.Transport:
    """Connected and let in. A server that turns connections away at random (MaxStartups) is asked again."""
    for attempt in range(1, ATTEMPTS + 1):
        transport = _started(host.address, host.port, _types_of(host.host_key), last=attempt == ATTEMPTS)
        if transport is None:
            time.sleep(random.uniform(0.05, 0.15) * 2**attempt)  # noqa: S311 - spread, not secrecy
            continue
        try:
            _verify(transport, host)
            _log_in(transport, host)
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(KEEPALIVE_S)
        return transport
    raise AssertionError("the last attempt returns or raises")


def log_in(host: HostAddress) -> None:
    """Log in and out again, to see whether this key is taken. Raise `HostRefused` if it is not."""
    transport = opened(host)
    try:
        transport.open_session(timeout=ANSWER_S).close()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostUnreachable(f"{host}: the connection broke after logging in: {error}") from error
    finally:
        transport.close()


def scan_host_key(address: str, port: int) -> str:
    """The key a host shows, for a first use that is to be trusted: "ssh-ed25519 AAAA..."."""
    transport = _started(address, port, None, last=True)
    assert transport is not None
    try:
        key = transport.get_remote_server_key()
        return f"{key.get_name()} {key.get_base64()}"
    finally:
        transport.close()


def _started(address: str, port: int, key_types: tuple[str, ...] | None, *, last: bool) -> paramiko.Transport | None:
    """Keys are exchanged. None where it is worth another attempt."""
    _silence()
    began = time.monotonic()
    try:
        connection = socket.create_connection((address, port), CONNECT_S)
    except OSError as error:
        raise HostUnreachable(f"{address}:{port}: no connection: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINK_MS)
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = ANSWER_S
    try:
        if key_types:
            transport.get_security_options().key_types = key_types
        _exchange_keys(transport)
    except IncompatiblePeer as error:
        transport.close()
        if key_types:
            raise HostKeyMismatch(
                f"{address}:{port}: the host has no key of the pinned type ({key_types[0]})"
            ) from error
        raise HostUnreachable(f"{address}:{port}: {error}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        if last or time.monotonic() - began > BUSY_S:
            raise HostUnreachable(f"{address}:{port}: no SSH: {error or 'the connection was closed'}") from error
        return None
    return transport


def _exchange_keys(transport: paramiko.Transport) -> None:
    transport.start_client(timeout=ANSWER_S)
    if not transport.initial_kex_done:  # paramiko lets its own timeout pass without a word
        raise paramiko.SSHException(f"the keys were not exchanged in {ANSWER_S:.0f} s")


def _types_of(host_key: str) -> tuple[str, ...]:
    # Only the pinned key's type is negotiated: a server with several keys must show the one we know.
    kind = host_key.split(maxsplit=1)[0]
    return RSA_SIGNATURES if kind == "ssh-rsa" else (kind,)


def _verify(transport: paramiko.Transport, host: HostAddress) -> None:
    shown = transport.get_remote_server_key()
    if [shown.get_name(), shown.get_base64()] != host.host_key.split()[:2]:
        raise HostKeyMismatch(
            f"{host}: it shows another key than the pinned one",
            {"pinned": _fingerprint(host.host_key), "shown": shown.fingerprint},
        )


def _fingerprint(host_key: str) -> str:
    kind, body = host_key.split()[:2]
    return paramiko.PKey.from_type_string(kind, base64.b64decode(body)).fingerprint


def _log_in(transport: paramiko.Transport, host: HostAddress) -> None:
    try:
        transport.auth_publickey(host.user, load(host.private_key))
    except paramiko.AuthenticationException as error:
        raise HostRefused(f"{host}: the host does not accept this user and key") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostUnreachable(f"{host}: the connection broke while logging in: {error}") from error


def _silence() -> None:
    """paramiko logs tracebacks of what we handle; unconfigured, logging would print them."""
    logger = logging.getLogger("paramiko")
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())

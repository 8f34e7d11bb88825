"""One command on one channel: what goes in, what comes out on both streams, and how it ended.

Both streams are read as they come: one after the other, a command that fills the second would wait for us and we for
it. An exit status of -1 means that the connection ended first: the outcome is unknown, and only the host can tell.
"""

import select
import time
from dataclasses import dataclass

import paramiko

from chalicelib.commands import Command
from chalicelib.domain.errors import CommandFailed, HostTimeout, HostUnreachable

CHUNK = 1 << 16
MOST = 64 << 20  # more output than this is a fault, not an answer


@dataclass(frozen=True)
class Finished:
    code: int
    stdout: bytes
    stderr: bytes


def execute(channel: paramiko.Channel, command: Command, deadline: float, where: str) -> Finished:
    try:
        channel.settimeout(_left(deadline))
        channel.exec_command(str(command))
        _feed(channel, command.stdin)
        stdout, stderr = _read(channel, deadline)
        code = _status(channel, deadline)
    except TimeoutError as error:
        raise HostTimeout(f"{where}: {command.argv[0]} did not finish in time") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostUnreachable(f"{where}: the connection broke; the outcome is unknown: {error}") from error
    if code == -1:
        raise HostUnreachable(f"{where}: the connection ended before the command did; the outcome is unknown")
    return Finished(code, stdout, stderr)


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    try:
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
    except OSError:
        if not channel.closed:
            raise
        # It ended without reading it all: its exit code says why, or that the connection ended instead.


def _read(channel: paramiko.Channel, deadline: float) -> tuple[bytes, bytes]:
    stdout: list[bytes] = []
    stderr: list[bytes] = []
    size = 0
    arrived = select.poll()
    arrived.register(channel.fileno(), select.POLLIN)
    while True:
        ended = channel.eof_received or channel.closed  # asked before the last look, so nothing slips in between
        while channel.recv_ready():
            stdout.append(channel.recv(CHUNK))
            size += len(stdout[-1])
        while channel.recv_stderr_ready():
            stderr.append(channel.recv_stderr(CHUNK))
            size += len(stderr[-1])
        if ended:
            return b"".join(stdout), b"".join(stderr)
        if size > MOST:
            raise CommandFailed(f"the command printed more than {MOST >> 20} MB")
        if not arrived.poll(_left(deadline) * 1000):
            raise TimeoutError


def _status(channel: paramiko.Channel, deadline: float) -> int:
    if not channel.status_event.wait(_left(deadline)):
        raise TimeoutError
    return channel.exit_status


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left

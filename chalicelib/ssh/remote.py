"""A host one can run commands on, ask the kit on, and reach through to its containers."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paramiko

from chalicelib.commands import Command
from chalicelib.commands import kit as kit_commands
from chalicelib.domain import errors
from chalicelib.ssh.execution import Finished, execute
from chalicelib.ssh.files import put
from chalicelib.ssh.serving import GONE, NotBegun, Serving
from chalicelib.ssh.transport import HostAddress, opened

CHANNELS = 8  # a stock sshd allows ten sessions a connection
IDLE_S = 5.0
PROBE_S = 2.0
CHANNEL_S = 10.0
CHANNEL_ATTEMPTS = 5
FORBIDDEN, NOT_CONNECTED = 1, 2  # RFC 4254: administratively prohibited, connect failed
REFUSED = 3  # the kit's exit code for a refusal it understands
NO_SUCH_PROGRAM = 127
LAST_LINES = 20
STATUS_LINE = 1024  # bytes in which HTTP must have said its status


class RemoteHost:
    def __init__(self, host: HostAddress, newest: Callable[[], HostAddress] | None = None) -> None:
        self.host = host
        self._newest = newest
        self._transport: paramiko.Transport | None = None
        self._connecting = threading.Lock()
        self._refusal = (0.0, "")  # when connecting last failed, and why
        self._channels = threading.BoundedSemaphore(CHANNELS)
        self._used = 0.0
        self._serving: Serving | None = None
        self._starting = threading.Lock()

    def run(self, command: Command, timeout: float) -> str:
        """What the command printed. stderr is only kept for the error."""
        finished = self._finished(command, timeout)
        if finished.code != 0:
            raise self._failed(command, finished)
        return finished.stdout.decode("utf-8", "replace")

    def kit(self, command: Command, timeout: float) -> dict[str, Any]:
        """The kit's answer. A host without this version of it gets it first; its refusals are raised as our errors."""
        deadline = time.monotonic() + timeout
        finished = self._asked(command, deadline)
        if _kit_is_missing(finished):
            self.run(kit_commands.install(), timeout)
            finished = self._asked(command, deadline)
        if finished.code == NO_SUCH_PROGRAM:
            raise errors.HostNotReady(f"{self.host}: python3 was not found on the host; install the python3 package")
        if finished.code == REFUSED:
            raise _refusal(finished)
        if finished.code != 0:
            raise self._failed(command, finished)
        answer: dict[str, Any] = json.loads(finished.stdout)
        return answer

    def put(self, path: str, data: bytes, timeout: float, mode: int = 0o600) -> None:
        """A file in the user's home, whole or not at all, by SFTP; its folders are made."""
        deadline = time.monotonic() + timeout
        with self._channel(deadline) as channel:
            put(channel, path, data, deadline, str(self.host), mode=mode)
        self._used = time.monotonic()

    def http_status(self, ip: str, port: int, path: str, host_header: str, timeout: float) -> int | None:
        """The status of a GET, asked from the host itself; None where nothing listens or it is not HTTP."""
        request = f"GET {path} HTTP/1.0\r\nHost: {host_header}\r\n\r\n".encode()
        deadline = time.monotonic() + timeout
        try:
            with self._tunnel(ip, port, timeout) as channel:
                channel.settimeout(timeout)
                channel.sendall(request)
                line = _first_line(channel, deadline)
        except _NothingListens:
            return None
        except OSError:  # it closed the connection, or said nothing in time
            return None
        words = line.split(b" ")
        return int(words[1]) if words[0].startswith(b"HTTP/") and len(words) > 1 and words[1].isdigit() else None

    def tcp_open(self, ip: str, port: int, timeout: float) -> bool:
        try:
            with self._tunnel(ip, port, timeout):
                return True
        except _NothingListens:
            return False

    def forwarding_allowed(self) -> bool:
        """Whether this host's sshd lets us through to its containers (AllowTcpForwarding)."""
        try:
            self.tcp_open("127.0.0.1", self.host.port, PROBE_S)
        except errors.HostNotReady:
            return False
        return True

    def follow(self, host: HostAddress) -> None:
        """Go by this from now on, unless something newer is known.

        A connection that the key of before opened is as good as ever. One to another place ends, and what runs on it.
        """
        if host == self.host or host.version < self.host.version:
            return
        with self._starting, self._connecting:
            if not host.is_where(self.host):
                if self._transport is not None:
                    self._transport.close()
                self._transport = self._serving = None
            self.host = host

    def ensure_alive(self) -> None:
        """Connected; tried first if idle for a while."""
        transport = self._transport
        if transport is not None and transport.is_active():
            if time.monotonic() - self._used < IDLE_S or _answers(transport):
                return
            self._drop(transport)
        self._connected()

    def close(self) -> None:
        with self._connecting:
            if self._transport is not None:
                self._transport.close()
            self._transport = None

    def _asked(self, command: Command, deadline: float) -> Finished:
        with self._turn(deadline):
            for _ in range(2):
                try:
                    finished = self._served(deadline).ask(command, deadline)
                except NotBegun:
                    continue  # it was leaving just then, unasked for long: the next one has only begun
                self._used = time.monotonic()
                return finished
        raise errors.HostUnreachable(f"{self.host}: the host kit ends as soon as it is started")

    def _served(self, deadline: float) -> Serving:
        """The kit's process on the host, started if there is none: one, since sessions are few."""
        asked = time.monotonic()
        self._connected()
        with self._starting:
            failed_at, why = self._refusal
            if failed_at > asked:  # as below: one time-out is enough
                raise errors.HostUnreachable(why)
            if self._serving is None or not self._serving.is_usable:
                if self._serving is not None:
                    self._serving.close()
                self._serving = None
                self._serving = self._started(deadline)
            return self._serving

    def _started(self, deadline: float) -> Serving:
        channel = self._session(deadline)
        try:
            return Serving(channel, kit_commands.serving(), str(self.host))
        except (paramiko.SSHException, EOFError, OSError) as error:
            _close(channel)
            raise errors.HostUnreachable(f"{self.host}: the connection broke: {error}") from error

    def _finished(self, command: Command, timeout: float) -> Finished:
        deadline = time.monotonic() + timeout
        with self._channel(deadline) as channel:
            finished = execute(channel, command, deadline, str(self.host))
        self._used = time.monotonic()
        return finished

    def _failed(self, command: Command, finished: Finished) -> errors.CommandFailed:
        said = (finished.stderr or finished.stdout).decode("utf-8", "replace").strip()
        last = "\n".join(said.splitlines()[-LAST_LINES:])
        message = f"{self.host}: {command.argv[0]} ended with exit code {finished.code}: {last}"
        return errors.CommandFailed(message, {"rc": finished.code, "output": last})

    @contextmanager
    def _channel(self, deadline: float) -> Iterator[paramiko.Channel]:
        with self._turn(deadline), _closing(self._session(deadline)) as channel:
            yield channel

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        if not self._channels.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise errors.HostTimeout(f"{self.host}: {CHANNELS} commands are running; none ended in time for this one")
        try:
            yield
        finally:
            self._channels.release()

    def _session(self, deadline: float) -> paramiko.Channel:
        """A session; over a new connection if the old one turns out dead, since nothing was asked of it yet."""
        reconnected = False
        for attempt in range(1, CHANNEL_ATTEMPTS + 1):
            transport = self._connected()
            try:
                return transport.open_session(timeout=max(0.1, min(CHANNEL_S, deadline - time.monotonic())))
            except paramiko.ChannelException as error:
                # The host counts a session until it has cleaned up after it, a moment longer than we do.
                if attempt == CHANNEL_ATTEMPTS:
                    raise errors.HostUnreachable(f"{self.host}: the host opens no more sessions: {error}") from error
                time.sleep(random.uniform(0.02, 0.08) * attempt)  # noqa: S311 - spread, not secrecy
            except (paramiko.SSHException, EOFError, OSError) as error:
                self._drop(transport)
                if reconnected:
                    raise errors.HostUnreachable(f"{self.host}: the connection broke: {error}") from error
                reconnected = True
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _tunnel(self, ip: str, port: int, timeout: float) -> Iterator[paramiko.Channel]:
        with self._turn(time.monotonic() + timeout):
            transport = self._connected()
            try:
                channel = transport.open_channel("direct-tcpip", (ip, port), ("127.0.0.1", 0), timeout=timeout)
            except paramiko.ChannelException as error:
                if error.code == FORBIDDEN:
                    raise errors.HostNotReady(
                        f"{self.host}: sshd forbids TCP forwarding; set AllowTcpForwarding yes"
                    ) from error
                raise _NothingListens from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                if transport.is_active():  # the host still tries to connect: nobody is at that address
                    raise _NothingListens from error
                self._drop(transport)
                raise errors.HostUnreachable(f"{self.host}: the connection broke: {error}") from error
            try:
                yield channel
            finally:
                _close(channel)
                self._used = time.monotonic()

    def _connected(self) -> paramiko.Transport:
        asked = time.monotonic()
        with self._connecting:
            if self._transport is not None and self._transport.is_active():
                return self._transport
            failed_at, why = self._refusal
            if failed_at > asked:  # while we waited for our turn: a dead host must not cost one time-out after another
                raise errors.HostUnreachable(why)
            try:
                self._transport = self._opened()
            except errors.HostUnreachable as error:
                self._refusal = (time.monotonic(), error.message)
                raise
            self._used = time.monotonic()
            return self._transport

    def _opened(self) -> paramiko.Transport:
        try:
            return opened(self.host)
        except (errors.HostRefused, errors.HostKeyMismatch, errors.HostUnreachable):
            newest = self._newest() if self._newest else self.host
            if newest == self.host:
                raise
            self.host = newest  # its key or address was changed since we were told of it
        return opened(self.host)

    def _drop(self, transport: paramiko.Transport) -> None:
        with self._connecting:
            transport.close()
            if self._transport is transport:
                self._transport = None


class _NothingListens(Exception):
    """Nobody took the connection at the far end of a tunnel."""


@contextmanager
def _closing(channel: paramiko.Channel) -> Iterator[paramiko.Channel]:
    try:
        yield channel
    finally:
        _close(channel)


def _close(channel: paramiko.Channel) -> None:
    with suppress(EOFError, OSError):  # the connection was gone first
        channel.close()


def _answers(transport: paramiko.Transport) -> bool:
    try:
        transport.open_session(timeout=PROBE_S).close()
    except paramiko.ChannelException:
        return True  # it said no, so it is there
    except (paramiko.SSHException, EOFError, OSError):
        return False
    return True


def _kit_is_missing(finished: Finished) -> bool:
    return finished.code == GONE or (finished.code == 1 and b"No module named 'hostkit'" in finished.stderr)


def _refusal(finished: Finished) -> errors.SlipwayError:
    said = json.loads(finished.stdout)
    kind: type[errors.SlipwayError] = getattr(errors, said["error"])
    return kind(said["message"], said.get("details"))


def _first_line(channel: paramiko.Channel, deadline: float) -> bytes:
    received = b""
    while b"\n" not in received and len(received) < STATUS_LINE:
        channel.settimeout(max(0.01, deadline - time.monotonic()))
        part = channel.recv(STATUS_LINE)
        if not part:
            break
        received += part
    return received.partition(b"\n")[0]

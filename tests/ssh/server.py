"""A small SSH server in this process: it runs what it is told in a folder of its own, and misbehaves on request."""

import os
import select
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_SUCCEEDED,
)
from paramiko.sftp import SFTP_FAILURE, SFTP_OK

from chalicelib.ssh import HostAddress, generate_key
from chalicelib.ssh.keys import load

USER = "deploy"


class SshServer:
    """Listens on loopback. `sessions` is how many it allows a connection, as MaxSessions does."""

    def __init__(
        self, home: Path, *, sessions: int = 10, forwarding: bool = True, drop_first: int = 0, sftp: bool = True
    ) -> None:
        self.home = home
        self.sessions = sessions
        self.forwarding = forwarding
        self.drop_first = drop_first
        self.sftp = sftp
        self.disk_is_full = False
        self.authorized_keys: Path | None = None
        self.connections = 0
        self.commands: list[str] = []
        self.before = ""  # what a login shell does of its own accord
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.most_sessions = 0
        self.client_key, self.client_public = generate_key()
        self.host_private, self.host_key = generate_key()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._transports: list[paramiko.Transport] = []
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._thread.join()
        self.cut()
        self._listener.close()

    def address(self, **changes: Any) -> HostAddress:
        wanted = {"private_key": self.client_key, "host_key": self.host_key, "user": USER, **changes}
        return HostAddress(id="host_abcdefgh12345678", address="127.0.0.1", port=self.port, **wanted)

    def lets_in(self, key: str) -> bool:
        """Our client's key, or where it has an `authorized_keys`, the keys of that."""
        if self.authorized_keys is None:
            return key == self.client_public
        lines = self.authorized_keys.read_text().splitlines() if self.authorized_keys.exists() else []
        return any(key in line for line in lines)

    def cut(self) -> None:
        """End every connection without a goodbye."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def _listen(self) -> None:
        while not self.ending.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            connection, _ = self._listener.accept()
            self.connections += 1
            if self.connections <= self.drop_first:
                connection.close()
                continue
            transport = paramiko.Transport(connection)
            transport.add_server_key(load(self.host_private))
            if self.sftp:
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, shown=self)
            transport.start_server(event=threading.Event(), server=_Session(self, transport))
            self._transports.append(transport)


class _Files(paramiko.SFTPServerInterface):
    """The home folder, as sshd's own SFTP server shows it."""

    def __init__(self, session: paramiko.ServerInterface, *, shown: SshServer) -> None:
        super().__init__(session)
        self._server = shown

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        attributes: paramiko.SFTPAttributes | int
        attributes = _told(lambda: paramiko.SFTPAttributes.from_stat(self._there(path).stat()))
        return attributes

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return _done(lambda: self._there(path).mkdir(attr.st_mode or 0o777))

    def remove(self, path: str) -> int:
        return _done(self._there(path).unlink)

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return _done(lambda: self._there(oldpath).rename(self._there(newpath)))

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        handle: paramiko.SFTPHandle | int = _told(lambda: _File(self._server, self._there(path), flags))
        return handle

    def _there(self, path: str) -> Path:
        return self._server.home / path.lstrip("/")


class _File(paramiko.SFTPHandle):
    def __init__(self, server: SshServer, path: Path, flags: int) -> None:
        super().__init__(flags)
        self._server = server
        self._descriptor = os.open(path, flags, 0o666)

    def write(self, offset: int, data: Any) -> int:
        if self._server.disk_is_full:
            return SFTP_FAILURE
        return _done(lambda: os.pwrite(self._descriptor, data, offset))

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        return _done(lambda: os.fchmod(self._descriptor, attr.st_mode or 0))

    def stat(self) -> paramiko.SFTPAttributes | int:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor))

    def close(self) -> None:
        os.close(self._descriptor)


def _done(act: Callable[[], object]) -> int:
    failure = _told(lambda: act() and None)
    return SFTP_OK if failure is None else int(failure)


def _told(act: Callable[[], Any]) -> Any:
    """What it answers, or the protocol's number for what went wrong."""
    try:
        return act()
    except OSError as error:
        return paramiko.SFTPServer.convert_errno(error.errno or 0)


class _Session(paramiko.ServerInterface):
    def __init__(self, server: SshServer, transport: paramiko.Transport) -> None:
        self._server = server
        self._transport = transport
        self._open: Counter[str] = Counter()
        self._turn = threading.Lock()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = self._server.lets_in(f"{key.get_name()} {key.get_base64()}") and username == USER
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        with self._turn:
            if self._open["session"] >= self._server.sessions:
                return OPEN_FAILED_CONNECT_FAILED
            self._open["session"] += 1
            self._server.most_sessions = max(self._server.most_sessions, self._open["session"])
        return OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if not self._server.forwarding:
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        try:
            far = socket.create_connection(destination, 2)
        except OSError:
            return OPEN_FAILED_CONNECT_FAILED
        threading.Thread(target=self._forward, args=(chanid, far), daemon=True).start()
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.commands.append(command.decode())
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        try:
            if command == "vanish":
                return
            running = subprocess.Popen(
                ["sh", "-c", self._server.before + command],
                cwd=self._server.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(self._server.home)},
            )
            self._server.running[running.pid] = running
            with running:
                _join(channel, running)
            if running.returncode >= 0:  # of one that was killed there is no status
                channel.send_exit_status(running.returncode)
        except (OSError, EOFError):
            return  # the client went away first
        finally:
            with self._turn:
                self._open["session"] -= 1
            channel.close()

    def _forward(self, chanid: int, far: socket.socket) -> None:
        channel = self._transport.accept(5)
        if channel is None:
            far.close()
            return
        with suppress(EOFError), far, channel:  # the client may have gone first
            ends: dict[int, tuple[Any, Any]] = {channel.fileno(): (channel, far), far.fileno(): (far, channel)}
            while not self._server.ending.is_set():
                for ready in select.select(list(ends), [], [], 0.1)[0]:
                    one, other = ends[ready]
                    try:
                        data = one.recv(4096)
                        other.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return


def _join(channel: paramiko.Channel, running: "subprocess.Popen[bytes]") -> None:
    """What comes goes to its stdin, what it says goes back, until it said all."""
    assert running.stdin
    assert running.stdout
    assert running.stderr

    def feed(stdin: IO[bytes]) -> None:
        with suppress(OSError, ValueError), stdin:  # it may end, and be closed, without reading it all
            while part := channel.recv(1 << 16):
                stdin.write(part)
                stdin.flush()

    threading.Thread(target=feed, args=(running.stdin,), daemon=True).start()
    says: dict[int, Callable[[bytes], None]] = {
        running.stdout.fileno(): channel.sendall,
        running.stderr.fileno(): channel.sendall_stderr,
    }
    while says:
        for ready in select.select(list(says), [], [])[0]:
            part = os.read(ready, 1 << 16)
            if part:
                says[ready](part)
            else:
                del says[ready]

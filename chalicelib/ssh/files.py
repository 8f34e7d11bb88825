"""Files onto a host by SFTP, which every sshd brings: bytes of any number, and no command line to quote them for."""

import secrets
import time
from contextlib import suppress
from pathlib import PurePosixPath

import paramiko

from chalicelib.domain.errors import CommandFailed, HostNotReady, HostTimeout, HostUnreachable

_FOLDER_MODE = 0o700


def put(channel: paramiko.Channel, path: str, data: bytes, deadline: float, where: str, *, mode: int) -> None:
    """Written beside its name and renamed to it, so that nobody ever reads half a file."""
    try:
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        _begin(channel, where)
        client = paramiko.SFTPClient(channel)
        _make_folders(client, PurePosixPath(path).parent)
        _replace(client, path, data, mode)
    except TimeoutError as error:
        raise HostTimeout(f"{where}: {path} was not written in time") from error
    except (paramiko.SSHException, EOFError) as error:
        raise HostUnreachable(f"{where}: the connection broke while {path} was written: {error}") from error
    except OSError as error:
        if channel.closed:
            raise HostUnreachable(f"{where}: the connection broke while {path} was written: {error}") from error
        raise CommandFailed(f"{where}: {path} cannot be written: {error}") from error


def _begin(channel: paramiko.Channel, where: str) -> None:
    try:
        channel.invoke_subsystem("sftp")
    except paramiko.SSHException as error:
        transport = channel.get_transport()
        if transport is None or not transport.is_active():
            raise
        raise HostNotReady(f"{where}: sshd offers no SFTP; set Subsystem sftp internal-sftp") from error


def _make_folders(client: paramiko.SFTPClient, folder: PurePosixPath) -> None:
    for part in [*reversed(folder.parents), folder]:
        try:
            client.stat(str(part))
        except FileNotFoundError:
            with suppress(OSError):  # made by somebody else at the same moment; if not, writing will say so
                client.mkdir(str(part), _FOLDER_MODE)


def _replace(client: paramiko.SFTPClient, path: str, data: bytes, mode: int) -> None:
    fresh = f"{path}.{secrets.token_hex(4)}.new"
    try:
        with client.open(fresh, "wx") as file:
            file.chmod(mode)  # before there is anything to read
            file.set_pipelined(True)
            file.write(data)
        client.posix_rename(fresh, path)
    except OSError:
        with suppress(OSError, EOFError, paramiko.SSHException):
            client.remove(fresh)
        raise

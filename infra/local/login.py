"""Who Slipway logs in as on this machine: an account of its own where we are root, else the person who runs it.

As root the account lives only while the runner does and has the same user id each time, since its home folder stays.
Its name carries the installation's id: two runners on one machine have an account and a home each.
"""

import contextlib
import grp
import os
import pwd
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.local.daemon import MachineError

_STILL_IN_USE = 8  # userdel's exit code while a process of the account runs


@dataclass(frozen=True)
class Login:
    """An account sshd lets in."""

    user: str
    uid: int
    gid: int
    home: Path
    ours: bool


def ourselves() -> Login:
    """Without root: the account this runs as."""
    entry = pwd.getpwuid(os.getuid())
    return Login(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir), ours=False)


def make(installation: str, home: Path) -> Login:
    """As root: the installation's own account, made now if a killed run did not leave it."""
    user = _name(installation)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _exists(user):
        owner = home.stat().st_uid
        same_id = ("--uid", str(owner)) if owner and not _taken(owner) else ()
        described = ("--comment", "Slipway deploys on this machine", "--shell", "/bin/sh", "--home-dir", str(home))
        # `*` is no password that could be typed, and unlike `!` not a locked account, which sshd without PAM refuses
        _run("useradd", "--no-create-home", "--user-group", "--password", "*", *described, *same_id, user)
    entry = pwd.getpwnam(user)
    _hand_over(home, entry.pw_uid, entry.pw_gid)
    return Login(user, entry.pw_uid, entry.pw_gid, home, ours=True)


def join(login: Login, group_id: int) -> None:
    """Let the account use what that group may use: a Docker socket."""
    if login.ours and group_id != login.gid:
        _run("usermod", "--append", "--groups", grp.getgrgid(group_id).gr_name, login.user)


def trust(login: Login, public_key: str) -> Path:
    """Put our first key where sshd looks for it; the file. One that is there stays: its key may have been rotated."""
    keys = login.home / ".ssh" / "authorized_keys"
    keys.parent.mkdir(mode=0o700, exist_ok=True)
    keys.touch(mode=0o600)
    if not keys.stat().st_size:
        keys.write_text(f"{public_key}\n")
    _hand_over(keys.parent, login.uid, login.gid)
    return keys


def end_processes(login: Login) -> None:
    """End what runs as our account on the machine itself; a container's processes may share its number: not those."""
    namespace = Path("/proc/self/ns/pid").readlink()
    for entry in Path("/proc").glob("[0-9]*"):
        if login.ours and _runs_as(entry, login.uid, namespace):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def remove(installation: str) -> None:
    """Take the account away again; it stays if something still runs as it."""
    user = _name(installation)
    if not _exists(user):
        return
    done = subprocess.run(["userdel", user], capture_output=True, text=True, check=False)
    if done.returncode not in (0, _STILL_IN_USE):
        raise MachineError(f"userdel {user}: {done.stderr.strip()}")


def _name(installation: str) -> str:
    return f"slipway-{installation}"


def _hand_over(folder: Path, uid: int, gid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _taken(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _runs_as(entry: Path, uid: int, namespace: Path) -> bool:
    try:
        return entry.stat().st_uid == uid and (entry / "ns/pid").readlink() == namespace
    except OSError:
        return False  # it ended while we looked


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"{words[0]} {words[-1]}: {done.stderr.strip() or done.returncode}")

"""The ground a lab stands on: a number nobody else uses, its folder, and what a killed run left there.

Several labs may run on one machine, so each takes a number by a lock that the kernel drops when its process dies. The
number gives the folder, the subnet and every name a lab makes, so whatever a killed run left is found by it.
"""

import fcntl
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/var/tmp/slipway-lab")  # a fixed place, so that the next run finds it
_LABS = range(16)
_PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "sshd": "openssh-server",
    "busybox": "busybox-static",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
}


class LabError(Exception):
    """Something the lab was told to do did not happen."""


@dataclass(frozen=True)
class Ground:
    """One lab's number and folder, held until `give_back`."""

    number: int
    folder: Path
    lock: int

    @property
    def prefix(self) -> str:
        """What every interface and cgroup of this lab is called, or begins with."""
        return _prefix(self.number)

    def address(self, last: int) -> str:
        """The lab's own subnet: .1 is this machine, hosts are .11 and on."""
        return f"10.77.{self.number}.{last}"

    def note(self, pid: int) -> None:
        """Remember a process, so that a later run can end it should this one be killed."""
        with (self.folder / "pids").open("a") as pids:
            pids.write(json.dumps([pid, _started(pid)]) + "\n")

    def give_back(self) -> None:
        """Leave nothing."""
        _clean(self.number)
        os.close(self.lock)


def take() -> Ground:
    """A free number, with what an earlier run left under it cleaned away."""
    for number in _LABS:
        lock = _lock(number)
        if lock is None or _routed_elsewhere(number):
            continue
        _clean(number)
        folder = _ROOT / str(number)
        folder.mkdir(mode=0o755)
        return Ground(number, folder, lock)
    raise LabError(f"all {len(_LABS)} labs of this machine are in use")


def clean_all() -> list[int]:
    """Clean what killed runs left; a lab in use is not touched. The numbers that had something."""
    cleaned = []
    for number in _LABS:
        if not _remains(number):
            continue
        lock = _lock(number)
        if lock is not None:
            _clean(number)
            os.close(lock)
            cleaned.append(number)
    return cleaned


def missing() -> str | None:
    """Why there can be no lab here, in one line; None if there can."""
    if os.uname().sysname != "Linux":
        return "lab hosts are Linux namespaces"
    if os.geteuid() != 0:
        return "lab hosts need root"
    absent = {package for program, package in _PROGRAMS.items() if not which(program)}
    if absent:
        return f"not installed: {', '.join(sorted(absent))} (make install)"
    return None if Path("/dev/loop-control").exists() else "lab hosts need loop devices"


def which(program: str) -> str | None:
    """Where a program is, the folders for root's programs included."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")


def until(done: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise LabError(f"not so after {seconds:g} s: {what}")
        time.sleep(0.02)


def loops_of(image: Path) -> str:
    """The loop devices that still hold a disk image; one that was deleted counts too."""
    listed = subprocess.run(
        ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"], capture_output=True, text=True, check=True
    )
    return "".join(line for line in listed.stdout.splitlines() if str(image) in line)


def _lock(number: int) -> int | None:
    _ROOT.mkdir(mode=0o755, exist_ok=True)
    lock = os.open(_ROOT / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _routed_elsewhere(number: int) -> bool:
    ours = ipaddress.ip_network(f"10.77.{number}.0/24")
    listed = subprocess.run(["ip", "-json", "-4", "route"], capture_output=True, text=True, check=True).stdout
    others = (
        route
        for route in json.loads(listed or "[]")
        if route["dst"] != "default" and route.get("dev") != _prefix(number)
    )
    return any(ipaddress.ip_network(route["dst"], strict=False).overlaps(ours) for route in others)


def _prefix(number: int) -> str:
    return f"slipwaylab{number}"


def _remains(number: int) -> bool:
    return (_ROOT / str(number)).exists() or any(_cgroups(number)) or Path("/sys/class/net", _prefix(number)).exists()


def _clean(number: int) -> None:
    folder = _ROOT / str(number)
    for pid in _still_running(folder):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not _started(pid), f"process {pid} is gone")  # type: ignore[misc]
    until(lambda: not loops_of(folder), f"no loop device holds a disk in {folder}")
    if Path("/sys/class/net", _prefix(number)).exists():
        subprocess.run(["ip", "link", "delete", _prefix(number)], check=False, capture_output=True)
    for cgroup in _cgroups(number):
        _remove_cgroup(cgroup)
    if folder.exists():
        shutil.rmtree(folder)


def _still_running(folder: Path) -> Iterator[int]:
    noted = (folder / "pids").read_text().splitlines() if (folder / "pids").exists() else []
    for line in noted:
        pid, started = json.loads(line)
        if started and _started(pid) == started:
            yield pid


def _started(pid: int) -> str:
    """When the kernel says it started: a number that came back belongs to someone else."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if after_name[0] == "Z" else after_name[19]


def _cgroups(number: int) -> Iterator[Path]:
    root = Path("/sys/fs/cgroup")
    for pattern in (f"{_prefix(number)}-*", f"*/{_prefix(number)}-*"):
        yield from root.glob(pattern)


def _remove_cgroup(cgroup: Path) -> None:
    for folder, _, _ in os.walk(cgroup, topdown=False):
        # the kernel empties a cgroup a moment after its last process died
        until(lambda folder=folder: _removed(Path(folder)), f"{folder} is removed", 5)  # type: ignore[misc]


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

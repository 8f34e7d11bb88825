"""Where an installation keeps what cannot lie in its state folder, and how it is found when that folder is gone.

Sockets need short paths, and an account cannot have its home below a folder it may not enter, such as /root. So each
installation, run as root, has a short id, a folder under /run and, if need be, a home under /var/lib. A link from there
to the state folder tells the next runner whose state folder was deleted, and it clears what is left.
"""

import shutil
import subprocess
from pathlib import Path

from infra.local import login
from infra.local.daemon import end_left_over

_RUN = Path("/run/slipway")
_LIB = Path("/var/lib/slipway")


def run_dir(installation: str) -> Path:
    """For sockets and pid files: gone after a reboot, open to everyone to pass through."""
    folder = _RUN / installation
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def home(installation: str, state_dir: Path) -> Path:
    """In the state folder, unless the account could not get there."""
    resolved = state_dir.resolve()
    if all(folder.stat().st_mode & 0o001 for folder in (resolved, *resolved.parents)):
        return resolved / "home"
    return _LIB / installation


def note(installation: str, state_file: Path) -> None:
    """Remember whose this is."""
    _LIB.mkdir(mode=0o755, parents=True, exist_ok=True)
    link = _link(installation)
    link.unlink(missing_ok=True)
    link.symlink_to(state_file.resolve())


def close(installation: str) -> None:
    """The runner ends in order: only a home outside the state folder stays, with the note that tells whose it is."""
    shutil.rmtree(_RUN / installation, ignore_errors=True)
    if not (_LIB / installation).exists():
        _link(installation).unlink(missing_ok=True)


def sweep() -> None:
    """Clear what belonged to state folders that are no more."""
    for link in _LIB.glob("*.state"):
        if not link.exists():
            _forget(link.stem)


def unmount_below(folder: Path) -> None:
    """Undo what an engine that was killed mounted there; one that ends in order does so itself."""
    listed = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in listed]
    for point in sorted((at for at in points if Path(at).is_relative_to(folder)), reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _forget(installation: str) -> None:
    for pid_file in (_RUN / installation).glob("*.pid"):
        end_left_over(pid_file)
    login.remove(installation)
    unmount_below(_RUN / installation)
    unmount_below(_link(installation).readlink().parent)
    shutil.rmtree(_RUN / installation, ignore_errors=True)
    shutil.rmtree(_LIB / installation, ignore_errors=True)
    _link(installation).unlink()


def _link(installation: str) -> Path:
    return _LIB / f"{installation}.state"

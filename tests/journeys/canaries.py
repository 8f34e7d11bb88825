"""Where secrets might show: command lines, the control plane's state and logs, a host's files."""

import base64
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Plane


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line seen meanwhile, the hosts' among them: this machine sees their processes too."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.update(map(_command_line, Path("/proc").glob("[0-9]*")))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()
    assert any(b"hostkit" in line for line in seen), "nothing of Slipway was seen at work"
    assert any(b"docker-compose" in line for line in seen), "Compose was not seen at work"


def shown_in(text: bytes, secrets: Iterable[str]) -> list[str]:
    """The secrets that stand in this text, as they are or in base64, alone or in the middle of something."""
    return [secret for secret in secrets if any(form in text for form in _forms(secret.encode()))]


def kept_by(plane: Plane) -> list[Path]:
    return [plane.output, *(file for file in plane.state.rglob("*") if file.is_file())]


def shown_by(plane: Plane, secrets: Iterable[str]) -> dict[str, list[str]]:
    """What it keeps or logged in the clear, by file."""
    found = {str(file): shown_in(file.read_bytes(), secrets) for file in kept_by(plane)}
    return {file: shown for file, shown in found.items() if shown}


def files_on(host: DockerHost, secrets: Iterable[str]) -> list[str]:
    """Files of the SSH user that hold a secret: where, whose, and who may read them."""
    looking = 'cd "/home/$0" && { grep -rlE "$1" . || true; } | sed s,^./,, | sort | xargs -r stat -c "%n %U %a"'
    return host.lab.exec("sh", "-c", looking, host.lab.user, "|".join(secrets)).splitlines()


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    for before in range(3):
        padded = base64.b64encode(b"." * before + secret)
        yield padded[4 if before else 0 : -4]  # what stands before and after it changes the ends


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it ended while we looked

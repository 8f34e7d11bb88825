"""Running Compose: its binary itself, in an environment of our own, under a memory limit and a timeout.

Going through the `docker` command would cost 40 ms more. The limit is there because Compose expands what it reads: a
351-byte file of YAML anchors can make it take all the memory of the machine.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from typing import Any

from .refusals import Refused

MEMORY = 2 << 30  # address space; Compose 5 runs in half of it
# It lives a second and its heap is 20 MB: Go's collector would take a quarter of what a start costs, for nothing.
SELDOM_COLLECTS = {"GOGC": "400", "GOMEMLIMIT": "256MiB"}
ELF = b"\x7fELF"
PLUGIN_FOLDERS = (
    "~/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def project(service: str, *files: str) -> list[str]:
    """The words that name a project: nothing is read beside the files given, no `.env` and no override."""
    words = ["--project-name", service, "--project-directory", os.path.dirname(files[0]), "--env-file", "/dev/null"]
    return [*words, *(word for file in files for word in ("--file", file)), "--ansi", "never", "--progress", "plain"]


def run(words: list[str], timeout: float) -> tuple[int, str, str]:
    """Exit code, output, errors. What does not end in time is ended, with everything it started."""
    limit_memory()
    child = subprocess.Popen(  # noqa: S603 - words, no shell; ids were checked where they came in
        [_found(), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise Refused("CommandFailed", f"compose {words[-1]} did not end in {timeout:.0f} s") from error
    return child.returncode, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


def began(words: list[str], keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start it in the caller's process group, its output on the caller's own; `keep` are descriptors it inherits."""
    limit_memory()
    return subprocess.Popen(  # noqa: S603 - as above
        [_found(), *words], stdin=subprocess.DEVNULL, env=environment(), pass_fds=keep
    )


def environment() -> dict[str, str]:
    """All that Compose sees of this machine: a file's `${VARIABLE}` must not read what the session happens to hold."""
    kept = {name: os.environ[name] for name in ("HOME", "DOCKER_HOST") if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **SELDOM_COLLECTS, **kept}


def limit_memory() -> None:
    # On ourselves, for the child to inherit: a `preexec_fn` is not safe with threads, and we need little.
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))


def identity() -> list[Any] | None:
    """Differs where Compose is another or sees another environment. None where its file may be but a way to it."""
    path = _found()
    if not os.access(path, os.R_OK):
        return None
    with open(path, "rb") as file:
        head, stat = file.read(len(ELF)), os.fstat(file.fileno())
    if head != ELF:  # a script may lead to one binary today and to another tomorrow
        return None
    file_is = [os.path.realpath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    return [*file_is, sorted(environment().items())]


def binary() -> str | None:
    for folder in PLUGIN_FOLDERS:
        path = os.path.expanduser(folder) + "/docker-compose"
        if os.access(path, os.X_OK):
            return path
    return None


def _found() -> str:
    path = binary()
    if path is None:
        raise Refused("HostNotReady", "Docker Compose v2 was not found; install the docker-compose-plugin package")
    return path

"""Who may change a service on this host: one command at a time, and never one older than the newest seen.

Each attempt of each step carries a fencing number. The lock file holds the highest one; it outlives the service's own
folder, so a command that arrives after the service was removed is still refused.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .places import SERVICES
from .refusals import Refused

WAIT_S = 20.0


@contextmanager
def fenced(service: str, fence: int, wait_s: float = WAIT_S) -> Iterator[int]:
    """Hold the service's lock, as `fence` or newer. Yields the lock's descriptor, for a child that must keep it."""
    descriptor = _open(service)
    try:
        refuse_stale(service, fence)  # before waiting too: a late command should not queue behind its successor
        _lock(descriptor, service, wait_s)
        refuse_stale(service, fence)
        os.pwrite(descriptor, b"%-20d" % fence, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def refuse_stale(service: str, fence: int) -> None:
    newest = stored(service)
    if fence < newest:
        raise Refused(
            "StaleFence",
            f"{service}: a newer job has taken over; this command was refused by the host",
            {"fence": fence, "newest": newest},
        )


def stored(service: str) -> int:
    descriptor = _open(service)
    try:
        return int(os.pread(descriptor, 20, 0) or b"0")
    finally:
        os.close(descriptor)


@contextmanager
def whole_host(name: str) -> Iterator[None]:
    """The lock for what services share on a host: subnets, the edge's configuration."""
    os.makedirs(SERVICES, exist_ok=True)
    descriptor = os.open(f"{SERVICES}/{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, name, WAIT_S)
        yield
    finally:
        os.close(descriptor)


def _open(service: str) -> int:
    os.makedirs(SERVICES, exist_ok=True)
    return os.open(f"{SERVICES}/{service}.lock", os.O_RDWR | os.O_CREAT, 0o600)


def _lock(descriptor: int, name: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refused(
                    "Conflict", f"{name}: another command is still at work on the host after {wait_s:.0f} s of waiting"
                ) from None
            time.sleep(0.02)

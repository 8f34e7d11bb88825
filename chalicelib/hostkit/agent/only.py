"""One at a time: a lock that the kernel takes back when its holder ends."""

from __future__ import annotations

import fcntl
import os
import time

POLL_S = 0.05


def only_one(path: str, patience_s: float) -> bool:
    """Whether this process is now the one; it stays that until it ends. Others may look at the lock for a moment."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return False
            time.sleep(POLL_S)
        else:
            return True

"""Keeps one agent running where there is no systemd to do it: one supervisor, one child, started again when it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from .. import processes
from .only import only_one

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STABLE_S = 60.0
END_S = 5.0

_log = logging.getLogger("agent")


def supervise(folder: str, program: str) -> None:
    if not only_one(folder + "/supervise.lock", 1.0):
        sys.exit("another supervisor is at work")
    with open(folder + "/pid.new", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()} {processes.started(os.getpid())}")
    os.rename(folder + "/pid.new", folder + "/pid")
    pause = FIRST_PAUSE_S
    while True:
        began = time.monotonic()
        code = _ended(program)
        _log.warning("the agent ended with %s", code)
        pause = FIRST_PAUSE_S if time.monotonic() - began > STABLE_S else min(pause * 2, LONGEST_PAUSE_S)
        time.sleep(pause)


def _ended(program: str) -> int:
    """Run the agent to its end. It holds our pipe, and ends when we do, however we end."""
    words = [sys.executable, "-I", "-S", program, "run", "tied"]
    child = subprocess.Popen(words, stdin=subprocess.PIPE)  # noqa: S603 - our own words

    def end(_: int, __: FrameType | None) -> None:
        child.terminate()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    return child.wait()

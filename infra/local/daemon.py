"""A program kept running beside us: started, watched, started again when it dies, ended when we end.

A runner that is killed takes its programs along: the kernel sends them SIGTERM (`setpriv --pdeathsig`). That signal
comes when the *thread* that started them ends, so the thread that starts a program is the one that stays to watch it.
"""

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chalicelib.domain.errors import SlipwayError

_log = logging.getLogger("slipway.machine")
_LONGEST_PAUSE_S = 5.0


class MachineError(SlipwayError):
    """This machine lacks something or refuses something; the message is one line that says what to do."""

    code = "machine_not_ready"


class Daemon:
    """One program; its pid file lies where a reboot empties, its log where one can read it afterwards."""

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        run_dir: Path,
        log_dir: Path,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.name, self._words, self._environment = Path(words[0]).name, tuple(words), dict(environment)
        self._before = before
        self._pid_file, self._log_file = run_dir / f"{self.name}.pid", log_dir / f"{self.name}.log"
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._keep_running, name=f"watch-{self.name}", daemon=True)

    def start(self, ready: Callable[[], bool], seconds: float = 30.0) -> None:
        """Start it and wait until it is ready; what a killed runner left running is ended first."""
        self.end_left_over()
        self._watch.start()
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                self.stop()
                raise MachineError(f"{self.name} did not start: {self._last_words()}")
            time.sleep(0.02)

    def end_left_over(self) -> None:
        """End what a killed runner left running."""
        end_left_over(self._pid_file)

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._ending.set()
        self.end_left_over()
        self._watch.join()

    def _keep_running(self) -> None:
        pause = 0.2
        while not self._ending.is_set():
            began = time.monotonic()
            code = self._run()
            if self._ending.is_set():
                return
            pause = 0.2 if time.monotonic() - began > _LONGEST_PAUSE_S * 2 else min(pause * 2, _LONGEST_PAUSE_S)
            _log.warning("%s ended with %s and is started again: %s", self.name, code, self._last_words())
            self._ending.wait(pause)

    def _run(self) -> int:
        if self._before:
            self._before()
        words = ("setpriv", "--pdeathsig", "TERM", *self._words)
        with self._log_file.open("ab") as log:
            program = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        self._pid_file.write_text(json.dumps([program.pid, _started(program.pid)]))
        return program.wait()

    def _last_words(self) -> str:
        try:
            lines = self._log_file.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return "it left no log"
        return lines[-1][-500:] if lines else "it said nothing"


def end_left_over(pid_file: Path, seconds: float = 20.0) -> None:
    """End the program a pid file names, if it is still that program: politely first, and wait until it is gone."""
    try:
        pid, started = json.loads(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if started and _started(pid) == started:
            os.kill(pid, sign)
        deadline = time.monotonic() + seconds
        while started and _started(pid) == started and time.monotonic() < deadline:
            time.sleep(0.02)
    pid_file.unlink(missing_ok=True)


def _started(pid: int) -> str:
    """When the kernel says it started, so that a pid that came back is not taken for it; "" once it has ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if after_name[0] == "Z" else after_name[19]

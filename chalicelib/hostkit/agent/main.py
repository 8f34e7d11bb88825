"""The agent's door: `run` is the agent, `supervise` keeps one running, `version` says which it is."""

from __future__ import annotations

import logging
import logging.handlers
import os
import pkgutil
import signal
import sys
import threading

LOG_BYTES = 500_000
LOCK_S = 10.0
STACK_BYTES = 256 * 1024
UNPACKED = "000000000000"


def main() -> None:
    os.umask(0o077)
    action = sys.argv[1] if len(sys.argv) > 1 else ""
    program = os.path.abspath(sys.argv[0])
    if action == "version":
        sys.stdout.write(version() + "\n")
    elif action in ("run", "supervise"):
        folder = os.path.dirname(program)
        os.chdir(os.path.dirname(os.path.dirname(folder)))  # the kit's paths begin at the user's home
        _log_to(folder + "/agent.log")
        if action == "run":
            run(folder, program)
        else:
            from .supervise import supervise  # noqa: PLC0415 - the supervisor stays small

            supervise(folder, program)
    else:
        sys.exit("agent.pyz run | supervise | version")


def run(folder: str, program: str) -> None:
    from .only import only_one  # noqa: PLC0415 - asking for the version should not take them
    from .running import Agent  # noqa: PLC0415

    if not only_one(folder + "/run.lock", LOCK_S):
        sys.exit("another agent is at work")
    if sys.argv[2:] == ["tied"]:
        threading.Thread(target=_end_with_supervisor, name="tie", daemon=True).start()
    threading.stack_size(STACK_BYTES)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # everything is prepared for a worse end than this
    Agent(folder, version(), program).run()


def _end_with_supervisor() -> None:
    sys.stdin.buffer.read()  # it writes nothing, so this returns when it is gone
    os._exit(0)


def version() -> str:
    """Which agent this is; only one that was packed has a version."""
    try:
        told = pkgutil.get_data(__package__ or "", "VERSION")
    except OSError:
        told = None
    return told.decode() if told else UNPACKED


def _log_to(path: str) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.raiseExceptions = False  # a full disk is no reason to stop
    logger = logging.getLogger("agent")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    threading.excepthook = _fell


def _fell(told: threading.ExceptHookArgs) -> None:
    """A thread that ends by a fault of ours takes the process along: half an agent would look like a whole one."""
    fault = (told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    logging.getLogger("agent").error("%s ended", told.thread and told.thread.name, exc_info=fault)
    os._exit(1)

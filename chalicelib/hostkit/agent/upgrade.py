"""Another version of the agent, fetched from the control plane, proved to start, and put in place of this one."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from typing import Any

from .post import Connection, Unanswered

PACKAGE = "/api/agent/package"
RETRY_S = 600.0
STARTS_S = 30.0
OK = 200

_log = logging.getLogger("agent")


class Upgrade:
    """`path` is the agent's own file."""

    def __init__(self, path: str, version: str) -> None:
        self._path, self._version = path, version
        self._tried: dict[str, float] = {}

    def wanted(self, package: dict[str, Any] | None) -> bool:
        """Whether that is another version than this one, and was not tried in vain just now."""
        if not package or package["version"] == self._version or not self._path:
            return False
        return time.monotonic() - self._tried.get(package["version"], -RETRY_S) >= RETRY_S

    def fetch(self, connection: Connection, package: dict[str, Any]) -> bool:
        """Whether the agent's file is now that version."""
        self._tried[package["version"]] = time.monotonic()
        try:
            answer = connection.get(PACKAGE)
        except Unanswered as trouble:
            _log.warning("version %s cannot be fetched: %s", package["version"], trouble)
            return False
        program = _content(answer.body) if answer.status == OK else b""
        if hashlib.sha256(program).hexdigest() != package["sha256"]:
            _log.error("what came for version %s is not it (status %d)", package["version"], answer.status)
            return False
        return self._put(program, package["version"])

    def _put(self, program: bytes, version: str) -> bool:
        fresh = f"{self._path}.{os.getpid()}.new"
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(program)
            said = subprocess.run(  # noqa: S603 - our own words
                [sys.executable, "-I", "-S", fresh, "version"], capture_output=True, timeout=STARTS_S, check=False
            )
            if said.stdout.decode("utf-8", "replace").strip() != version:
                _log.error("version %s does not start here: %r", version, said.stderr[-500:])
                return False
            os.rename(fresh, self._path)
        except (OSError, subprocess.SubprocessError) as error:
            _log.error("version %s cannot be put in place: %s", version, error)
            return False
        finally:
            if os.path.exists(fresh):
                os.unlink(fresh)
        return True


def _content(answer: bytes) -> bytes:
    """The program in the answer; nothing where there is none."""
    try:
        return base64.b64decode(json.loads(answer)["content"], validate=True)
    except (ValueError, KeyError, TypeError):
        return b""


def become(path: str) -> None:
    """Go on as what is in that file, under the same process id."""
    os.execv(sys.executable, [sys.executable, "-I", "-S", path, *sys.argv[1:]])  # noqa: S606 - no shell is wanted

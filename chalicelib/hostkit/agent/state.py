"""What outlives the agent's process: which batch each lane is at, and how far each follower has been served.

`state.json` is written after every acknowledgement, and each lane's batch before it is sent. An agent that is killed in
between sends that batch again, byte for byte, under its number: the control plane knows whether it was relayed.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

from .packing import Batch, unpacked

_log = logging.getLogger("agent")


class State:
    """In the folder given, or a new one there. Nothing is waited for on the disk: it is for a killed process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._disk_works = True
        kept = self._read()
        self.boot: str = kept["boot"]
        self.acknowledged: dict[str, int] = kept["acknowledged"]
        self.places: dict[int, str] = {
            number: cursor for cursor, numbers in kept["places"].items() for number in numbers
        }
        self.events_since: int = kept["events_since"]

    def begin_anew(self) -> None:
        """The control plane knows more than this state: it is an old copy, and its numbers mean other batches."""
        self.boot = secrets.token_hex(8)
        self.acknowledged, self.places = {}, {}

    def left_over(self, lane: str) -> tuple[Batch, bytes] | None:
        """The batch that was on its way when the agent ended, and its body."""
        try:
            with open(self._path(lane), "rb") as file:
                kept = json.loads(file.readline())
                body = file.read()
            if kept["boot"] != self.boot or kept["sequence"] != self.acknowledged.get(lane, 0) + 1:
                return None
            return unpacked(body, kept["befores"]), body
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):  # the disk was full, or the machine went down
            _log.warning("what is kept of lane %s cannot be read", lane)
            return None

    def sending(self, batch: Batch, body: bytes) -> None:
        befores = [section.before for section in batch.sections]
        head = json.dumps({"boot": self.boot, "sequence": batch.sequence, "befores": befores}).encode()
        self._write(self._path(batch.lane), head + b"\n" + body)

    def save(self, kept: Callable[[], dict[str, Any]]) -> None:
        with self._turn:  # asked for inside, so that no older state is written over a newer one
            self._write(self._path(""), json.dumps(kept()).encode())

    def _read(self) -> dict[str, Any]:
        fresh: dict[str, Any] = {"boot": secrets.token_hex(8), "acknowledged": {}, "places": {}, "events_since": 0}
        try:
            with open(self._path(""), encoding="utf-8") as file:
                return {**fresh, **json.load(file)}
        except FileNotFoundError:
            return fresh
        except (OSError, ValueError, TypeError):
            _log.warning("the state cannot be read; beginning anew")
            return fresh

    def _path(self, lane: str) -> str:
        return f"{self._folder}/{lane}.batch" if lane else f"{self._folder}/state.json"

    def _write(self, path: str, text: bytes) -> None:
        try:
            with open(path + ".new", "wb") as file:
                file.write(text)
            os.rename(path + ".new", path)
        except OSError as error:  # logs matter more than what would be known after a crash
            if self._disk_works:
                _log.warning("the state cannot be written: %s", error)
            self._disk_works = False
        else:
            self._disk_works = True

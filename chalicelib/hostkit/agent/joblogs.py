"""A job's output as it is written: its files one after the other, in the order in which they were begun.

The files stay where they are, so nothing is held here but a place in them.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from .. import clock, places
from . import cursor, entries
from .entries import Entry
from .packing import MOST_BYTES, Room, Section

LOOK_S = 0.1
PIECE = 1 << 16
PAUSE_S = 0.2
READ_AGAIN = "the cursor cannot be read; showing the output from its start"


class JobLog:
    """One follower's place in a job's output."""

    def __init__(self, job: str, start: dict[str, Any]) -> None:
        self.job = job
        self.over = False
        self.done = False
        self.said = time.monotonic()
        self._not_before = 0.0
        self._file, self._offset = "", 0
        self._lines: int | None = None  # how many of the last lines he wants, until that is looked up
        self._says = ""
        self._begin(start)

    def text(self) -> str:
        return cursor.of_file(self._file, self._offset)

    def next_look(self) -> float:
        return 60.0 if self.done else max(LOOK_S, self._not_before - time.monotonic())

    def section(self, number: int, room: Room, sign_of_life_s: float) -> Section | None:
        """What has been written since."""
        if self.done or time.monotonic() < self._not_before or room.entries <= 0:
            return None
        files = _files(self.job)
        if self._lines is not None:
            self._file, self._offset = _last_lines(files, self._lines)
            self._lines = None
        before = self.text()
        found, ended = self._read(files, room)
        if self._says:
            found.insert(0, Entry(entries.system(self._says, "", before), before))
        if not found and time.monotonic() - self.said >= sign_of_life_s:
            found = [Entry(entries.system("no new output", "", before), before)]
        if not found and not ended:
            return None
        room.take(found)
        section = Section({"job_id": self.job}, [number], found, before)
        section.ended = ended
        self.said = time.monotonic()
        return section

    def delivered(self, section: Section, count: int | None) -> None:
        """Of a section all, or with a `count` so many entries only."""
        self._says = ""
        self._file, self._offset = cursor.read_file(section.after(len(section.entries) if count is None else count))
        if count is None:
            self.done = section.ended
        else:
            self._not_before = time.monotonic() + PAUSE_S

    def _begin(self, start: dict[str, Any]) -> None:
        tail = start.get("tail", "all")
        if "cursor" in start:
            try:
                self._file, self._offset = cursor.read_file(str(start["cursor"]))
            except cursor.Unreadable:
                self._says = READ_AGAIN
        elif tail != "all":  # `since` means all of it: the lines have no times of their own
            self._lines = int(tail)

    def _read(self, files: list[str], room: Room) -> tuple[list[Entry], bool]:
        """The next entries, and whether they are the last."""
        later = files[files.index(self._file) :] if self._file in files else files
        for index, name in enumerate(later):
            offset = self._offset if name == self._file else 0
            closed = self.over or index + 1 < len(later)  # nothing more is written to it
            found, at_end = _entries(name, offset, closed, room)
            if found or not (at_end and closed):
                return found, at_end and self.over and index + 1 == len(later)
        return [], self.over


def _files(job: str) -> list[str]:
    """The folders of a job's parts, the first one begun first."""
    names = os.listdir(places.JOBS) if os.path.isdir(places.JOBS) else []
    mine = [name for name in names if name == job or name.startswith(job + ".")]
    return sorted(mine, key=_begun)


def _begun(name: str) -> tuple[float, str]:
    try:
        asked = places.read_json(f"{places.JOBS}/{name}/start") or {}
        return float(asked.get("at") or os.stat(f"{places.JOBS}/{name}").st_mtime), name
    except (OSError, json.JSONDecodeError):  # it is being removed
        return 0.0, name


def _entries(name: str, offset: int, closed: bool, room: Room) -> tuple[list[Entry], bool]:
    """Whole lines from there on, and whether they reach the end; what has no newline counts once the file is closed."""
    try:
        with open(f"{places.JOBS}/{name}/log", "rb") as log:
            log.seek(offset)
            data = log.read(PIECE)
    except FileNotFoundError:
        return [], True
    at_end = len(data) < PIECE
    kind = [*name.split("."), ""][1] or "job"
    found: list[Entry] = []
    for line in data.splitlines(keepends=True) if data.endswith(b"\n") else _whole(data, closed and at_end):
        entry = _entry(name, offset + len(line), line, kind)
        if not room.holds([*found, entry]) and (found or room.size < MOST_BYTES):
            return found, False
        found.append(entry)
        offset += len(line)
    return found, at_end


def _whole(data: bytes, with_rest: bool) -> list[bytes]:
    lines = data.splitlines(keepends=True)
    # One that fills all that is read at once is passed on as it is.
    return lines if with_rest or len(lines) == 1 == len(data) // PIECE else lines[:-1]


def _entry(name: str, offset: int, line: bytes, kind: str) -> Entry:
    text = cursor.of_file(name, offset)
    message = line.decode("utf-8", "replace").rstrip("\r\n")
    fields = {"timestamp": clock.now(), "stream": "stdout", "message": message, "container": kind, "cursor": text}
    return Entry(json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode(), text)


def _last_lines(files: list[str], wanted: int) -> tuple[str, int]:
    """Where the last so many lines begin."""
    for name in reversed(files):
        starts, end = _line_starts(name)
        if wanted <= len(starts):
            return name, starts[-wanted] if wanted else end
        wanted -= len(starts)
    return "", 0


def _line_starts(name: str) -> tuple[list[int], int]:
    """Where each line of a file begins, and where the file ends."""
    starts, end = [], 0
    try:
        with open(f"{places.JOBS}/{name}/log", "rb") as log:
            for line in log:
                starts.append(end)
                end += len(line)
    except FileNotFoundError:
        return [], 0
    return starts, end

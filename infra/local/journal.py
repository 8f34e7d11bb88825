"""A log that outlives a kill: records in the order they were accepted, compacted into snapshots.

Files come in generations: `snapshot.N` is everything that happened before `log.N` began. Compaction first turns to
`log.N+1`, then writes `snapshot.N+1` beside it, and only once that is complete and named are the older files deleted.
So at whatever point the process dies, the newest snapshot and every log from its number on, in order, are the whole
truth. A snapshot is made of the same records as a log, so there is one format and one way to read it.

A record is in the kernel's page cache before `append` returns, which a kill -9 does not touch; the disk has it about a
second later (`sync`). Only a power loss can take that last second.
"""

import errno
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """`replay` first, then `append`. The caller's lock orders `append` and `turn`; `compact` needs none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._generation = 0
        self._log = -1
        self._size = 0
        self._synced = 0
        self._turning = threading.Lock()  # `sync` must not outlive the file it syncs

    def replay(self) -> Iterator[Record]:
        """Every record that still matters, oldest first; then the newest log is open for more."""
        snapshots, logs = self._numbers("snapshot"), self._numbers("log")
        start = max(snapshots, default=0)
        if snapshots:
            yield from _records(self._path("snapshot", start))
        for number in sorted(number for number in logs if number >= start):
            yield from _records(self._path("log", number))
        self._open(max((start, *logs)))
        self._forget_before(start)

    @property
    def size(self) -> int:
        return self._size

    def append(self, record: Record) -> None:
        """Raise OSError, leaving the log as it was, when the disk does not take the record."""
        line = _line(record)
        written = os.write(self._log, line)
        if written != len(line):
            os.ftruncate(self._log, self._size)
            raise OSError(errno.ENOSPC, f"the disk took {written} of {len(line)} bytes")
        self._size += len(line)

    def turn(self) -> int:
        """Go on in a new log. Say which, so that the state as it is now can be compacted as that one's snapshot."""
        with self._turning:
            os.close(self._log)
            self._open(self._generation + 1)
        return self._generation

    def compact(self, generation: int, records: Iterable[Record]) -> int:
        """Write the snapshot, forget what it makes superfluous, and say how many bytes it has."""
        unfinished = self._folder / "snapshot.unfinished"
        with unfinished.open("wb") as file:
            file.writelines(_line(record) for record in records)
            file.flush()
            os.fsync(file.fileno())
            length = file.tell()
        unfinished.rename(self._path("snapshot", generation))
        self._sync_folder()
        self._forget_before(generation)
        return length

    def sync(self) -> None:
        with self._turning:
            if self._log >= 0 and self._synced != self._size:
                size = self._size
                os.fdatasync(self._log)
                self._synced = size

    def close(self) -> None:
        with self._turning:
            if self._log >= 0:
                os.fsync(self._log)
                os.close(self._log)
                self._log = -1

    def _open(self, generation: int) -> None:
        path = self._path("log", generation)
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._generation = generation
        self._size = _whole(path)
        self._synced = 0
        os.ftruncate(self._log, self._size)  # a torn last record was never answered
        self._sync_folder()

    def _forget_before(self, generation: int) -> None:
        for kind in ("log", "snapshot"):
            for number in self._numbers(kind):
                if number < generation:
                    self._path(kind, number).unlink()

    def _numbers(self, kind: str) -> list[int]:
        names = (path.name.partition(".")[2] for path in self._folder.glob(f"{kind}.*"))
        return [int(number) for number in names if number.isdigit()]

    def _path(self, kind: str, generation: int) -> Path:
        return self._folder / f"{kind}.{generation}"

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _records(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)


def _whole(path: Path) -> int:
    """The length up to and with the last complete record."""
    return path.read_bytes().rfind(b"\n") + 1

"""The engine's bytes as lines, as they come: frames of a container without a terminal, plain text of one with.

A line comes in pieces of 16 KiB. One that is longer than any follower is sent at once is passed on in parts, so that
no line, however long, is held in memory whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PIECE = 16384  # what the engine's log driver cuts lines at
PART = 100_000  # and we
ENDLESS = 1 << 60
STDOUT, STDERR = 1, 2
_HEADER = 8
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d) ")
_LONGEST_STAMP = 40


class Line(NamedTuple):
    stream: int
    stamp: bytes
    text: bytes
    partial: bool  # more of the same line follows


class BrokenStream(Exception):
    """The engine said in the middle of a log that it cannot go on."""


class _Unfinished:
    """A line whose end has not come yet."""

    __slots__ = ("pieces", "size", "stamp")

    def __init__(self, stamp: bytes) -> None:
        self.stamp = stamp
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)

    def taken(self) -> bytes:
        text = b"".join(self.pieces)
        self.pieces, self.size = [], 0
        return text


class Frames:
    """Eight bytes of header, then a time and up to 16 KiB of a line."""

    def __init__(self) -> None:
        self._rest = b""
        self._unfinished: dict[int, _Unfinished] = {}

    def feed(self, data: bytes) -> list[Line]:
        data = self._rest + data
        at, end, lines = 0, len(data), []
        while end - at >= _HEADER:
            stream, start = data[at], at + _HEADER
            until = start + int.from_bytes(data[at + 4 : start], "big")
            if until > end:
                break
            if stream not in (STDOUT, STDERR):
                raise BrokenStream(data[start:until].decode("utf-8", "replace"))
            at = until
            space = data.find(b" ", start, until)
            if space < 0:
                raise BrokenStream("a line without a time")
            if data[until - 1] == 10 and stream not in self._unfinished:  # noqa: PLR2004 - a newline
                lines.append(Line(stream, data[start:space], data[space + 1 : until - 1].rstrip(b"\r"), False))
            else:
                lines += self._piece(stream, data[start:space], data[space + 1 : until])
        self._rest = data[at:]
        return lines

    def _piece(self, stream: int, stamp: bytes, text: bytes) -> list[Line]:
        held = self._unfinished.setdefault(stream, _Unfinished(stamp))
        held.add(text)
        if text.endswith(b"\n"):
            del self._unfinished[stream]
            return [Line(stream, held.stamp, held.taken().rstrip(b"\r\n"), False)]
        return [Line(stream, held.stamp, held.taken(), True)] if held.size > PART else []

    def ended(self) -> list[Line]:
        """What a container that is over left without a newline."""
        lines = [Line(stream, held.stamp, held.taken(), False) for stream, held in self._unfinished.items()]
        self._unfinished = {}
        return lines


class Terminal:
    """The same of a container with a terminal, whose long lines have a time in their middle every 16 KiB."""

    def __init__(self) -> None:
        self._rest = b""
        self._held: _Unfinished | None = None
        self._left = 0  # how much of a line may come before the next time

    def feed(self, data: bytes) -> list[Line]:
        data = self._rest + data
        at, lines = 0, []
        while at < len(data):
            if not self._left:
                begins = self._time(data, at)
                if begins is None:
                    break
                at = begins
                continue
            newline = data.find(b"\n", at, at + self._left)
            until = newline if newline >= 0 else min(at + self._left, len(data))
            lines += self._piece(data[at:until], over=newline >= 0)
            at = until + 1 if newline >= 0 else until
        self._rest = data[at:]
        return lines

    def _time(self, data: bytes, at: int) -> int | None:
        """Where the text after the time here begins; None if the time has not come whole."""
        match = _STAMP.match(data, at)
        if match is None and len(data) - at < _LONGEST_STAMP and data.find(b"\n", at) < 0:
            return None
        if match is None:  # none where one belongs: what comes is text of the line before
            self._left = ENDLESS
            return at
        if self._held is None:
            self._held = _Unfinished(match.group()[:-1])
        self._left = PIECE
        return match.end()

    def _piece(self, text: bytes, *, over: bool) -> list[Line]:
        held = self._held
        self._left = 0 if over else self._left - len(text)
        if held is None:  # without any time it is not known where it belongs
            return []
        held.add(text)
        if over:
            self._held = None
            return [Line(STDOUT, held.stamp, held.taken().rstrip(b"\r"), False)]
        return [Line(STDOUT, held.stamp, held.taken(), True)] if held.size > PART else []

    def ended(self) -> list[Line]:
        held, self._held, self._left, self._rest = self._held, None, 0, b""
        return [Line(STDOUT, held.stamp, held.taken(), False)] if held else []

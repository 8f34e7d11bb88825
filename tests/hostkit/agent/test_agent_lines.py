"""The engine's bytes as lines, however they are cut on the way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.hostkit import clock
from chalicelib.hostkit.agent import entries
from chalicelib.hostkit.agent.lines import PART, PIECE, BrokenStream, Frames, Line, Terminal

STAMP = b"2026-03-29T14:30:00.%09dZ"
texts = st.binary(max_size=50).map(lambda raw: raw.translate(None, b"\r\n"))


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def framed(stream: int, number: int, text: bytes) -> bytes:
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] or [b""]
    pieces[-1] += b"\n"
    return b"".join(frame(stream, STAMP % number + b" " + piece) for piece in pieces)


def fed(parser: Any, data: bytes, sizes: list[int]) -> list[Line]:
    lines, at = [], 0
    for size in sizes:
        lines += parser.feed(data[at : at + size])
        at += size
    return [*lines, *parser.feed(data[at:]), *parser.ended()]


@given(st.lists(st.tuples(st.sampled_from([1, 2]), texts), max_size=10), st.lists(st.integers(1, 30), max_size=30))
def test_frames_give_their_lines_wherever_they_are_cut(written: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data = b"".join(framed(stream, number, text) for number, (stream, text) in enumerate(written))

    lines = fed(Frames(), data, sizes)

    assert [(one.stream, one.text) for one in lines] == written
    assert [one.stamp for one in lines] == [STAMP % number for number in range(len(written))]


@given(st.lists(texts, max_size=10), st.lists(st.integers(1, 30), max_size=30))
def test_so_does_a_terminal(written: list[bytes], sizes: list[int]) -> None:
    data = b"".join(STAMP % number + b" " + text + b"\r\n" for number, text in enumerate(written))

    lines = fed(Terminal(), data, sizes)

    assert [one.text for one in lines] == written
    assert [one.stamp for one in lines] == [STAMP % number for number in range(len(written))]


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_a_line_in_pieces_is_one_line(length: int) -> None:
    text = b"x" * length
    pieces = [text[at : at + PIECE] for at in range(0, length, PIECE)]
    terminal = b"".join(STAMP % 1 + b" " + piece for piece in pieces) + b"\r\n" + STAMP % 2 + b" y\r\n"

    assert [one.text for one in Frames().feed(framed(1, 1, text) + framed(1, 2, b"y"))] == [text, b"y"]
    assert [one.text for one in Terminal().feed(terminal)] == [text, b"y"]


def test_a_line_beyond_all_measure_comes_in_parts() -> None:
    text = b"z" * (3 * PART)

    lines = Frames().feed(framed(2, 1, text))

    assert b"".join(one.text for one in lines) == text
    assert [one.partial for one in lines] == [True] * (len(lines) - 1) + [False]
    assert max(len(one.text) for one in lines) <= PART + PIECE
    assert {one.stamp for one in lines} == {STAMP % 1}


def test_both_streams_may_be_in_the_middle_of_a_line_at_once() -> None:
    first = frame(1, STAMP % 1 + b" " + b"o" * PIECE)
    second = frame(2, STAMP % 2 + b" " + b"e" * PIECE)
    ends = frame(2, STAMP % 2 + b" rr\n") + frame(1, STAMP % 1 + b" ut\n")

    assert [one.text for one in Frames().feed(first + second + ends)] == [b"e" * PIECE + b"rr", b"o" * PIECE + b"ut"]


def test_an_engine_that_gives_up_in_the_middle_is_no_line() -> None:
    with pytest.raises(BrokenStream, match="cannot go on"):
        Frames().feed(frame(3, b"cannot go on"))


@pytest.mark.parametrize(
    "stamp", ["2026-03-29T14:30:00.123456789Z", "2026-03-29T14:30:00.5Z", "2026-03-29T16:30:00.123456789+02:00"]
)
def test_times_are_numbers_to_the_nanosecond(stamp: str) -> None:
    times = entries.Times()

    assert times.of(stamp.encode()) == clock.nanoseconds(stamp)
    assert times.of(stamp.encode()) == clock.nanoseconds(stamp)
    assert entries.moment(1_774_794_600_123_456_789) == "2026-03-29T14:30:00.123456789Z"

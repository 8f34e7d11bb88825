"""Where a follower is, as text and back, and what that covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.hostkit.agent import cursor
from chalicelib.hostkit.agent.cursor import OVERLAP_NS, Mark, Pair, Position
from chalicelib.hostkit.agent.lines import Line
from chalicelib.hostkit.agent.reading import HOLE_NS, Holes, Sieve

CONTAINERS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc")
pairs = st.tuples(st.sampled_from(CONTAINERS), st.sampled_from([1, 2]))
marks = st.tuples(st.integers(10, 40), st.integers(0, 3))
positions = st.builds(Position, st.integers(0, 9), st.dictionaries(pairs, marks))
lines = st.lists(st.tuples(pairs, marks), max_size=40)
S = 10**9


def test_a_position_is_itself_again_from_its_text() -> None:
    position = Position(1_795_547_951_559_488_247, {("0123456789ab", 1): (1_795_547_951_559_488_248, 3)})

    again = cursor.read(position.text())

    assert (again.floor, again.pairs) == (position.floor, position.pairs)
    assert set(position.text()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(positions)
def test_every_position_has_a_text(position: Position) -> None:
    again = cursor.read(position.text())

    assert (again.floor, again.pairs) == (position.floor, position.pairs)


@given(positions, positions, lines)
def test_two_joined_cover_what_either_does(one: Position, other: Position, some: list[tuple[Pair, Mark]]) -> None:
    joined = one.joined(other)

    assert joined.reaches(one)
    assert joined.reaches(other)
    for pair, mark in some:
        listed = pair in one.pairs and pair in other.pairs
        if listed and mark[0] > max(one.floor, other.floor):
            assert joined.covers(pair, mark) == (one.covers(pair, mark) or other.covers(pair, mark))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_what_is_no_cursor_is_unreadable_and_nothing_worse(text: str) -> None:
    for read in (cursor.read, cursor.read_file):
        try:
            read(text)
        except cursor.Unreadable:
            continue


@given(st.text(st.sampled_from("abc.-0_"), max_size=60), st.integers(0, 2**60))
def test_a_place_in_a_file_is_itself_again(name: str, offset: int) -> None:
    text = cursor.of_file(name, offset)

    assert cursor.read_file(text) == (name, offset)
    with pytest.raises(cursor.Unreadable):
        cursor.read(text)


def test_a_cursor_stays_short_however_many_containers_there_are() -> None:
    position = Position(5)
    for number in range(1000):
        position.put((f"{number:012x}", 1), (100 + number, 1))

    assert len(position.text()) <= cursor.LONGEST
    again = cursor.read(position.text())
    assert again.pairs[(f"{999:012x}", 1)] == (1099, 1)
    assert again.covers((f"{0:012x}", 1), (100, 1))
    assert not again.covers((f"{999:012x}", 1), (1100, 1))


def test_a_log_is_read_from_its_slower_stream_on_but_not_from_long_ago() -> None:
    both = Position(0, {("a" * 12, 1): (100 * S, 1), ("a" * 12, 2): (100 * S - 5, 1)})
    quiet = Position(0, {("a" * 12, 1): (100 * S, 1), ("a" * 12, 2): (3 * S, 1)})

    assert both.since("a" * 12) == 100 * S - 5
    assert quiet.since("a" * 12) == 100 * S - OVERLAP_NS
    assert Position(7).since("a" * 12) == 7


# what is new in a log that is read again


def line(text: str, stream: int = 1, *, partial: bool = False) -> Line:
    return Line(stream, b"", text.encode(), partial)


def read(position: Position, written: list[tuple[int, Line]]) -> list[str]:
    """What is new of what an engine sends, as the agent decides it."""
    sieve, new = Sieve("a" * 12, position), []
    for time, one in written:
        pair, mark = ("a" * 12, one.stream), sieve.mark(time, one)
        if not position.covers(pair, mark):
            position.put(pair, mark)
            new.append(one.text.decode())
    return new


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2])), max_size=30), st.data())
def test_a_log_read_in_pieces_with_overlaps_gives_each_line_once(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    written, time = [], 1000
    for number, (step, stream) in enumerate(steps):
        time += step
        written.append((time, line(str(number), stream)))
    position, got = Position(), []
    for _ in range(data.draw(st.integers(1, 5))):
        since = position.since("a" * 12)
        log = [entry for entry in written if entry[0] >= since]
        got += read(position, log[: data.draw(st.integers(0, len(log)))])
    got += read(position, [entry for entry in written if entry[0] >= position.since("a" * 12)])

    assert sorted(map(int, got)) == list(range(len(written)))


def test_what_comes_twice_at_a_rotation_is_dropped() -> None:
    log = [
        (1, line("a")),
        (2, line("b")),
        (3, line("c")),
        (2, line("b")),
        (3, line("c")),
        (3, line("c")),
        (4, line("d")),
    ]

    assert read(Position(), log) == ["a", "b", "c", "d"]


def test_different_lines_of_one_moment_are_different() -> None:
    position = Position()

    assert read(position, [(1, line("a")), (1, line("b"))]) == ["a", "b"]
    assert read(position, [(1, line("a")), (1, line("b")), (1, line("c"))]) == ["c"]


def test_a_log_that_no_longer_has_the_last_line_has_a_gap() -> None:
    position = Position(0, {("a" * 12, 1): (10, 1)})
    sieve = Sieve("a" * 12, position)
    sieve.mark(15, line("x"))
    gap = sieve.gap(1, 15)

    assert gap is not None
    assert (gap.since, gap.until) == (10, 15)
    assert sieve.gap(1, 16) is None


def test_a_log_that_still_has_it_has_none() -> None:
    sieve = Sieve("a" * 12, Position(0, {("a" * 12, 1): (10, 1)}))
    sieve.mark(10, line("last"))

    assert sieve.gap(1, 15) is None


# holes in the times of one who is behind


def sound(holes: Holes, times: list[int], now: int) -> int:
    return holes.sound(times, [True] * len(times), now)


def test_who_keeps_up_is_not_suspected() -> None:
    holes = Holes(1000)

    assert sound(holes, [S, 2 * S, 3 * S], S) == 3
    assert not holes.behind


def test_a_hole_too_short_to_fill_a_file_is_none_nor_is_any_where_nothing_rotates() -> None:
    assert sound(Holes(600_000_000), [S, 10 * S], 100 * S) == 2
    assert sound(Holes(600_000_000), [S, 12 * S], 100 * S) == 1
    assert sound(Holes(None), [S, 90 * S], 100 * S) == 2


def test_a_hole_before_one_who_is_behind_is_looked_into_once() -> None:
    holes = Holes(1000)
    hole = [S, S + 1, S + 1 + 2 * HOLE_NS, S + 2 + 2 * HOLE_NS]
    assert sound(holes, hole, 100 * S) == 2
    holes.opened()
    assert sound(holes, hole[2:], 100 * S) == 2  # it follows indeed: whoever writes pauses like this
    after = hole[-1]
    assert sound(holes, [after + 2 * HOLE_NS, after + 4 * HOLE_NS], 100 * S) == 2
    assert sound(holes, [after + 100 * HOLE_NS], 100 * S) == 0


def test_where_lines_were_missing_the_next_hole_is_looked_into_as_well() -> None:
    holes = Holes(1000)
    assert sound(holes, [S, S + 5 * HOLE_NS], 100 * S) == 1
    holes.opened()
    assert sound(holes, [S + HOLE_NS, S + HOLE_NS + 1, S + 3 * HOLE_NS], 100 * S) == 2

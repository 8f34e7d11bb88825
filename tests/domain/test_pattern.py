"""Patterns for values: what may be written, what it matches, and that none of it is ever slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.pattern import LONGEST_PATTERN, LONGEST_VALUE, fits, why_not


@pytest.mark.parametrize(
    "pattern",
    [
        "[a-z_][a-z0-9_]{0,62}", "^[A-Za-z]+$", r"\d{4}-\d{2}-\d{2}", "(daily|weekly)", "(https?://)?example",
        r"a\.b\+c",
        "[^@ ]+@[^@ ]+", r"[!#-\[\]-~]{8,128}", ".{8,128}", "v1", "a-b--c", "",
    ],
)  # fmt: skip
def test_an_ordinary_pattern_is_taken(pattern: str) -> None:
    assert why_not(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b", "(a|a)*b", "(a*)*", "(?:a?){30}", "(a)\\1", "(?=a)a", "(?<!a)b", "(?P<n>a)", "(?i)a", "a*?", "a*+",
        "a++", "a{2}{3}", "a*b*c*d*", "a?a?a?a?a?a?a?", "(a", "a)", "[a", "[z-a]", "[[a]", "[a--b]", "a{3,1}", "*",
        "a^b", "a$b", "\\A", "\\bx", "\\", "{", "|" * 9, "x" * (LONGEST_PATTERN + 1),
    ],
)  # fmt: skip
def test_a_pattern_that_could_be_slow_or_is_none_is_refused_with_a_reason(pattern: str) -> None:
    assert why_not(pattern)


def test_the_whole_value_must_match_and_it_is_short() -> None:
    assert fits("[a-z]+", "abc")
    assert not fits("[a-z]+", "abc!")
    assert not fits("[a-z]+", "abc\n")
    assert fits(".*", "a" * LONGEST_VALUE)
    assert not fits(".*", "a" * (LONGEST_VALUE + 1))
    assert not fits(r"\d+", "٣")


@pytest.mark.parametrize("pattern", [".*.*.*x", "(a*)?(a*)?(a*)?x", "a?a?a?a?a?a*a*a*x", "a?a?a?a?a?a?.*.*.*x"])
def test_the_worst_that_is_taken_costs_a_blink(pattern: str) -> None:
    assert why_not(pattern) is None
    began = time.process_time()

    assert not fits(pattern, "a" * LONGEST_VALUE)

    assert time.process_time() - began < 5


@given(st.text("ab.*+?{}()[]|^$\\1,:=d-", max_size=14), st.text("ab1", max_size=30))
def test_no_text_is_more_than_refused(pattern: str, value: str) -> None:
    if why_not(pattern) is None:
        fits(pattern, value)

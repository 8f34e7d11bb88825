"""Times, ids and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chalicelib.domain.panel import Caller, new_token, parse_token
from chalicelib.domain.words import Title, new_id, now, parse_time, timestamp


@pytest.mark.parametrize(
    "text", ["2026-03-29T14:30:00Z", "2026-03-29T14:30:00.123456789+02:00", "2026-03-29t14:30:00z"]
)
def test_rfc_3339_times_are_read(text: str) -> None:
    assert parse_time(text).tzinfo is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-03-29",
        "2026-03-29T14:30:00",
        "2026-13-29T14:30:00Z",
        "1774794600",
        "2026-03-29T14:30Z",
        "\u0662026-03-29T14:30:00Z",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


@pytest.mark.parametrize(
    "text", ["2026-03-29T14:30:00+99:00", "2026-02-30T14:30:00Z", "2026-03-29T25:30:00Z", "0000-03-29T14:30:00Z"]
)
def test_a_time_that_there_is_not_is_refused_in_our_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is no date, time or offset that there is"):
        parse_time(text)


def test_now_is_written_so_that_it_sorts_and_reads_back() -> None:
    text = now()

    assert timestamp(parse_time(text)) == text


@pytest.mark.parametrize("character", ["\0", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066"])
def test_a_title_is_one_line_that_reads_as_it_is_written(character: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        TypeAdapter(Title).validate_python(f"Acme{character}Corp")


@pytest.mark.parametrize("text", ["Acme Corp", "Łódź & Söhne", "株式会社", "شركة", "👩\u200d💻", "a\u00a0b"])
def test_a_title_is_of_any_language(text: str) -> None:
    assert TypeAdapter(Title).validate_python(f" {text}\n") == text


def test_ids_do_not_repeat() -> None:
    assert len({new_id("svc") for _ in range(1000)}) == 1000


def test_a_token_matches_its_own_text_only() -> None:
    token, text = new_token("ci", "deployer", None, None, now())
    parsed = parse_token(text)

    assert parsed is not None
    assert parsed[0] == token.id
    assert token.matches(parsed[1])
    assert not token.matches(parsed[1][:-1] + ("a" if parsed[1][-1] != "a" else "b"))
    assert parsed[1] not in token.model_dump_json()


@given(st.text())
def test_any_text_is_a_token_or_none_but_no_crash(text: str) -> None:
    assert parse_token(text) is None


def test_roles_include_those_below_them() -> None:
    deployer = Caller(token_id="t", role="deployer", customer_id="cust_a")

    assert deployer.at_least("viewer")
    assert not deployer.at_least("admin")
    assert deployer.may_see("cust_a")
    assert not deployer.may_see("cust_b")

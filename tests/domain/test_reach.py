"""What a look that failed or went well says of a host."""

from typing import Any

import pytest

from chalicelib.domain.panel import Host
from chalicelib.domain.reach import may_be_over, problem_since, with_problem
from tests.domain.test_placement import candidate

EARLIER, LATER = "2026-03-29T10:00:00.000Z", "2026-03-29T10:01:00.000Z"


def a_host(*checks: str, **facts: str) -> Host:
    problems = [{"check": check, "message": "", "since": EARLIER} for check in checks]
    return candidate("one", problems=problems, facts=facts).host


def lost(code: str) -> dict[str, Any]:
    return {"check": code, "message": "", "since": LATER}


@pytest.mark.parametrize(
    ("known", "found", "after"),
    [
        ([], "host_unreachable", ["host_unreachable"]),
        (["host_unreachable"], "host_unreachable", None),
        (["host_unreachable"], "host_key_mismatch", ["host_key_mismatch"]),
        (["disk"], "host_refused", ["disk", "host_refused"]),
    ],
)
def test_which_problems_a_host_has_that_was_not_reached(known: list[str], found: str, after: list[str] | None) -> None:
    problems = with_problem(a_host(*known), lost(found))

    assert (None if problems is None else [problem["check"] for problem in problems]) == after


def test_a_host_is_not_reached_since_that_was_found_first() -> None:
    assert problem_since(a_host("host_unreachable"), "host_unreachable", "no answer", LATER)["since"] == EARLIER
    assert problem_since(a_host("host_unreachable"), "host_refused", "no", LATER)["since"] == LATER


@pytest.mark.parametrize(
    ("checks", "facts", "worth_it"),
    [
        ([], {}, False),
        (["host_unreachable"], {}, True),
        (["host_refused", "disk"], {}, True),
        (["host_timeout"], {}, True),
        (["disk"], {}, False),
        (["same_machine"], {}, False),
        (["docker"], {}, True),
        (["docker"], {"docker": "19.03"}, False),
    ],
)
def test_when_a_look_that_went_well_is_worth_a_check(checks: list[str], facts: dict[str, str], worth_it: bool) -> None:
    assert may_be_over(a_host(*checks, **facts)) is worth_it

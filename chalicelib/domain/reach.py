"""What a look at a host says of the host itself: pure, so that it is a table in tests.

A look asks Docker, over SSH, what runs. What else a host may lack only a check can tell.
"""

from typing import Any

from chalicelib.domain.panel import Host

# By the codes of our errors. Nothing is known of a host that lets us not in, but that it takes nothing now.
_NOT_REACHED = frozenset({"host_unreachable", "host_refused", "host_key_mismatch"})
_PASSES = _NOT_REACHED | {"host_timeout"}

OTHER_INSTALLATION, EDGE = "other_installation", "edge"

Problem = dict[str, Any]


def is_not_reached(code: str) -> bool:
    return code in _NOT_REACHED


def is_away(host: Host) -> bool:
    """Whether nothing can be done on the host now, as far as is known."""
    return any(problem["check"] in {*_PASSES, "docker", OTHER_INSTALLATION} for problem in host.problems)


def is_anothers(host: Host) -> bool:
    """Whether it was found to be another installation's host."""
    return any(problem["check"] == OTHER_INSTALLATION for problem in host.problems)


def is_the_hosts(code: str) -> bool:
    """Whether an error is of the host, not of what it was asked to do."""
    return code in _PASSES or code == "host_not_ready"


def problem_since(host: Host, code: str, message: str, at: str) -> Problem:
    """What keeps us from the host, and since when: not since it was last seen, if it was seen before."""
    before = next((one for one in host.problems if one["check"] == code), None)
    return {"check": code, "message": message, "since": (before or {}).get("since") or at}


def with_problem(host: Host, problem: Problem) -> tuple[Problem, ...] | None:
    """The host's problems once a look did not reach it; None where that is known of it already."""
    if any(known["check"] == problem["check"] for known in host.problems):
        return None
    return (*(known for known in host.problems if known["check"] not in _NOT_REACHED), problem)


def may_be_over(host: Host) -> bool:
    """Whether a look that went well belies a problem of the host, so that it is worth a check."""
    did_not_answer = "docker" not in host.facts  # else it is too old, and a look goes well all the same
    return any(known["check"] in _PASSES or (known["check"] == "docker" and did_not_answer) for known in host.problems)

"""The truth table of containers: what they amount to for status, for health and for a deploy's verdict."""

from typing import Any

import pytest

from chalicelib.domain.observing import left_running, observation, status_seen, unreachable, verdict


def container(state: str = "running", **fields: Any) -> dict[str, Any]:
    return {
        "service": "web",
        "state": state,
        "health": "none",
        "exit_code": 0,
        "oom_killed": False,
        "restart_count": 0,
        "restart_policy": "unless-stopped",
        "cpu_usage": 0.15 if state == "running" else None,
        "cpu_limit": 1.0,
        "memory_usage_mb": 128 if state == "running" else None,
        "memory_limit_mb": 512,
        **fields,
    }


DONE = container("exited", service="migrate", restart_policy="no")
CRASHED = container("exited", exit_code=1, restart_policy="no")


@pytest.mark.parametrize(
    ("containers", "status"),
    [
        ([], "stopped"),
        ([container()], "running"),
        ([container(), DONE], "running"),
        ([container(), CRASHED], "failed"),
        ([container("restarting", exit_code=1)], "failed"),
        ([container("exited", exit_code=137)], "stopped"),
        ([container("exited", exit_code=143), container("exited", service="db")], "stopped"),
        ([container("created")], "stopped"),
        ([container("dead")], "failed"),
        ([container("paused")], "running"),
    ],
)
def test_the_status_that_containers_amount_to(containers: list[dict[str, Any]], status: str) -> None:
    assert status_seen(containers) == status


@pytest.mark.parametrize(
    ("containers", "expected", "state"),
    [
        ([container()], {"web"}, "healthy"),
        ([container(health="healthy")], {"web"}, "healthy"),
        ([container(health="starting")], {"web"}, "starting"),
        ([container(health="unhealthy")], {"web"}, "failed"),
        ([container()], {"web", "db"}, "starting"),
        ([container(), DONE], {"web", "migrate"}, "healthy"),
        ([container("created")], {"web"}, "starting"),
        ([container("restarting", exit_code=1, restart_count=1)], {"web"}, "starting"),
        ([container("restarting", exit_code=1, restart_count=3)], {"web"}, "failed"),
        ([CRASHED], {"web"}, "failed"),
        ([container(restart_count=7)], {"web"}, "healthy"),
        ([container("exited", exit_code=137, oom_killed=True)], {"web"}, "failed"),
    ],
)
def test_the_verdict_on_a_release_that_was_just_started(
    containers: list[dict[str, Any]], expected: set[str], state: str
) -> None:
    assert verdict(containers, frozenset(expected))[0] == state


def test_a_container_killed_for_memory_is_told_so() -> None:
    _, why = verdict([container("exited", exit_code=137, oom_killed=True)], frozenset({"web"}))

    assert why == "web was killed for using more memory than its limit"


def test_usage_is_summed_over_containers_and_never_made_up() -> None:
    seen = {"containers": [container(), container(service="db")], "storage_mb": 256}

    measured = observation(seen, "2026-03-29T14:30:00.000Z", None)

    assert measured.resources() == {
        "cpu_usage": 0.3,
        "cpu_limit": 2.0,
        "memory_usage_mb": 256,
        "memory_limit_mb": 1024,
        "storage_mb": 256,
    }
    assert measured.health == "healthy"


def test_a_container_without_a_limit_leaves_the_sum_unknown() -> None:
    seen = {"containers": [container(), container(memory_limit_mb=None)], "storage_mb": None}

    assert observation(seen, "2026-03-29T14:30:00.000Z", None).memory_limit_mb is None


@pytest.mark.parametrize(
    ("containers", "status", "health", "message"),
    [
        ([container(), container(service="db")], "running", "healthy", ""),
        ([container()], "failed", "unhealthy", "db has no container"),
        ([], "stopped", "unhealthy", "db has no container, web has no container"),
        ([container(), container("exited", service="db", exit_code=1)], "failed", "unhealthy", "db exited with code 1"),
        ([container("exited"), container("exited", service="db")], "stopped", "unhealthy", "web exited with code 0"),
        ([CRASHED], "stopped", "unhealthy", "web exited with code 1, db has no container"),
        ([container("created"), container("created", service="db")], "stopped", "unhealthy", "web is created"),
        ([container("paused"), container(service="db")], "running", "unhealthy", "web is paused"),
        ([DONE], "stopped", "unhealthy", "db has no container, web has no container"),
    ],
)
def test_what_is_said_of_a_service_that_nobody_stopped_and_should_have_a_web_and_a_db(
    containers: list[dict[str, Any]], status: str, health: str, message: str
) -> None:
    expected = {"web": 1, "db": 1}

    seen = observation({"containers": containers}, "2026-03-29T14:30:00.000Z", None, expected)

    assert (status_seen(containers, expected), seen.health, seen.health_message) == (status, health, message)


def test_one_of_several_containers_that_is_missing_is_told_with_how_many_there_are() -> None:
    seen = observation({"containers": [container()]}, "2026-03-29T14:30:00.000Z", None, {"web": 3})

    assert (seen.health, seen.health_message) == ("unhealthy", "web has 1 of its 3 containers")


def test_what_was_done_when_the_release_was_judged_need_not_stay() -> None:
    assert left_running([container(), container(), DONE]) == {"web": 2}


def test_failures_are_counted_until_it_is_well_again() -> None:
    broken = {"containers": [container(health="unhealthy")]}

    first = observation(broken, "2026-03-29T14:30:00.000Z", None)
    second = observation(broken, "2026-03-29T14:31:00.000Z", first)
    third = observation({"containers": [container(health="healthy")]}, "2026-03-29T14:32:00.000Z", second)

    assert [seen.consecutive_failures for seen in (first, second, third)] == [1, 2, 0]


def test_a_moment_up_between_two_crashes_is_not_being_well() -> None:
    crashed = {"containers": [container("restarting", exit_code=1, restart_count=4)]}
    a_moment_up = {"containers": [container(restart_count=5, up_s=2.5)]}
    well = observation({"containers": [container()]}, "2026-03-29T14:29:00.000Z", None)

    first = observation(crashed, "2026-03-29T14:30:00.000Z", well)
    second = observation(a_moment_up, "2026-03-29T14:31:00.000Z", first)
    steady = observation({"containers": [container(restart_count=5, up_s=12.0)]}, "2026-03-29T14:32:00.000Z", second)

    assert [seen.health for seen in (first, second, steady)] == ["unhealthy", "unhealthy", "healthy"]
    assert [seen.consecutive_failures for seen in (first, second, steady)] == [1, 2, 0]
    assert second.health_message == "web ended and was restarted less than 10 s ago"
    assert observation(a_moment_up, "2026-03-29T14:30:00.000Z", well).health == "starting"


def test_starting_again_does_not_forget_the_failures_before_it() -> None:
    failed = observation({"containers": [container(health="unhealthy")]}, "2026-03-29T14:30:00.000Z", None)

    starting = observation({"containers": [container(health="starting")]}, "2026-03-29T14:31:00.000Z", failed)

    assert (starting.health, starting.consecutive_failures) == ("starting", 1)


def test_a_host_that_does_not_answer_leaves_health_unknown_and_no_usage() -> None:
    before = observation({"containers": [container()], "storage_mb": 9}, "2026-03-29T14:30:00.000Z", None)

    after = unreachable("2026-03-29T14:31:00.000Z", before, "no answer")

    assert (after.health, after.cpu_usage_millis, after.storage_mb) == ("unknown", None, 9)


def test_a_probe_that_fails_is_unhealthy_though_the_container_runs() -> None:
    seen = {"containers": [container()], "probe": {"ok": False, "message": "nothing listens on port 80"}}

    assert observation(seen, "2026-03-29T14:30:00.000Z", None).health == "unhealthy"

"""What a host's agent tells of its own accord is kept where it concerns the host's own services, and nowhere else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.domain.service import Observation
from chalicelib.domain.words import timestamp
from chalicelib.live import kept, telemetry
from chalicelib.store.services import _meta, _stored
from chalicelib.store.table import put
from tests.live.conftest import Scene

CONTAINER = {
    "service": "web", "state": "running", "health": "none", "exit_code": 0, "oom_killed": False, "restart_count": 0,
    "restart_policy": "unless-stopped", "cpu_usage": 0.25, "cpu_limit": 1.0, "memory_usage_mb": 12.5,
    "memory_limit_mb": 512,
}  # fmt: skip


@pytest.fixture(autouse=True)
def looked_at_nobody() -> None:
    telemetry._looked.clear()


@pytest.fixture
def stored(scene: Scene) -> Scene:
    scene.panel.table.write(put(_meta(scene.service.id), _stored(scene.service)))
    scene.panel.services.rebuild_list()
    return scene


def event(scene: Scene, kind: str, number: int = 1, **more: Any) -> dict[str, Any]:
    about = {"service_id": scene.service.id, "container": "web", "type": kind, "at": "2026-01-02T00:00:00Z"}
    return {**about, "id": f"{kind}-{number}", "exit_code": None, "health": None, **more}


def timeline(scene: Scene) -> list[tuple[str, str, str]]:
    events, _ = scene.panel.services.events(scene.service.id, 1, 100)
    return [(one.type, one.status, one.message) for one in events]


def test_figures_are_kept_and_health_stays_as_it_was_found(stored: Scene) -> None:
    key = (stored.host.id, stored.service.id)
    before = Observation(measured_at="2026-01-01T00:00:00.000Z", health="unhealthy", health_message="502")
    stored.panel.services.observe(stored.host.id, {stored.service.id: before})

    telemetry.take(stored.host.id, {"at": "", "services": {stored.service.id: {"containers": [CONTAINER]}}}, [], [])

    seen = stored.panel.services.observations([key])[stored.service.id]
    assert (seen.cpu_usage_millis, seen.memory_usage_mb, seen.cpu_limit_millis) == (250, 13, 1000)
    assert (seen.health, seen.health_message) == ("unhealthy", "502")
    assert seen.measured_at > before.measured_at


def test_what_happens_to_a_container_is_a_line_of_the_timeline_and_has_the_host_looked_at(stored: Scene) -> None:
    telemetry.take(stored.host.id, None, [event(stored, "oom"), event(stored, "die", exit_code=137)], [])

    assert sorted(timeline(stored)) == [
        ("health", "unhealthy", "web exited with code 137"),
        ("health", "unhealthy", "web used more memory than its limit"),
    ]
    assert stored.panel.host_calls.told == [
        ("reconcile", {"host_id": stored.host.id, "service_ids": [stored.service.id]})
    ]


def test_an_event_told_twice_is_one_line(stored: Scene) -> None:
    for _ in range(2):
        telemetry.take(stored.host.id, None, [event(stored, "die", exit_code=1)], [])

    assert timeline(stored) == [("health", "unhealthy", "web exited with code 1")]


def test_a_crash_loop_does_not_fill_the_timeline(stored: Scene) -> None:
    began = datetime.now(UTC) - timedelta(minutes=9)

    for number in range(0, 9 * 60, 5):
        moment = timestamp(began + timedelta(seconds=number))
        crash = [event(stored, "die", number, exit_code=1, at=moment), event(stored, "start", number, at=moment)]
        telemetry.take(stored.host.id, None, crash, [])

    assert sorted(message for _, _, message in timeline(stored)) == [
        *["web exited with code 1"] * 3,
        *["web started"] * 3,
    ]


def test_what_happened_again_at_once_is_told_once_however_late_it_is_told(stored: Scene) -> None:
    began = datetime.now(UTC) - timedelta(hours=5)
    crashes = [
        event(stored, "die", number, exit_code=1, at=timestamp(began + timedelta(seconds=number)))
        for number in range(10)
    ]

    telemetry.take(stored.host.id, None, crashes, [])

    assert [message for _, _, message in timeline(stored)] == ["web exited with code 1"]


def test_a_start_is_no_news_of_a_service_that_is_known_to_crash(stored: Scene) -> None:
    stored.panel.table.write(
        put(_meta(stored.service.id), _stored(stored.service.model_copy(update={"status": "failed"})))
    )

    telemetry.take(stored.host.id, None, [event(stored, "start")], [])

    assert timeline(stored) == []


def test_a_stopped_service_is_not_told_that_its_containers_stopped(stored: Scene) -> None:
    service = stored.service.model_copy(update={"status": "stopped"})
    stored.panel.table.write(put(_meta(service.id), _stored(service)))

    telemetry.take(stored.host.id, None, [event(stored, "die", exit_code=143), event(stored, "start")], [])

    assert timeline(stored) == []


def test_an_agent_is_not_believed_about_services_of_other_hosts(stored: Scene) -> None:
    other = stored.panel.a_host("two")
    tail = {"service_id": stored.service.id, "container": "web", "container_id": "a" * 12,
            "ended_at": "2026-01-02T00:00:00Z", "entries": []}  # fmt: skip

    telemetry.take(
        other.id,
        {"at": "", "services": {stored.service.id: {"containers": [CONTAINER]}}},
        [event(stored, "die", exit_code=1)],
        [tail],
    )

    assert timeline(stored) == []
    assert list(kept.tails(stored.service.id, frozenset())) == []
    assert stored.panel.services.observations([(other.id, stored.service.id)]) == {}


def test_the_last_lines_of_a_dead_container_are_found_again_but_not_of_one_that_is_still_there(stored: Scene) -> None:
    for number, container in enumerate(("a" * 64, "b" * 64)):
        tail = {"service_id": stored.service.id, "container": "web", "container_id": container, "exit_code": 1,
                "ended_at": f"2026-01-0{number + 1}T00:00:00Z", "entries": [{"message": container[0]}]}  # fmt: skip
        telemetry.take(stored.host.id, None, [], [tail])

    every = [tail["container_id"][0] for tail in kept.tails(stored.service.id, frozenset())]
    gone = [tail["container_id"][0] for tail in kept.tails(stored.service.id, frozenset({"b" * 12}))]

    assert every == ["b", "a"]
    assert gone == ["a"]

"""Where a host's agent is silent its followers are told so, once, and jobs' output ends all the same."""

import json
from typing import Any

import pytest
from chalice.test import Client

import app
from chalicelib.domain.job import Job
from chalicelib.domain.words import new_id, now
from chalicelib.live import keeper, kept, relay
from chalicelib.store.jobs import key_of
from chalicelib.store.records import attributes
from chalicelib.store.table import put
from tests.live.conftest import Scene


@pytest.fixture
def reachable(scene: Scene) -> Scene:
    object.__setattr__(scene.panel.settings, "public_url", "https://panel.example.com")
    return scene


def a_job(scene: Scene, **fields: Any) -> Job:
    moment = now()
    told = {"status": "succeeded", "message": "Deployed release 1", "ended_at": moment, **fields}
    job = Job(
        id=new_id("job"), service_id=scene.service.id, service_name="app", customer_id="cust_1", host_id=scene.host.id,
        kind="deploy", fence=1, release=1, previous_release=0, previous_status="failed", requested_by="tok_1",
        created_at=moment, deadline=moment, **told,
    )  # fmt: skip
    scene.panel.table.write(put(key_of(job.id), attributes(job)))
    return job


def test_followers_of_a_silent_agent_are_told_once_and_it_is_looked_after(reachable: Scene) -> None:
    reachable.follow("one")

    silent = keeper.keep(), keeper.keep()

    assert silent == ([reachable.host.id], [reachable.host.id])
    (told,) = reachable.gateway.got("one")
    assert (told["stream"], "has not been heard of yet" in told["message"]) == ("system", True)
    assert reachable.panel.host_calls.told == [("ensure_agent", {"host_id": reachable.host.id})] * 2


def test_a_host_whose_agent_speaks_is_left_to_it(reachable: Scene) -> None:
    reachable.follow("one")
    reachable.panel.agents.seen(reachable.host.id, "1", "boot")

    silent = keeper.keep()

    assert silent == []
    assert reachable.gateway.got("one") == []
    assert reachable.panel.host_calls.told == []


def test_the_output_of_a_job_that_is_over_ends_without_the_agent(reachable: Scene) -> None:
    job = a_job(reachable)
    kept.keep_output(job.id, "up.1", "2026-01-01T00:00:00Z", "Started\n", truncated=False)
    reachable.follow("one", subject=job)

    keeper.keep()

    line, outcome = reachable.gateway.got("one")
    assert line["message"] == "Started"
    assert outcome["job"]["status"] == "succeeded"
    assert reachable.gateway.closed == ["one"]


def test_a_follower_that_is_gone_is_forgotten(reachable: Scene) -> None:
    reachable.follow("one")
    reachable.gateway.state["one"] = "gone"

    keeper.keep()

    assert relay.of_host(reachable.host.id)[1] == ()


def test_the_hosts_whose_agents_are_silent_are_named_in_a_line_by_whose_word_it_is_counted(
    reachable: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(app.app) as client:
        event = client.events.generate_cw_event("aws.events", "Scheduled Event", {}, [], "eu-central-1")
        client.lambda_.invoke("keeper", event)

    (line,) = [record.getMessage() for record in caplog.records if record.name == "slipway.sockets"]
    assert json.loads(line) == {"silent_agents": [reachable.host.id]}

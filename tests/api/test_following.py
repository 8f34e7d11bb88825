"""Who may open a WebSocket, what is answered to those who may not, and what may be said on one."""

import gzip
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib.api import auth, sockets
from chalicelib.aws.objects import Objects
from chalicelib.domain.errors import HostUnreachable
from chalicelib.domain.panel import new_agent_token
from chalicelib.live import kept
from tests.api.conftest import Api
from tests.api.test_services import deployed
from tests.emulator import Panel

LINE = {"timestamp": "2026-01-01T00:00:00Z", "stream": "stdout", "message": "it ran", "container": "web"}


@pytest.fixture
def settings(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    object.__setattr__(panel.settings, "websocket_url", "wss://panel.example.com")


def event(route: str, connection_id: str = "c1", **more: Any) -> dict[str, Any]:
    context = {"routeKey": route, "connectionId": connection_id, "domainName": "x", "stage": "api", "apiId": "local"}
    return {"requestContext": context, "headers": {}, "queryStringParameters": None, "body": None, **more}


def opened(query: dict[str, str], headers: dict[str, str] | None = None, connection_id: str = "c1") -> dict[str, Any]:
    answer: dict[str, Any] = sockets.connect(
        event("$connect", connection_id, headers=headers or {}, queryStringParameters=query), None
    )
    return answer


def said(panel: Panel, body: Any, **more: Any) -> Any:
    sockets.message(event("$default", body=body, **more), None)
    return panel.gateway.got("c1")[-1]


def code_of(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["statusCode"], json.loads(answer["body"])["error"]["code"]


def follow_path(service_id: str, more: str = "") -> str:
    return f"/services/{service_id}/logs?follow=true{more}"


@pytest.fixture
def service_id(api: Api, panel: Panel, wanted: dict[str, Any]) -> str:
    return deployed(api, panel, wanted)


@pytest.fixture
def bearer(panel: Panel) -> dict[str, str]:
    return {"Authorization": f"Bearer {panel.a_token('viewer')}"}


def test_a_plain_request_to_follow_is_told_where_to_go(api: Api, panel: Panel, service_id: str, settings: None) -> None:
    reply = api.get(follow_path(service_id, "&tail=all&format=batch"))

    assert (reply.status, reply.error["code"]) == (426, "upgrade_required")
    url = urlsplit(reply.error["details"]["url"])
    query = parse_qs(url.query)
    assert (url.scheme, url.netloc, url.path) == ("wss", "panel.example.com", f"/api/services/{service_id}/logs")
    assert (query["tail"], query["format"], query["follow"]) == (["all"], ["batch"], ["true"])


def test_a_ticket_opens_what_it_is_for_once(api: Api, panel: Panel, service_id: str, settings: None) -> None:
    url = api.get(follow_path(service_id)).error["details"]["url"]
    ticket = parse_qs(urlsplit(url).query)["ticket"][0]

    elsewhere = opened({"service_id": "svc_other", "follow": "true", "ticket": ticket})
    first = opened({"service_id": service_id, "follow": "true", "ticket": ticket})
    second = opened({"service_id": service_id, "follow": "true", "ticket": ticket}, connection_id="c2")

    assert code_of(elsewhere) == (401, "unauthorized")
    assert first == {"statusCode": 200}
    assert code_of(second) == (401, "unauthorized")


def test_a_ticket_is_good_for_a_minute(api: Api, panel: Panel, service_id: str, settings: None) -> None:
    url = api.get(follow_path(service_id)).error["details"]["url"]
    panel.tickets._clock = lambda: time.time() + 61

    assert code_of(opened({"service_id": service_id, "ticket": parse_qs(urlsplit(url).query)["ticket"][0]}))[0] == 401


def test_a_token_is_taken_from_the_header_and_from_the_offered_subprotocols(
    panel: Panel, service_id: str, bearer: dict[str, str]
) -> None:
    token = bearer["Authorization"].removeprefix("Bearer ")

    by_header = opened({"service_id": service_id}, bearer)
    by_protocol = opened({"service_id": service_id}, {"Sec-WebSocket-Protocol": f"slipway, {token}"}, "c2")

    assert by_header == {"statusCode": 200}
    assert by_protocol == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "slipway"}}


def test_a_client_that_offers_no_subprotocol_of_ours_is_told_which_one_it_must(
    panel: Panel, service_id: str, bearer: dict[str, str]
) -> None:
    """Its WebSocket would be ended by itself, were it answered by one that it did not offer, or by none."""
    token = bearer["Authorization"].removeprefix("Bearer ")

    alone = opened({"service_id": service_id}, {"Sec-WebSocket-Protocol": token})
    another = opened({"service_id": service_id}, {**bearer, "Sec-WebSocket-Protocol": "chat"})

    assert code_of(alone) == code_of(another) == (400, "invalid_request")
    assert token not in alone["body"]
    assert panel.followers.socket("c1") is None


def test_another_customers_service_is_answered_as_a_missing_one(api: Api, panel: Panel, service_id: str) -> None:
    stranger = {"Authorization": f"Bearer {panel.a_token('viewer', panel.a_customer('Other').id)}"}

    foreign = opened({"service_id": service_id}, stranger)
    missing = opened({"service_id": "svc_0000000000000000"}, stranger)

    assert code_of(foreign) == code_of(missing) == (404, "not_found")
    assert panel.followers.socket("c1") is None


@pytest.mark.parametrize(
    "query",
    [{"tail": "-1"}, {"tail": "many"}, {"since": "yesterday"}, {"cursor": "<&>"}, {"format": "xml"}, {"wrong": "1"},
     {"tail": "5", "since": "2026-01-01T00:00:00Z"}],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(service_id: str, bearer: dict[str, str], query: dict[str, str]) -> None:
    assert code_of(opened({"service_id": service_id, **query}, bearer)) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("body", "code"),
    [("{", "invalid_request"), ("[]", "invalid_request"), ('{"type": "shout"}', "invalid_request"),
     ('{"type": 1}', "invalid_request"), ("x" * 5000, "too_large"), ("[" * 4000, "invalid_request")],
)  # fmt: skip
def test_what_is_not_understood_is_answered_with_an_error(panel: Panel, body: str, code: str) -> None:
    answer = said(panel, body)

    assert answer["type"] == "error"
    assert answer["error"]["code"] == code


def test_a_ping_is_answered(panel: Panel) -> None:
    assert said(panel, '{"type": "ping"}') == {"type": "pong"}


def test_a_follower_that_left_is_forgotten(panel: Panel, service_id: str, bearer: dict[str, str]) -> None:
    opened({"service_id": service_id}, bearer)
    assert panel.followers.socket("c1") is not None

    sockets.disconnect(event("$disconnect"), None)
    sockets.disconnect(event("$disconnect"), None)

    assert panel.followers.socket("c1") is None


def test_revoking_a_token_ends_its_sockets(api: Api, panel: Panel, service_id: str) -> None:
    made = api.post("/tokens", {"name": "t", "role": "viewer"}).body
    opened({"service_id": service_id}, {"authorization": f"Bearer {made['token']}"})

    api.delete(f"/tokens/{made['id']}")

    assert panel.gateway.closed == ["c1"]
    assert panel.followers.socket("c1") is None


def test_a_jobs_output_is_followed_the_same_way_and_read_afterwards(
    api: Api, panel: Panel, service_id: str, bearer: dict[str, str], settings: None
) -> None:
    job = panel.workflow.started[0]
    kept.keep_output(job.id, "up.1", "2026-01-01T00:00:00Z", "one\ntwo\n", truncated=False)

    assert (
        api.get(f"/jobs/{job.id}/logs?follow=true")
        .error["details"]["url"]
        .startswith("wss://panel.example.com/api/jobs/")
    )
    assert opened({"job_id": job.id}, bearer) == {"statusCode": 200}
    read = api.get(f"/jobs/{job.id}/logs").body
    assert [(entry["container"], entry["message"]) for entry in read["logs"]] == [("up", "one"), ("up", "two")]


def test_logs_of_an_unreachable_host_are_those_that_were_kept_and_said_to_be(
    api: Api, panel: Panel, service_id: str
) -> None:
    panel.host_calls.answers["logs"] = HostUnreachable("it is gone")
    assert api.get(f"/services/{service_id}/logs").error["code"] == "host_unreachable"
    tail = {"service_id": service_id, "container": "web", "container_id": "a" * 12, "ended_at": "2026-01-01T00:00:01Z",
            "exit_code": 1, "entries": [LINE]}  # fmt: skip
    kept.keep_tail(service_id, tail)

    read = api.get(f"/services/{service_id}/logs").body

    assert read["logs"] == [LINE]
    assert read["sources"] == [
        {"source": "kept", "container": "web", "ended_at": "2026-01-01T00:00:01Z", "exit_code": 1}
    ]
    assert "it is gone" in read["note"]


def test_where_what_was_kept_cannot_be_read_the_hosts_lines_are_the_answer_and_it_says_so(
    api: Api, panel: Panel, service_id: str
) -> None:
    panel.host_calls.answers["logs"] = {"entries": [LINE], "truncated": False, "containers": ["b" * 12]}
    panel.objects = Objects(panel.client("s3"), "a-bucket-that-is-not")

    reply = api.get(f"/services/{service_id}/logs")

    assert (reply.status, reply.body["logs"]) == (200, [LINE])
    assert [source["source"] for source in reply.body["sources"]] == ["host"]
    assert "NoSuchBucket" in reply.body["note"]
    assert "note" not in api.get(f"/services/{service_id}/logs?tail=1").body  # nothing of it was missing


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("cursor=c1", ["cursor"]), ("format=batch", ["format"]), ("tail=5", ["tail"]),
        ("follow=false&format=entry", ["format"]), ("tail=5&cursor=c1&format=entry", ["tail", "cursor", "format"]),
    ],
)  # fmt: skip
def test_what_is_for_following_a_job_is_refused_where_it_is_read(
    api: Api, panel: Panel, service_id: str, query: str, paths: list[str]
) -> None:
    job = panel.workflow.started[0]

    reply = api.get(f"/jobs/{job.id}/logs?{query}")

    assert (reply.status, reply.error["code"]) == (422, "validation_failed")
    assert [detail["path"] for detail in reply.error["details"]] == paths
    assert "follow=true" in reply.error["message"]


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("tail=5001", ["tail"]), ("tail=all", ["tail"]), ("follow=false&tail=all", ["tail"]), ("cursor=c1", ["cursor"]),
        ("format=batch", ["format"]), ("tail=all&cursor=c1&format=entry", ["tail", "cursor", "format"]),
    ],
)  # fmt: skip
def test_what_is_for_following_a_service_is_named_where_it_is_read(
    api: Api, panel: Panel, service_id: str, query: str, paths: list[str]
) -> None:
    before = list(panel.host_calls.told)

    reply = api.get(f"/services/{service_id}/logs?{query}")

    assert (reply.status, [detail["path"] for detail in reply.error["details"]]) == (422, paths)
    assert all("follow=true" in detail["message"] for detail in reply.error["details"])
    assert panel.host_calls.told == before


@pytest.mark.usefixtures("settings")
def test_as_many_lines_as_an_answer_takes_are_read_and_more_are_followed(
    api: Api, panel: Panel, service_id: str
) -> None:
    panel.host_calls.answers["logs"] = {"entries": [LINE], "truncated": False, "containers": []}

    assert api.get(f"/services/{service_id}/logs?tail=5000").status == 200
    assert api.get(follow_path(service_id, "&tail=5001")).status == 426


@pytest.mark.parametrize("more", ["tail=all", "cursor=c1", "format=batch"])
def test_a_follow_that_is_neither_is_all_that_is_told(api: Api, panel: Panel, service_id: str, more: str) -> None:
    job = panel.workflow.started[0]

    for path in (f"/services/{service_id}/logs", f"/jobs/{job.id}/logs"):
        reply = api.get(f"{path}?{more}&follow=maybe")
        assert [detail["path"] for detail in reply.error["details"]] == ["follow"]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("tail=5&since=2026-01-01T00:00:00Z", "since"), ("cursor=c1&tail=5", "cursor"),
        ("since=2026-01-01T00:00:00Z&cursor=c1", "cursor"),
    ],
)  # fmt: skip
def test_a_second_start_of_a_stream_is_named(api: Api, service_id: str, query: str, path: str) -> None:
    reply = api.get(follow_path(service_id, f"&{query}"))

    assert (reply.status, [detail["path"] for detail in reply.error["details"]]) == (422, [path])
    assert "give one of cursor, since and tail" in reply.error["message"]


def test_lines_of_a_replaced_container_come_before_those_of_its_successor(
    api: Api, panel: Panel, service_id: str
) -> None:
    newer = {**LINE, "timestamp": "2026-01-02T00:00:00Z", "message": "it runs"}
    panel.host_calls.answers["logs"] = {"entries": [newer], "truncated": False, "containers": ["b" * 12]}
    tail = {"service_id": service_id, "container": "web", "container_id": "a" * 12, "ended_at": "2026-01-01T00:00:01Z",
            "exit_code": 0, "entries": [LINE]}  # fmt: skip
    kept.keep_tail(service_id, tail)

    read = api.get(f"/services/{service_id}/logs?tail=5").body

    assert [entry["message"] for entry in read["logs"]] == ["it ran", "it runs"]
    assert [source["source"] for source in read["sources"]] == ["kept", "host"]


class TestAgent:
    @pytest.fixture
    def token(self, panel: Panel, service_id: str) -> str:
        host_id = panel.services.get(service_id).host_id
        text, hashed = new_agent_token(host_id)
        panel.agents.set_token(host_id, hashed)
        return text

    def send(self, api: Api, token: str, body: Any, raw: bytes | None = None) -> Any:
        packed = gzip.compress(json.dumps(body).encode()) if raw is None else raw
        return api.as_(token).send("POST", "/agent/batches", raw=packed, content_type="application/octet-stream")

    def batch(self, **more: Any) -> dict[str, Any]:
        return {"agent": {"version": "1", "boot": "b"}, "known": 0, "lane": "live", "sequence": 1, **more}

    def test_a_batch_reaches_its_follower(
        self, api: Api, panel: Panel, service_id: str, bearer: dict[str, str], token: str
    ) -> None:
        opened({"service_id": service_id}, bearer)
        told = self.send(api, token, self.batch()).body
        number = told["followers"][0]["number"]

        section = {"service_id": service_id, "to": [number], "entries": [{**LINE, "cursor": "c"}]}
        answer = self.send(api, token, self.batch(sequence=2, sections=[section], known=told["followers_version"]))

        assert answer.status == 200
        assert panel.gateway.got("c1") == [{**LINE, "cursor": "c"}]

    def test_followers_of_an_agent_that_lost_its_state_come_back_with_their_cursors(
        self, api: Api, panel: Panel, service_id: str, bearer: dict[str, str], token: str
    ) -> None:
        self.send(api, token, self.batch())
        opened({"service_id": service_id}, bearer)

        self.send(api, token, self.batch())
        assert panel.gateway.closed == []
        told = self.send(api, token, self.batch(agent={"version": "1", "boot": "another"})).body

        assert panel.gateway.closed == ["c1"]
        assert told["followers"] == []

    @pytest.mark.parametrize(
        ("raw", "status"),
        [(b"", 400), (b"no gzip", 400), (gzip.compress(b"{}")[:-4], 400), (gzip.compress(b"[" * 100_000), 400),
         (gzip.compress(b"{}"), 422), (gzip.compress(b" " * 9_000_000), 413)],
    )  # fmt: skip
    def test_what_is_no_batch_is_refused(self, api: Api, token: str, raw: bytes, status: int) -> None:
        assert self.send(api, token, None, raw).status == status

    def test_a_revoked_agent_is_not_heard(self, api: Api, panel: Panel, service_id: str, token: str) -> None:
        panel.agents.revoke(panel.services.get(service_id).host_id)
        auth._agents.clear()

        assert self.send(api, token, self.batch()).status == 401
        assert code_of(opened({"agent": "1"}, {"authorization": f"Bearer {token}"})) == (401, "unauthorized")

    def test_a_clients_token_is_no_agents(self, api: Api, panel: Panel, token: str) -> None:
        assert self.send(api, panel.a_token("admin"), self.batch()).status == 401

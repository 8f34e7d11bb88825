"""Sockets of the public port: API Gateway's rules, as clients, handlers and posters meet them."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest
from chalice.config import Config
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from infra.local import lambdas
from infra.local.connections import CONNECTIONS_PATH, MESSAGE_LIMIT, Connections
from infra.local.facade import Facade
from infra.local.front import Front
from infra.local.gateway import Gateway
from infra.local.lambdas import Functions
from infra.local.sockets import FRAME_LIMIT, Limits, Sockets, query_behind
from tests.local import toy
from tests.local.conftest import client_of

PATH = "/api/services/svc_a/logs"


class Edge:
    """A front with the toy app behind it, and the management API as boto3 has it."""

    def __init__(self, port: int, management: Any, url: str) -> None:
        self.port, self.management, self.url = port, management, url

    def open(self, path: str = PATH, **options: Any) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.port}{path}"
        client: ClientConnection = connect(url, compression=None, proxy=None, close_timeout=2, **options)
        return client

    def refusal(self, path: str) -> tuple[int, Any]:
        with pytest.raises(InvalidStatus) as refused, self.open(path):
            pass
        return refused.value.response.status_code, json.loads(refused.value.response.body or b"null")


@contextmanager
def an_edge(limits: Limits) -> Iterator[Edge]:
    app, config = toy.made(), Config("local", config_from_disk={"stages": {"local": {}}})
    functions, connections = Functions(lambdas.of_app(app, config), "toy-"), Connections()
    toy.release.clear()
    with Facade() as facade, client_of(facade, "apigatewaymanagementapi") as management:
        facade.offer_path(CONNECTIONS_PATH, connections.answer)
        toy.api["client"] = management
        sockets = Sockets(functions, connections, limits, "api")
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            Front([listener], Gateway(app, config), sockets),
        ):
            yield Edge(listener.getsockname()[1], management, facade.url)
    while not toy.seen.empty():
        toy.seen.get()


@pytest.fixture
def edge() -> Iterator[Edge]:
    with an_edge(Limits()) as edge:
        yield edge


def _next(kind: str) -> dict[str, Any]:
    while True:
        event = toy.seen.get(timeout=10)
        if event["requestContext"]["eventType"] == kind:
            return event


def _id() -> str:
    return str(_next("CONNECT")["requestContext"]["connectionId"])


def _close_code(client: ClientConnection) -> int:
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(timeout=10)
    assert client.protocol.close_rcvd
    return client.protocol.close_rcvd.code


def a_bare_socket(edge: Edge) -> socket.socket:
    """A client that reads nothing; a library's own thread would read ahead."""
    client = socket.create_connection(("127.0.0.1", edge.port), timeout=10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n{key}\r\n\r\n".encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 101")
    return client


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/api/services/svc_a/logs", "", {"service_id": ["svc_a"]}),
        ("/api/services/a%2Fb%20c/logs", "follow=true", {"follow": ["true"], "service_id": ["a/b c"]}),
        ("/api/jobs/job_1/logs", "a=1&a=&b", {"a": ["1", ""], "b": [""], "job_id": ["job_1"]}),
        ("/api/agent/socket", "", {"agent": ["1"]}),
        (
            "/api/services/svc_a/logs",
            "agent=1&job_id=x&service_id=svc_b&tail=5",
            {"tail": ["5"], "service_id": ["svc_a"]},
        ),
        ("/api/agent/socket", "service_id=svc_a", {"agent": ["1"]}),
        ("/api/services//logs", "", None),
        ("/api/services/a/b/logs", "", None),
        ("/api/services/a/logs/", "", None),
        ("/api/agent", "", None),
        ("/", "", None),
    ],
)
def test_a_path_becomes_query_parameters(path: str, query: str, expected: dict[str, list[str]] | None) -> None:
    assert query_behind(path, query) == expected


def test_the_handler_of_connect_sees_what_api_gateway_shows(edge: Edge) -> None:
    headers = [("Authorization", "Bearer x"), ("X-Twice", "1"), ("X-Twice", "2"), ("X-Forwarded-For", "192.0.2.9")]
    with edge.open(f"{PATH}?tail=5&tail=6", additional_headers=headers):
        event = _next("CONNECT")

    context = event["requestContext"]
    assert {name: context[name] for name in ("routeKey", "eventType", "apiId", "stage")} == {
        "routeKey": "$connect",
        "eventType": "CONNECT",
        "apiId": "local",
        "stage": "api",
    }
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert context["domainName"] == f"127.0.0.1:{edge.port}"
    assert isinstance(context["connectedAt"], int)
    assert event["queryStringParameters"] == {"tail": "6", "service_id": "svc_a"}
    assert event["multiValueQueryStringParameters"] == {"tail": ["5", "6"], "service_id": ["svc_a"]}
    assert event["headers"]["Authorization"] == "Bearer x"
    assert event["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert event["multiValueHeaders"]["X-Twice"] == ["1", "2"]


def test_a_path_without_a_socket_is_forbidden(edge: Edge) -> None:
    status, body = edge.refusal("/api/health")
    assert (status, body["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden"), (404, "not_found")])
def test_a_handler_that_refuses_is_a_status_before_the_upgrade(edge: Edge, status: int, code: str) -> None:
    told, body = edge.refusal(f"{PATH}?status={status}")
    assert (told, body["error"]["code"]) == (status, code)


def test_a_refusal_of_the_handlers_own_words_is_passed_on(edge: Edge) -> None:
    assert edge.refusal(f'{PATH}?status=409&body={{"own":1}}') == (409, {"own": 1})


def test_a_handler_that_raises_is_502_without_a_word_of_why(edge: Edge) -> None:
    status, body = edge.refusal(f"{PATH}?raise=1")
    assert (status, body["error"]["code"]) == (502, "internal_error")
    assert "as it was told" not in json.dumps(body)


def test_the_subprotocol_is_the_handlers_choice(edge: Edge) -> None:
    with edge.open(f"{PATH}?odd=1", subprotocols=["theirs", "ours"]) as client:
        assert client.subprotocol == "ours"
    with edge.open() as client:
        assert client.subprotocol is None


def test_a_message_is_answered_by_a_post(edge: Edge) -> None:
    with edge.open() as client:
        client.send('{"a": "ü"}')
        assert json.loads(client.recv(timeout=10)) == {"a": "ü"}


def test_a_binary_message_arrives_in_base64(edge: Edge) -> None:
    with edge.open() as client:
        client.send(b"\x00\xff")
        assert client.recv(timeout=10) == "AP8="


def test_messages_of_one_connection_are_handled_at_once(edge: Edge) -> None:
    with edge.open() as client:
        client.send('{"wait": 1}')
        client.send('{"wait": 2}')
        client.send('{"quick": 3}')
        assert client.recv(timeout=10) == '{"quick": 3}'
        toy.release.set()
        assert {client.recv(timeout=10), client.recv(timeout=10)} == {'{"wait": 1}', '{"wait": 2}'}


def test_a_handler_that_fails_is_told_to_its_client_which_stays_connected(edge: Edge) -> None:
    with edge.open() as client:
        client.send("not json")
        told = json.loads(client.recv(timeout=10))
        assert (told["message"], told["connectionId"]) == ("Internal server error", _id())
        assert told["requestId"]
        client.send("{}")
        assert client.recv(timeout=10) == "{}"


def test_a_frame_has_32_kb_and_no_more(edge: Edge) -> None:
    with edge.open() as client:
        client.send(json.dumps("x" * (FRAME_LIMIT - 2)))
        assert len(client.recv(timeout=10)) == FRAME_LIMIT
        client.send("x" * (FRAME_LIMIT + 1))
        assert _close_code(client) == 1009


def test_a_message_has_128_kb_in_frames_of_32_and_no_more(edge: Edge) -> None:
    text = json.dumps("y" * (MESSAGE_LIMIT - 2))
    frames = [text[at : at + FRAME_LIMIT] for at in range(0, len(text), FRAME_LIMIT)]
    with edge.open(max_size=None) as client:
        client.send(frames)
        assert client.recv(timeout=10) == text
        client.send([*frames, "x"])
        assert _close_code(client) == 1009


def test_a_fragment_over_32_kb_ends_the_connection_too(edge: Edge) -> None:
    with edge.open() as client:
        client.send(["x", "x" * (FRAME_LIMIT + 1)])
        assert _close_code(client) == 1009


def test_frames_that_are_none_end_their_connection(edge: Edge) -> None:
    with edge.open() as client:
        client.socket.sendall(b"\xff\xff\xff\xff")
        assert _close_code(client) == 1002
    assert _next("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1002


def test_the_end_is_told_once_with_its_connection(edge: Edge) -> None:
    with edge.open() as client:
        connection_id = _id()
        client.close(1000, "enough")
    context = _next("DISCONNECT")["requestContext"]
    assert (context["connectionId"], context["routeKey"]) == (connection_id, "$disconnect")
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1000, "enough")
    assert toy.seen.empty()


def test_a_client_that_is_cut_off_is_an_end_too(edge: Edge) -> None:
    with contextlib.closing(a_bare_socket(edge)) as client:
        connection_id = _id()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert _next("DISCONNECT")["requestContext"]["connectionId"] == connection_id


def test_a_quiet_connection_is_closed_and_messages_either_way_keep_it() -> None:
    with an_edge(Limits(idle_seconds=1.2)) as edge, edge.open() as client, edge.open() as quiet:
        first, _ = _id(), _id()
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            toy.post(first, "posted")
            client.recv(timeout=10)
            if quiet.protocol.close_rcvd is None:
                with contextlib.suppress(ConnectionClosed):
                    quiet.ping()  # which is no message
            time.sleep(0.2)
        assert quiet.protocol.close_rcvd
        assert (quiet.protocol.close_rcvd.code, quiet.protocol.close_rcvd.reason) == (1001, "Going away")
        client.send("{}")
        assert client.recv(timeout=10) == "{}"


def test_no_connection_outlives_the_limit() -> None:
    with an_edge(Limits(lifetime_seconds=1)) as edge, edge.open() as client:
        connection_id = _id()
        for _ in range(3):
            client.send("{}")
        assert _close_code(client) == 1001
        assert _next("DISCONNECT")["requestContext"]["connectionId"] == connection_id
        assert toy.post(connection_id, "x") == "GoneException"


def test_a_post_before_connect_is_answered_is_gone(edge: Edge) -> None:
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(edge.open, f"{PATH}?wait=1")
        connection_id = _id()
        assert toy.post(connection_id, "x") == "GoneException"
        toy.release.set()
        with opening.result() as client:
            assert toy.api["early"] == "GoneException"
            assert toy.post(connection_id, "now") == "posted"
            assert client.recv(timeout=10) == "now"


def test_a_post_has_128_kb_and_no_more(edge: Edge) -> None:
    with edge.open() as client:
        connection_id = _id()
        assert toy.post(connection_id, "x" * MESSAGE_LIMIT) == "posted"
        assert len(client.recv(timeout=10)) == MESSAGE_LIMIT
        assert toy.post(connection_id, "x" * (MESSAGE_LIMIT + 1)) == "PayloadTooLargeException"
        assert toy.post(connection_id, b"\xff") == "BadRequestException"


def test_an_unknown_connection_is_gone_for_every_verb(edge: Edge) -> None:
    for act in (edge.management.get_connection, edge.management.delete_connection):
        with pytest.raises(edge.management.exceptions.GoneException):
            act(ConnectionId="no/such=")
    assert toy.post("none", "x") == "GoneException"


def test_a_connection_tells_of_itself_and_ends_when_it_is_deleted(edge: Edge) -> None:
    with edge.open() as client:
        connection_id = _id()
        told = edge.management.get_connection(ConnectionId=connection_id)
        assert told["Identity"]["SourceIp"] == "127.0.0.1"
        assert told["LastActiveAt"] >= told["ConnectedAt"]
        toy.post(connection_id, "last words")
        edge.management.delete_connection(ConnectionId=connection_id)
        assert client.recv(timeout=10) == "last words"
        assert _close_code(client) == 1000
    assert toy.post(connection_id, "x") == "GoneException"


def test_the_management_api_takes_a_stage_and_no_signature(edge: Edge) -> None:
    host, port = edge.url.removeprefix("http://").split(":")
    with edge.open() as client:
        connection_id = _id()
        calling = HTTPConnection(host, int(port), timeout=10)
        calling.request("POST", f"/api/@connections/{connection_id}", "staged")
        assert calling.getresponse().read() == b""
        calling.close()
        assert client.recv(timeout=10) == "staged"


def test_posts_arrive_in_the_order_they_were_accepted(edge: Edge) -> None:
    with edge.open() as client:
        connection_id = _id()
        for number in range(500):
            toy.post(connection_id, str(number))
        assert [client.recv(timeout=10) for _ in range(500)] == [str(number) for number in range(500)]


def test_a_client_that_does_not_read_is_refused_posts_and_holds_up_nobody(edge: Edge) -> None:
    with contextlib.closing(a_bare_socket(edge)), edge.open() as quick:
        slow_id = _id()
        quick_id = _id()
        answers, sent = "posted", 0
        while answers == "posted" and sent < 64 * 1024 * 1024:
            answers = toy.post(slow_id, "x" * MESSAGE_LIMIT)
            sent += MESSAGE_LIMIT
        assert answers == "LimitExceededException"
        began = time.monotonic()
        assert toy.post(quick_id, "still here") == "posted"
        assert quick.recv(timeout=5) == "still here"
        assert time.monotonic() - began < 2
        edge.management.delete_connection(ConnectionId=slow_id)
        assert toy.post(slow_id, "x") == "GoneException"
    assert {_next("DISCONNECT")["requestContext"]["connectionId"] for _ in range(2)} == {slow_id, quick_id}


def test_limits_that_are_no_numbers_are_refused_by_name() -> None:
    assert Limits.from_environment({"SLIPWAY_LOCAL_SOCKET_IDLE_SECONDS": "1.5"}) == Limits(idle_seconds=1.5)
    for wrong in ("", "soon", "0", "-1", "nan", "inf"):
        with pytest.raises(ValueError, match="SLIPWAY_LOCAL_SOCKET_LIFETIME_SECONDS"):
            Limits.from_environment({"SLIPWAY_LOCAL_SOCKET_LIFETIME_SECONDS": wrong})

"""The public port: requests reach the app as API Gateway would bring them, and never each other."""

import base64
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from chalice import Chalice, Response
from chalice.config import Config

from infra.local.front import Front
from infra.local.gateway import BODY_LIMIT, Gateway

TEXTS = ["application/json", "text/plain", "application/octet-stream"]
release = threading.Event()


def _app() -> Chalice:
    app = Chalice("toy", configure_logs=False)

    @app.route("/health")
    def health() -> Any:
        return {"status": "ok"}

    @app.route("/echo/{name}", methods=["GET", "POST"], content_types=TEXTS)
    def echo(name: str) -> Any:
        request: Any = app.current_request
        query = request.query_params.getlist("a") if request.query_params and "a" in request.query_params else None
        return {
            "name": name,
            "a": query,
            "body": base64.b64encode(request.raw_body).decode(),
            "request_id": app.lambda_context.aws_request_id,
            "header": request.headers.get("x-twice"),
            "from": request.context["identity"]["sourceIp"],
        }

    @app.route("/gone", methods=["DELETE"])
    def gone() -> Any:
        return Response("", status_code=204, headers={"X-Job-Id": "job_x"})

    @app.route("/bytes")
    def some_bytes() -> Any:
        return Response(b"\x00\xff", headers={"Content-Type": "application/octet-stream"})

    @app.route("/wait")
    def wait() -> Any:
        release.wait(10)
        return {}

    return app


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    gateway = Gateway(_app(), Config("local", config_from_disk={"stages": {"local": {}}}))
    with socket.create_server(("127.0.0.1", 0)) as listener, Front([listener], gateway):
        yield listener.getsockname()[1]


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_a_request_is_answered_with_the_id_its_handler_saw(port: int) -> None:
    answer, body = ask(port, "GET", "/echo/x", X_Forwarded_For="192.0.2.9")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(body)["request_id"] == answer.headers["x-amzn-requestid"]
    assert json.loads(body)["from"] == "127.0.0.1"


def test_path_parameters_are_decoded_and_repeated_query_parameters_kept(port: int) -> None:
    _, body = ask(port, "GET", "/echo/a%2Fb%20%C3%BC?a=1&a=%26&a=")
    assert (json.loads(body)["name"], json.loads(body)["a"]) == ("a/b ü", ["1", "&", ""])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/"),
        ("GET", "/echo/"),
        ("GET", "//health"),
        ("GET", "/echo/a/b"),
        ("PUT", "/health"),
        ("GET", "/%00%ff"),
        ("HEAD", "/gone"),
    ],
)
def test_what_is_not_there_is_404_in_our_shape(port: int, method: str, path: str) -> None:
    answer, body = ask(port, method, path)
    assert answer.status == 404
    if method != "HEAD":
        error = json.loads(body)["error"]
        assert error["code"] == "not_found"
        assert error["request_id"] == answer.headers["x-amzn-requestid"]


def test_head_is_a_get_without_its_body(port: int) -> None:
    answer, body = ask(port, "HEAD", "/health")
    assert (answer.status, answer.headers["Content-Length"], body) == (200, "15", b"")


def test_options_is_answered_without_the_view(port: int) -> None:
    answer, _ = ask(port, "OPTIONS", "/health")
    assert answer.status == 200
    assert "OPTIONS" in answer.headers["Access-Control-Allow-Methods"]


def test_an_answer_without_content_has_none(port: int) -> None:
    answer, body = ask(port, "DELETE", "/gone")
    assert (answer.status, answer.headers["X-Job-Id"], body) == (204, "job_x", b"")


def test_binary_bodies_arrive_and_leave_as_they_are(port: int) -> None:
    _, body = ask(port, "POST", "/echo/x", b"\xff\x00", Content_Type="application/octet-stream")
    assert base64.b64decode(json.loads(body)["body"]) == b"\xff\x00"
    _, body = ask(port, "GET", "/bytes", Accept="application/octet-stream")
    assert body == b"\x00\xff"


def test_a_body_that_is_not_utf8_arrives_as_it_was_sent(port: int) -> None:
    answer, body = ask(port, "POST", "/echo/x", b"\xff{", Content_Type="application/json")
    assert answer.status == 200
    assert base64.b64decode(json.loads(body)["body"]) == b"\xff{"


def test_a_body_may_have_ten_megabytes_and_no_more(port: int) -> None:
    answer, _ = ask(port, "POST", "/echo/x", b"x" * BODY_LIMIT, Content_Type="text/plain")
    assert answer.status == 200
    answer, body = ask(port, "POST", "/echo/x", b"x" * (BODY_LIMIT + 1), Content_Type="text/plain")
    assert (answer.status, json.loads(body)["error"]["code"]) == (413, "too_large")


def test_a_websocket_is_refused_in_our_shape(port: int) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    answer, body = ask(port, "GET", "/echo/x", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **upgrade)
    assert (answer.status, json.loads(body)["error"]["code"]) == (503, "unavailable")


def test_requests_at_the_same_time_never_see_each_other(port: int) -> None:
    def own(number: int) -> bool:
        answer, body = ask(port, "POST", f"/echo/n{number}?a={number}", str(number), Content_Type="text/plain")
        seen = json.loads(body)
        return (seen["name"], seen["a"], base64.b64decode(seen["body"]), seen["request_id"]) == (
            f"n{number}",
            [str(number)],
            str(number).encode(),
            answer.headers["x-amzn-requestid"],
        )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(own, range(400)))


def test_requests_that_wait_do_not_hold_up_the_others(port: int) -> None:
    release.clear()
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(ask, port, "GET", "/wait") for _ in range(40)]
        assert ask(port, "GET", "/health")[0].status == 200
        assert not any(one.done() for one in waiting)
        release.set()
        assert {one.result()[0].status for one in waiting} == {200}

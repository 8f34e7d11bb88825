"""What the look at a deployed stage says of an upgrade, by how it is answered."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from infra import smoke
from infra.deploy import stages

TOKEN = "the token"


class CloudFormation:
    def describe_stacks(self, **_: str) -> Any:
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": [{"OutputKey": "Host", "OutputValue": "e"}]}]}


@contextmanager
def looking(services: list[dict[str, str]], *, with_token: int, without: int) -> Iterator[smoke.Smoke]:
    """At something that answers upgrades so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if self.headers.get("Upgrade"):
                self.send_response(with_token if token else without)
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": services}).encode())

        def log_message(self, *words: Any) -> None:
            """Not on the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        expected = smoke.Expected(TOKEN, f"http://127.0.0.1:{server.server_address[1]}")
        yield smoke.Smoke(stages.read("prod"), lambda *_: CloudFormation(), expected)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "fine"), [(401, True), (403, False), (101, False)])
def test_only_connects_own_refusal_counts(status: int, fine: bool) -> None:
    with looking([], with_token=101, without=status) as found:
        assert found.unknown_socket() == (fine, f"HTTP {status}")


@pytest.mark.parametrize(("status", "fine"), [(101, True), (401, False), (403, False)])
def test_with_a_token_the_first_services_logs_must_be_opened(status: int, fine: bool) -> None:
    with looking([{"id": "svc_1"}], with_token=status, without=401) as found:
        assert found.followed() == (fine, f"HTTP {status} for svc_1")


def test_without_a_service_it_is_told_that_nothing_was_asked() -> None:
    with looking([], with_token=403, without=401) as found:
        assert found.followed() == (True, "not asked for: there is no service whose logs could be followed")

"""The loopback endpoint: who gets which call, and what hostile bytes get."""

import socket
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from infra.local.facade import Facade
from infra.local.wire import Answer, Call, reply
from tests.local.conftest import client_of


@pytest.fixture
def facade() -> Iterator[Facade]:
    with Facade() as facade:
        yield facade


def _exchange(facade: Facade, sent: bytes) -> bytes:
    host, port = facade.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def _echo(call: Call) -> Answer:
    return Answer(200, b"%d bytes for %s" % (len(call.body), call.operation.encode()))


def test_it_listens_on_loopback_only(facade: Facade) -> None:
    assert facade.url.startswith("http://127.0.0.1:")


def test_an_aws_call_that_nobody_offers_is_refused_by_name(facade: Facade) -> None:
    with client_of(facade, "secretsmanager") as client, pytest.raises(ClientError) as refused:
        client.list_secrets()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "secretsmanager.ListSecrets" in str(refused.value)


def test_an_engine_that_fails_is_answered_500(facade: Facade) -> None:
    def fail(call: Call) -> Answer:
        raise RuntimeError(call.operation)

    facade.offer("TrentService", fail)
    with client_of(facade, "kms") as client, pytest.raises(ClientError) as refused:
        client.list_keys()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_a_connection_serves_one_call_after_another(facade: Facade) -> None:
    facade.offer("Echo", _echo)
    one = b"POST / HTTP/1.1\r\nX-Amz-Target: Echo.One\r\nContent-Length: 3\r\n\r\nabc"
    two = b"POST / HTTP/1.1\r\nX-AMZ-TARGET: Echo.Two\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
    host, port = facade.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for sent, expected in ((one, b"3 bytes for One"), (two, b"4 bytes for Two"), (one, b"3 bytes for One")):
            connection.sendall(sent)
            received = b""
            while not received.endswith(expected):
                part = connection.recv(65536)
                assert part, received
                received += part


def test_a_client_that_expects_to_be_told_to_go_on_is_told(facade: Facade) -> None:
    facade.offer("Echo", _echo)
    sent = b"POST / HTTP/1.1\r\nX-Amz-Target: Echo.One\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na"
    assert _exchange(facade, sent).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "sent", [b"", b"\x00\xff\xfe\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", b"GET"]
)
def test_broken_requests_end_their_own_connection_and_no_other(facade: Facade, sent: bytes) -> None:
    facade.offer("Echo", lambda _: reply({}))
    assert _exchange(facade, sent) == b""
    whole = b"POST / HTTP/1.1\r\nX-Amz-Target: Echo.One\r\nContent-Length: 0\r\n\r\n"
    assert _exchange(facade, whole).startswith(b"HTTP/1.1 200 OK")

"""The one loopback endpoint boto3 finds at `AWS_ENDPOINT_URL`.

A thread a connection and httptools for parsing: a DynamoDB read costs little more than botocore itself does. Anything
Slipway does not use is answered 501, so that a forgotten AWS call is noticed here and not on the first day in AWS.
"""

import logging
import socket
import threading
import uuid
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType

import httptools

from infra.local.wire import Answer, Call, Engine, refusal

log = logging.getLogger(__name__)


class Facade:
    """Serves what it is given to offer until closed.

    A call's service is told by its path (Lambda's Invoke, @connections), by `x-amz-target`, or by what it is signed
    for (S3).
    """

    def __init__(self) -> None:
        self._services: dict[str, Engine] = {}
        self._signed_services: dict[str, Engine] = {}
        self._paths: dict[str, Engine] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._open: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Facade":
        threading.Thread(target=self._accept, daemon=True, name="aws-facade").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def offer(self, service: str, engine: Engine) -> None:
        self._services[service] = engine

    def offer_signed(self, service: str, engine: Engine) -> None:
        self._signed_services[service] = engine

    def offer_path(self, part: str, engine: Engine) -> None:
        """For calls whose path has this in it."""
        self._paths[part] = engine

    def close(self) -> None:
        for connection in (self._listener, *tuple(self._open)):
            with suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def answer(self, call: Call) -> Answer:
        for part, engine in self._paths.items():
            if part in call.path:
                return engine(call)
        target = call.headers.get("x-amz-target", "")
        offered = self._services.get(target.partition(".")[0]) or self._signed_services.get(call.signed_for)
        if offered:
            return offered(call)
        what = target or f"{call.method} {call.path}"
        return refusal(501, "NotImplementedException", f"the local AWS does not offer {what}")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True, name="aws-call").start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Conversation(connection, self._answer_always).run()
        except (OSError, httptools.HttpParserError) as error:
            log.debug("a connection to the local AWS ended: %s", error)
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer_always(self, call: Call) -> Answer:
        try:
            return self.answer(call)
        except Exception:
            log.exception("the local AWS failed on %s %s", call.headers.get("x-amz-target", call.method), call.path)
            return refusal(500, "InternalServerError", "the local AWS failed; its log says why")


class _Conversation:
    """One keep-alive connection; the methods named `on_…` are httptools' callbacks."""

    def __init__(self, connection: socket.socket, answer: Engine) -> None:
        self._connection = connection
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._complete = False

    def run(self) -> None:
        while data := self._connection.recv(256 * 1024):
            self._parser.feed_data(data)
            if not self._complete:
                continue
            answer = self._answer(self._call())
            self._connection.sendall(_bytes(answer))
            if not self._parser.should_keep_alive():
                return
            self._complete = False

    def _call(self) -> Call:
        method = self._parser.get_method().decode()
        path, _, query = self._url.decode("latin-1").partition("?")
        return Call(method, path, self._headers, bytes(self._body), query)

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, bytearray()
        self._complete = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self._complete = True


def _bytes(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), "x-amzn-RequestId": str(uuid.uuid4()), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body

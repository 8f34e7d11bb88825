"""A control plane as an agent sees it: it takes batches by the protocol's rules, and misbehaves on request."""

import base64
import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

Entry = dict[str, Any]
MOST_BYTES = 1 << 20
MOST_ENTRIES = 2000


@dataclass
class Follower:
    """One follower and everything he ever got."""

    number: int
    of: dict[str, str]
    start: dict[str, Any]
    got: list[Entry] = field(default_factory=list)
    ended: bool = False
    most: int | None = None  # how many entries of one section he takes

    def messages(self, stream: str | None = None) -> list[str]:
        return [one["message"] for one in self.got if stream in (None, one["stream"]) and not one.get("partial")]

    @property
    def cursor(self) -> str:
        return str(self.got[-1]["cursor"])


class Control:
    """`cut` decides for each POST: "before" it is handled, "after", or not at all ("")."""

    def __init__(self, address: str = "127.0.0.1", token: str = "secret") -> None:
        self.token = token
        self.turn = threading.Condition()
        self.followers: dict[int, Follower] = {}
        self.jobs_over: set[str] = set()
        self.version = 1
        self.settings: dict[str, Any] = {"sign_of_life_seconds": 540, "pace_ms": 20, "stats_seconds": 1}
        self.package: tuple[str, str, bytes] | None = None
        self.cut: Callable[[], str] = lambda: ""
        self.refuse: Callable[[dict[str, Any]], int] = lambda batch: 0
        self.batches: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.events: list[dict[str, Any]] = []
        self.tails: list[dict[str, Any]] = []
        self.stats: list[dict[str, Any]] = []
        self.pings = 0
        self.trouble: list[str] = []
        self._numbers = iter(range(1, 1 << 30))
        self._lanes: dict[str, dict[str, Any]] = {}
        self._sockets: set[ServerConnection] = set()
        self._http = _Http((address, 0), type("Handler", (_Handler,), {"control": self}))
        self._bell: Server = serve(self._listen, address, 0, process_request=self._admit)
        self.url = f"http://{address}:{self._http.server_address[1]}"
        self.websocket_url = f"ws://{address}:{self._bell.socket.getsockname()[1]}/api/agent/socket"
        self._threads = [threading.Thread(target=one.serve_forever, daemon=True) for one in (self._http, self._bell)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._bell.shutdown()
        self._http.close_all()
        self._http.server_close()
        self.hang_up()
        for thread in self._threads:
            thread.join()

    def config(self) -> dict[str, str]:
        return {
            "url": self.url,
            "websocket_url": self.websocket_url,
            "token": self.token,
            "host_id": "host_abcdefgh12345678",
        }

    def follow(self, of: str, *, ring: bool = True, **start: Any) -> Follower:
        with self.turn:
            number = next(self._numbers)
            name = "job_id" if of.startswith("job_") else "service_id"
            follower = self.followers[number] = Follower(number, {name: of}, start)
            self.version += 1
        if ring:
            self.ring()
        return follower

    def leave(self, follower: Follower) -> None:
        with self.turn:
            self.followers.pop(follower.number, None)
            self.version += 1
        self.ring()

    def job_is_over(self, job: str) -> None:
        with self.turn:
            self.jobs_over.add(job)
            self.version += 1
        self.ring()

    def ring(self) -> None:
        for one in list(self._sockets):
            with suppress(ConnectionClosed):
                one.send(json.dumps({"type": "sync"}))

    def hang_up(self) -> None:
        """Cut every connection, sockets and requests."""
        self._http.close_all()
        for one in list(self._sockets):
            with suppress(OSError):
                one.socket.shutdown(socket.SHUT_RDWR)

    @property
    def connected(self) -> int:
        return len(self._sockets)

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.trouble[-3:]}"
            time.sleep(0.01)

    def lanes(self) -> dict[str, Any]:
        return {
            name: {"boot": lane["boot"], "sequence": lane["sequence"]}
            for name, lane in self._lanes.items()
            if lane["ended"]
        }

    def take(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """A batch, relayed once however often it comes."""
        raw = gzip.decompress(body)
        batch = json.loads(raw)
        refused = self.refuse(batch)
        if refused:
            return refused, {"error": {"code": "refused"}}
        with self.turn:
            lane = self._lanes.setdefault(batch["lane"], {"boot": "", "sequence": 0, "ended": True, "behind": []})
            boot, sequence = batch["agent"]["boot"], batch["sequence"]
            if (lane["boot"], lane["sequence"]) == (boot, sequence):
                if not lane["ended"]:
                    return 409, {"error": {"code": "conflict"}}
                return 200, self._answer(batch, lane["behind"])
            expected = lane["sequence"] + 1 if lane["boot"] == boot else 1
            if sequence != expected:
                self.trouble.append(f"{batch['lane']}: {sequence} came where {expected} was expected")
            lane.update(boot=boot, sequence=sequence, ended=False)
            self.batches.append(batch)
            self.sizes.append(len(raw))
            if sum(len(section["entries"]) for section in batch["sections"]) > MOST_ENTRIES:
                self.trouble.append("too many entries in a batch")
            lane["behind"] = self._relay(batch)
            lane["ended"] = True
            self.turn.notify_all()
            return 200, self._answer(batch, lane["behind"])

    def _relay(self, batch: dict[str, Any]) -> list[list[int]]:
        behind = []
        for section in batch["sections"]:
            for number in section["to"]:
                follower = self.followers.get(number)
                if follower is None:
                    continue
                if any(section.get(name) != value for name, value in follower.of.items()):
                    self.trouble.append(f"{number} got what he does not follow")
                entries = section["entries"]
                if follower.most is not None and len(entries) > follower.most:
                    entries = entries[: follower.most]
                    behind.append([number, len(entries)])
                else:
                    follower.ended = follower.ended or bool(section.get("ended"))
                follower.got += entries
        self.events += batch.get("events") or []
        self.tails += batch.get("tails") or []
        self.stats += [batch["stats"]] if batch.get("stats") else []
        return behind

    def _answer(self, batch: dict[str, Any], behind: list[list[int]]) -> dict[str, Any]:
        answer: dict[str, Any] = {"followers_version": self.version, "behind": behind, **self.settings}
        if batch["known"] != self.version:
            answer["followers"] = [
                {
                    "number": one.number,
                    **one.of,
                    "start": one.start,
                    **({"job_over": one.of["job_id"] in self.jobs_over} if "job_id" in one.of else {}),
                }
                for one in self.followers.values()
            ]
        numbers = {number for section in batch["sections"] for number in section["to"]}
        answer["gone"] = sorted(numbers - self.followers.keys())
        answer["jobs_over"] = sorted(self.jobs_over)
        if self.package:
            answer["package"] = {"version": self.package[0], "sha256": self.package[1]}
        return answer

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return connection.respond(401, "")
        return None

    def _listen(self, connection: ServerConnection) -> None:
        self._sockets.add(connection)
        try:
            for message in connection:
                if json.loads(message) == {"type": "ping"}:
                    self.pings += 1
                    connection.send(json.dumps({"type": "pong"}))
        except (ConnectionClosed, OSError):
            return
        finally:
            self._sockets.discard(connection)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is what the tests are about."""

    def close_all(self) -> None:
        for one in list(self.open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    control: Control
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._stranger():
            return
        cut = self.control.cut()
        if cut == "before":
            self._hang_up()
            return
        status, answer = self.control.take(body)
        if cut == "after":
            self._hang_up()
            return
        self._send(status, json.dumps(answer).encode())

    def do_GET(self) -> None:
        if self._stranger():
            return
        if self.path == "/api/agent/state":
            with self.control.turn:
                self._send(200, json.dumps({"lanes": self.control.lanes()}).encode())
        elif self.path == "/api/agent/package" and self.control.package:
            content = base64.b64encode(self.control.package[2]).decode()
            self._send(200, json.dumps({"content": content}).encode())
        else:
            self._send(404, b"{}")

    def _stranger(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.control.token}":
            return False
        self._send(401, b'{"error":{"code":"unauthorized"}}')
        return True

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing: a test asks `control` what came."""


def at_random(seed: int, share: float) -> Callable[[], str]:
    """Cut this share of the requests, half of them before and half after they are handled."""
    dice = random.Random(seed)
    return lambda: dice.choice(["before", "after"]) if dice.random() < share else ""


def numbers(follower: Follower, stream: str | None = None) -> Iterator[int]:
    return (int(text) for text in follower.messages(stream) if text.isdigit())

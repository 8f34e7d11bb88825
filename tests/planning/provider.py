"""A stand-in for a provider of models: Bedrock's Converse and OpenAI's chat completions, answered by a script.

What it answers is what a model might: well, badly, late or not at all. Both protocols are the real ones on the wire, so
that the clients under test are the real ones too.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

TOKENS = 1_000
_AWS_NAMES = {401: "UnrecognizedClientException", 429: "ThrottlingException", 503: "ServiceUnavailableException"}


@dataclass(frozen=True)
class Refused:
    """An HTTP status in place of an answer."""

    status: int
    retry_after: str | None = None


@dataclass(frozen=True)
class Raw:
    """A body as it is, with status 200."""

    body: bytes


@dataclass(frozen=True)
class Spoken:
    """An answer in words, and not by the tool."""

    text: str


@dataclass(frozen=True)
class Slow:
    """The answer, after so long."""

    seconds: float
    answer: Any


Step = dict[str, Any] | str | Refused | Raw | Spoken | Slow
Script = Iterable[Step] | Callable[[str], Step]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        if "messages" in self.body and "system" in self.body:
            return str(self.body["messages"][0]["content"][0]["text"])
        return str(self.body["messages"][1]["content"])

    @property
    def instructions(self) -> str:
        return str(self.body["system"][0]["text"] if "system" in self.body else self.body["messages"][0]["content"])


@dataclass
class StandIn:
    """Answers a step of the script for each request, a dict as the tool's arguments; or what a function makes of it."""

    script: Script
    address: str = "127.0.0.1"
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Self:
        steps = self.script if callable(self.script) else _in_turn(self.script)
        self._server = _Server((self.address, 0), steps, self.asked)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self._server.server_address[1]}"


def _in_turn(script: Iterable[Step]) -> Callable[[str], Step]:
    left = iter(script)
    return lambda _prompt: next(left, Refused(500))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, at: tuple[str, int], steps: Callable[[str], Step], asked: list[Asked]) -> None:
        super().__init__(at, _Handler)
        self.steps, self.asked = steps, asked


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, dict(self.headers.items()), body)
        self.server.asked.append(asked)
        step = self.server.steps(asked.prompt)
        if isinstance(step, Slow):
            time.sleep(step.seconds)
            step = step.answer
        with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked has gone
            self._answer(step)

    def _answer(self, step: Step) -> None:
        if isinstance(step, Refused):
            headers = {"x-amzn-ErrorType": _AWS_NAMES.get(step.status, "ValidationException")}
            headers |= {"Retry-After": step.retry_after} if step.retry_after else {}
            self._send(step.status, b'{"message": "no"}', headers)
        elif isinstance(step, Raw):
            self._send(200, step.body, {})
        else:
            written = _converse(step) if self.path.endswith("/converse") else _completion(step)
            self._send(200, json.dumps(written).encode(), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the parent's own name
        pass


def _completion(step: Any) -> dict[str, Any]:
    """A chat completion, in which a tool's arguments are a text."""
    message: dict[str, Any] = {"role": "assistant", "content": step.text if isinstance(step, Spoken) else None}
    if not isinstance(step, Spoken):
        arguments = step if isinstance(step, str) else json.dumps(step)
        called = {"id": "call_1", "type": "function", "function": {"name": "propose_plan", "arguments": arguments}}
        message["tool_calls"] = [called]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": TOKENS - 100, "completion_tokens": 100, "total_tokens": TOKENS},
    }


def _converse(step: Any) -> dict[str, Any]:
    """Converse's answer, in which a tool's input is JSON itself."""
    part = (
        {"text": step.text}
        if isinstance(step, Spoken)
        else {"toolUse": {"toolUseId": "t1", "name": "propose_plan", "input": step}}
    )
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": "Let me see."}, part]}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": TOKENS - 100, "outputTokens": 100, "totalTokens": TOKENS},
        "metrics": {"latencyMs": 1},
    }

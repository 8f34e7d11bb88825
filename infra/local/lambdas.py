"""Lambda for one machine: the app's functions, called in this process by Lambda's own rules.

What the rules keep honest: events and results travel as JSON text, an exception becomes `{errorMessage, errorType,
stackTrace}` (so that Retry and Catch work by class name), a function that overruns its timeout is answered
`Sandbox.Timedout`, payloads end at 6 MB. Unlike in Lambda several invocations share the process, and a function that
timed out is left behind, not killed: whatever it still does must be harmless, as after a lost answer in AWS.
"""

import importlib
import json
import logging
import queue
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from chalice.app import Chalice, ScheduledEventConfig
from chalice.config import Config

from chalicelib.domain.errors import SlipwayError
from infra.local.wire import ACCOUNT, REGION, Answer, Call, refusal

log = logging.getLogger(__name__)

# As Chalice names them: what each route of a WebSocket API invokes.
SOCKET_FUNCTIONS = {
    "$connect": "websocket_connect",
    "$default": "websocket_message",
    "$disconnect": "websocket_disconnect",
}

Handler = Callable[[Any, "Context"], Any]

FUNCTIONS_PATH = "/2015-03-31/functions/"
_PAYLOAD_LIMIT = 6 * 1024 * 1024


@dataclass
class Context:
    """What a handler is told about its invocation."""

    function_name: str
    memory_limit_in_mb: int
    deadline: float
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    log_stream_name: str = "local"

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


@dataclass(frozen=True)
class Function:
    name: str
    handler: Handler
    timeout: float = 60
    memory: int = 128


@dataclass(frozen=True)
class Outcome:
    """`failed`: Lambda's FunctionError; the payload then describes the error."""

    payload: bytes
    failed: bool = False


class UnknownFunction(Exception):
    """No function of the app has this name."""


class Functions:
    """Invokes by plain name, by `<app>-<stage>-<name>`, or by ARN with or without a qualifier."""

    def __init__(self, functions: Mapping[str, Function], prefix: str) -> None:
        self._functions = functions
        self._prefix = prefix

    def knows(self, name: str) -> bool:
        return name in self._functions

    def invoke(self, name: str, payload: bytes) -> Outcome:
        return _within_timeout(self._named(name), payload)

    def answer(self, call: Call) -> Answer:
        name = unquote(call.path.removeprefix(FUNCTIONS_PATH)).removesuffix("/invocations")
        if len(call.body) > _PAYLOAD_LIMIT:
            return refusal(413, "RequestTooLargeException", "an event ends at 6 MB")
        try:
            function = self._named(name)
            json.loads(call.body or b"{}")
        except UnknownFunction as error:
            return refusal(404, "ResourceNotFoundException", str(error))
        except ValueError as error:
            return refusal(400, "InvalidRequestContentException", f"the event is not JSON: {error}")
        if call.headers.get("x-amz-invocation-type") == "Event":
            watcher = threading.Thread(target=_within_timeout, args=(function, call.body), daemon=True)
            watcher.start()
            return Answer(202, b"")
        outcome = _within_timeout(function, call.body)
        headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
        if outcome.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        return Answer(200, outcome.payload, headers)

    def _named(self, name: str) -> Function:
        plain = name.rpartition(":function:")[2].partition(":")[0].removeprefix(self._prefix)
        try:
            return self._functions[plain]
        except KeyError:
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{plain}"
            raise UnknownFunction(f"Function not found: {arn}") from None


def of_app(app: Chalice, config: Config) -> dict[str, Function]:
    """Every function of the app, the clock's and the sockets' too, with the timeout and memory the config gives it."""
    handlers: dict[str, Handler] = {function.name: function.func for function in app.pure_lambda_functions}
    handlers |= {source.name: _resolved(source.handler_string) for source in schedules_of(app)}
    handlers |= {SOCKET_FUNCTIONS[route]: _resolved(on.handler_string) for route, on in app.websocket_handlers.items()}
    functions = {}
    for name, handler in handlers.items():
        scoped = config.scope(config.chalice_stage, name)
        functions[name] = Function(name, handler, scoped.lambda_timeout or 60, scoped.lambda_memory_size or 128)
    return functions


def schedules_of(app: Chalice) -> list[ScheduledEventConfig]:
    return [source for source in app.event_sources if isinstance(source, ScheduledEventConfig)]


def _resolved(handler_string: str) -> Handler:
    module, _, name = handler_string.rpartition(".")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler


def _within_timeout(function: Function, payload: bytes) -> Outcome:
    """Runs in a thread of its own: the only way to leave a handler that does not return."""
    answers: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    context = Context(function.name, function.memory, time.monotonic() + function.timeout)
    worker = threading.Thread(
        target=lambda: answers.put(_run(function, payload, context)), daemon=True, name=f"lambda-{function.name}"
    )
    worker.start()
    try:
        return answers.get(timeout=function.timeout)
    except queue.Empty:
        log.warning("%s timed out after %s s", function.name, function.timeout)
        message = f"RequestId: {context.aws_request_id} Error: Task timed out after {function.timeout:.2f} seconds"
        return _failure("Sandbox.Timedout", message)


def _run(function: Function, payload: bytes, context: Context) -> Outcome:
    try:
        result = function.handler(json.loads(payload or b"{}"), context)
    except SlipwayError as error:  # its door has logged it, and the workflow matches its name
        return _failure(type(error).__name__, str(error), traceback.format_tb(error.__traceback__))
    except Exception as error:
        log.warning("%s raised", function.name, exc_info=True)
        return _failure(type(error).__name__, str(error), traceback.format_tb(error.__traceback__))
    try:
        answer = json.dumps(result).encode()
    except (TypeError, ValueError) as error:
        return _failure("Runtime.MarshalError", f"Unable to marshal response: {error}")
    if len(answer) > _PAYLOAD_LIMIT:
        return _failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed size")
    return Outcome(answer)


def _failure(kind: str, message: str, trace: list[str] | None = None) -> Outcome:
    described: dict[str, Any] = {"errorMessage": message, "errorType": kind}
    if trace is not None:
        described["stackTrace"] = trace
    return Outcome(json.dumps(described).encode(), failed=True)

"""Step Functions for one machine: moto's interpreter of the language, whose tasks call our functions directly.

moto would make a new boto3 client for every task and reach Lambda over HTTP; here the client is an object that calls
`Functions`. Executions live in this process and die with it: whoever starts it again starts unfinished jobs again.
"""

import io
import json
import logging
import pickle
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from botocore.exceptions import ClientError
from jsonpath_ng.ext.parser import parse as _read_path
from moto.core.config import default_user_config
from moto.core.request import Request
from moto.stepfunctions.parser import models
from moto.stepfunctions.parser import utils as moto_threads
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.component import eval_component
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend import execution_worker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends
from moto.stepfunctions.responses import StepFunctionResponse
from werkzeug.exceptions import HTTPException

from infra.local.lambdas import Functions, UnknownFunction
from infra.local.wire import ACCOUNT, JSON, REGION, Answer, Call

ROLE = f"arn:aws:iam::{ACCOUNT}:role/states"

_KEPT_EXECUTIONS = 1000
_OK = 200
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


class StepFunctions:
    """Answers `AWSStepFunctions.*`. One a process: moto's machines are module globals."""

    def __init__(self, functions: Functions) -> None:
        default_user_config.setdefault("stepfunctions", {})["execute_state_machine"] = True
        client = _LambdaClient(functions)
        lambda_eval_utils.boto_client_for = lambda **_: client  # type: ignore[attr-defined]
        parser = _ParsedOnce()
        execution_worker.AmazonStateLanguageParser = parser  # type: ignore[attr-defined, assignment]
        models.AmazonStateLanguageParser = parser  # type: ignore[attr-defined, assignment]
        # A path's grammar is built anew for every path of every state entered: 3 ms each, and the same few paths.
        json_path.parse = result_path.parse = _path  # type: ignore[attr-defined]
        logging.getLogger(eval_component.__name__).addFilter(_is_a_fault)
        self._lock = threading.Lock()  # moto looks a name up, then adds it
        self._stopped: dict[str, dict[str, Any]] = {}

    def define(self, name: str, definition: str, substitutions: Mapping[str, str]) -> str:
        """Create the machine and say its ARN. `${Name}` is filled in as CloudFormation does."""
        filled = _PLACEHOLDER.sub(lambda found: substitutions[found[1]], definition)
        machine = self._backend.create_state_machine(name=name, definition=filled, roleArn=ROLE, sm_type="STANDARD")
        return str(machine.arn)

    def answer(self, call: Call) -> Answer:
        with self._lock:
            if call.operation == "StartExecution":
                self._forget_old()
            if call.operation == "StopExecution":
                self._await_begin(json.loads(call.body))
            for stopped in self._stopped.values():
                self._note_stop(stopped)
            status, headers, body = _answered_by_moto(call)
            if call.operation == "StopExecution" and status == _OK:
                request = json.loads(call.body)
                self._stopped[request["executionArn"]] = request
                self._note_stop(request)
        content = body if isinstance(body, bytes) else str(body).encode()
        return Answer(status, content, {"Content-Type": JSON, **_error_type(headers)})

    @property
    def _backend(self) -> StepFunctionsParserBackend:
        return stepfunctions_parser_backends[ACCOUNT][REGION]

    def _await_begin(self, request: dict[str, Any]) -> None:
        """moto cannot stop an execution whose thread has not come to run yet."""
        for machine in self._backend.state_machines:
            for execution in cast("list[Any]", machine.executions):
                if execution.execution_arn == request.get("executionArn"):
                    while execution.exec_worker.env is None:
                        time.sleep(0.001)

    def _note_stop(self, request: dict[str, Any]) -> None:
        """moto lets a Task finish before it says ABORTED, and forgets why; AWS does neither.

        It also fails where the stop meets a state that is just being entered, so this is noted again at each look.
        """
        execution: Any = self._backend.describe_execution(request["executionArn"])
        execution.exec_status = ExecutionStatus.ABORTED
        execution.stop_date = execution.stop_date or datetime.now(UTC)
        execution.error, execution.cause = request.get("error"), request.get("cause")

    def _forget_old(self) -> None:
        for machine in self._backend.state_machines:
            over = [execution for execution in machine.executions if execution.status != "RUNNING"]
            for execution in over[:-_KEPT_EXECUTIONS]:
                machine.executions.remove(execution)
                self._stopped.pop(execution.execution_arn, None)
        moto_threads.TMP_THREADS[:] = [thread for thread in moto_threads.TMP_THREADS if thread.is_alive()]


def _is_a_fault(line: logging.LogRecord) -> bool:
    """An execution that fails as its definition says is no error of the interpreter's; its job tells of it."""
    return not line.getMessage().startswith("Exception=FailureEventException")


class _ParsedOnce:
    """moto parses the definition anew for every execution, 3 ms a state; unpickling it takes half a millisecond."""

    def __init__(self) -> None:
        self._programs: dict[str, bytes] = {}

    def parse(self, definition: str) -> tuple[Any, None]:
        if definition not in self._programs:
            program, _ = AmazonStateLanguageParser.parse(definition)
            self._programs[definition] = pickle.dumps(program)
        return pickle.loads(self._programs[definition]), None  # noqa: S301 our own bytes


class _LambdaClient:
    """What moto needs of boto3's Lambda client."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def invoke(self, **request: Any) -> dict[str, Any]:
        payload = request.get("Payload") or b"{}"
        try:
            outcome = self._functions.invoke(request["FunctionName"], payload)
        except UnknownFunction as error:
            raise _not_found(str(error)) from None
        answer = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": io.BytesIO(outcome.payload)}
        if outcome.failed:
            answer["FunctionError"] = "Unhandled"
        return answer


@lru_cache(maxsize=1000)
def _path(text: str) -> Any:
    """The path, read once; what it finds depends on what it is given alone."""
    return _read_path(text)


def _not_found(message: str) -> ClientError:
    answer = {
        "Error": {"Code": "ResourceNotFoundException", "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 404, "RequestId": "local"},
    }
    return ClientError(answer, "Invoke")


def _answered_by_moto(call: Call) -> tuple[int, Mapping[str, Any], str | bytes]:
    request = Request.from_primitives(call.method, f"https://states.{REGION}.amazonaws.com/", call.headers, call.body)
    try:
        status, headers, body = StepFunctionResponse.dispatch(request, request.raw_url, request.headers)
    except HTTPException as refused:
        return refused.code or 500, dict(refused.get_headers()), refused.get_body()
    return int(status), headers, body


def _error_type(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in headers.items() if name.lower() == "x-amzn-errortype"}

"""The workflow language, as far as Slipway's definition uses it, over the same boto3 calls as on AWS."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.facade import Facade
from infra.local.lambdas import Function, Functions
from infra.local.stepfunctions import StepFunctions
from tests.local.conftest import client_of

ARN = "arn:aws:lambda:us-east-1:123456789012:function:slipway-local-step"


class HostUnreachable(Exception):
    pass


class CommandFailed(Exception):
    pass


@dataclass
class Bench:
    """A machine interpreter whose one function does what a test says, and remembers its events."""

    states: Any
    engine: StepFunctions
    does: Callable[[Any], Any] = lambda event: event
    events: list[Any] = field(default_factory=list)
    made: int = 0

    def step(self, event: Any, context: Any) -> Any:
        self.events.append(event)
        return self.does(event)

    def start(self, *states: tuple[str, dict[str, Any]], given: Any = None, name: str = "job_x", **more: Any) -> str:
        self.made += 1
        definition = {"StartAt": states[0][0], "States": dict(states), **more}
        arn = self.engine.define(f"m{self.made}-{time.monotonic_ns()}", json.dumps(definition), {"StepArn": ARN})
        return self.begin(arn, name, given)

    def begin(self, machine: str, name: str, given: Any = None) -> str:
        started = self.states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given or {}))
        return str(started["executionArn"])

    def ended(self, execution: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            seen: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            if seen["status"] != "RUNNING":
                return seen
            time.sleep(0.005)
        raise AssertionError("the execution did not end")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(None, None)  # type: ignore[arg-type]
    functions = Functions({"step": Function("step", bench.step, timeout=5)}, "slipway-local-")
    bench.engine = StepFunctions(functions)
    with Facade() as facade:
        facade.offer("AWSStepFunctions", bench.engine.answer)
        with client_of(facade, "stepfunctions") as client:
            bench.states = client
            yield bench


def task(following: str | None = None, **more: Any) -> dict[str, Any]:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "${StepArn}", "Payload.$": "$"},
        "ResultSelector": {"said.$": "$.Payload"},
        "ResultPath": "$.last",
        **more,
    }
    return state | ({"Next": following} if following else {"End": True})


def retry(error: str, **more: Any) -> dict[str, Any]:
    return {"ErrorEquals": [error], "IntervalSeconds": 1, "BackoffRate": 2.0, "MaxAttempts": 3, **more}


def failing(*errors: Exception | None) -> Callable[[Any], Any]:
    waiting = list(errors)

    def do(event: Any) -> Any:
        error = waiting.pop(0) if waiting else None
        if error:
            raise error
        return "ok"

    return do


def test_a_task_gets_its_payload_and_its_result_goes_where_the_state_says(bench: Bench) -> None:
    bench.does = lambda event: {"heard": event["job_id"]}
    ended = bench.ended(bench.start(("One", task("Two")), ("Two", task()), given={"job_id": "job_x"}))

    assert ended["status"] == "SUCCEEDED"
    assert json.loads(ended["output"]) == {"job_id": "job_x", "last": {"said": {"heard": "job_x"}}}
    assert [sorted(event) for event in bench.events] == [["job_id"], ["job_id", "last"]]


def test_an_error_is_retried_by_its_name_with_backoff(bench: Bench) -> None:
    bench.does = failing(HostUnreachable("a"), HostUnreachable("b"))
    began = time.monotonic()
    ended = bench.ended(bench.start(("One", task(Retry=[retry("HostUnreachable", MaxDelaySeconds=2)]))))

    assert ended["status"] == "SUCCEEDED"
    assert len(bench.events) == 3
    assert time.monotonic() - began > 2.9  # 1 s, then 2 s


def test_full_jitter_and_a_longest_delay_are_honoured(bench: Bench) -> None:
    bench.does = failing(HostUnreachable("a"), HostUnreachable("b"))
    rule = retry("HostUnreachable", IntervalSeconds=1, MaxDelaySeconds=2, BackoffRate=100.0, JitterStrategy="FULL")
    assert bench.ended(bench.start(("One", task(Retry=[rule]))))["status"] == "SUCCEEDED"


def test_another_error_is_not_retried_and_is_caught_by_name(bench: Bench) -> None:
    bench.does = failing(CommandFailed("exit 1"))
    catch = {"ErrorEquals": ["CommandFailed"], "Next": "Sorry", "ResultPath": "$.error"}
    ended = bench.ended(
        bench.start(
            ("One", task(Retry=[retry("HostUnreachable")], Catch=[catch])), ("Sorry", {"Type": "Pass", "End": True})
        )
    )
    error = json.loads(ended["output"])["error"]

    assert len(bench.events) == 1
    assert error["Error"] == "CommandFailed"
    assert json.loads(error["Cause"])["errorMessage"] == "exit 1"


def test_an_uncaught_error_fails_the_execution_by_its_name(bench: Bench) -> None:
    bench.does = failing(CommandFailed("exit 1"))
    ended = bench.ended(bench.start(("One", task())))
    assert (ended["status"], ended["error"]) == ("FAILED", "CommandFailed")


def test_an_execution_that_fails_as_defined_is_no_error_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    sorry = {"Type": "Fail", "Error": "Bad", "Cause": "because"}
    ended = bench.ended(bench.start(("One", task("Sorry")), ("Sorry", sorry)))
    logging.getLogger("moto.stepfunctions.parser.asl.component.eval_component").error("%s at '%s'", "other", "x")

    assert (ended["status"], ended["error"]) == ("FAILED", "Bad")
    assert [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR] == ["other at 'x'"]


def test_a_function_that_does_not_exist_can_be_caught(bench: Bench) -> None:
    catch = {"ErrorEquals": ["Lambda.ResourceNotFoundException"], "Next": "Sorry"}
    missing = task(Parameters={"FunctionName": "nobody", "Payload": {}}, Catch=[catch])
    ended = bench.ended(bench.start(("One", missing), ("Sorry", {"Type": "Succeed"})))
    assert ended["status"] == "SUCCEEDED"


def test_a_task_that_outlasts_its_timeout_is_caught(bench: Bench) -> None:
    bench.does = lambda event: threading.Event().wait(4)
    catch = {"ErrorEquals": ["States.Timeout"], "Next": "Sorry", "ResultPath": "$.error"}
    ended = bench.ended(
        bench.start(("One", task(TimeoutSeconds=1, Catch=[catch])), ("Sorry", {"Type": "Pass", "End": True}))
    )
    assert json.loads(ended["output"])["error"]["Error"] == "States.Timeout"


def test_a_machine_that_outlasts_its_timeout_is_timed_out(bench: Bench) -> None:
    ended = bench.ended(bench.start(("Long", {"Type": "Wait", "Seconds": 10, "End": True}), TimeoutSeconds=1))
    assert ended["status"] == "TIMED_OUT"


def test_a_choice_loops_through_a_wait_until_done(bench: Bench) -> None:
    bench.does = lambda event: "done" if len(bench.events) == 2 else "again"
    is_done = {"Variable": "$.last.said", "StringEquals": "done", "Next": "Done"}
    ended = bench.ended(
        bench.start(
            ("Poll", task("IsDone")),
            ("IsDone", {"Type": "Choice", "Choices": [is_done], "Default": "Wait"}),
            ("Wait", {"Type": "Wait", "Seconds": 1, "Next": "Poll"}),
            ("Done", {"Type": "Succeed"}),
        )
    )
    assert ended["status"] == "SUCCEEDED"
    assert len(bench.events) == 2


def _waiting(seconds: int = 30) -> tuple[str, dict[str, Any]]:
    return "Long", {"Type": "Wait", "Seconds": seconds, "End": True}


def test_starting_twice_with_one_name_starts_once(bench: Bench) -> None:
    execution = bench.start(_waiting(), given={"job_id": "job_x"})
    machine = bench.states.describe_execution(executionArn=execution)["stateMachineArn"]

    assert bench.begin(machine, "job_x", {"job_id": "job_x"}) == execution
    with pytest.raises(ClientError) as refused:
        bench.begin(machine, "job_x", {"job_id": "job_y"})
    assert refused.value.response["Error"]["Code"] == "ExecutionAlreadyExists"
    bench.states.stop_execution(executionArn=execution)
    with pytest.raises(ClientError) as refused:
        bench.begin(machine, "job_x", {"job_id": "job_x"})
    assert refused.value.response["Error"]["Code"] == "ExecutionAlreadyExists"


@pytest.mark.parametrize("where", ["in a wait", "in a task"])
def test_stopping_is_immediate_and_remembers_why(bench: Bench, where: str) -> None:
    release = threading.Event()
    bench.does = lambda event: release.wait(4)
    execution = bench.start(_waiting() if where == "in a wait" else ("One", task()))
    bench.states.stop_execution(executionArn=execution, error="Cancelled", cause="somebody cancelled the job")
    seen = bench.states.describe_execution(executionArn=execution)
    release.set()

    assert (seen["status"], seen["error"], seen["cause"]) == ("ABORTED", "Cancelled", "somebody cancelled the job")
    assert seen["stopDate"]


def test_a_stopped_execution_takes_no_further_step(bench: Bench) -> None:
    begun, release = threading.Event(), threading.Event()

    def do(event: Any) -> None:
        begun.set()
        release.wait(4)

    bench.does = do
    execution = bench.start(("One", task("Two")), ("Two", task()))
    assert begun.wait(5)
    bench.states.stop_execution(executionArn=execution)
    release.set()
    history: list[Any] = []
    deadline = time.monotonic() + 5
    while "ExecutionAborted" not in history and time.monotonic() < deadline:
        events = bench.states.get_execution_history(executionArn=execution)["events"]
        history = [event["type"] for event in events]
    assert len(bench.events) == 1


def test_thirty_executions_at_once_all_end(bench: Bench) -> None:
    first = bench.start(("One", task("Two")), ("Two", task()), name="job_0")
    machine = bench.states.describe_execution(executionArn=first)["stateMachineArn"]
    executions = [first, *(bench.begin(machine, f"job_{n}") for n in range(1, 30))]

    assert {bench.ended(execution)["status"] for execution in executions} == {"SUCCEEDED"}
    assert len(bench.events) == 60


def test_a_placeholder_that_nobody_fills_is_refused(bench: Bench) -> None:
    with pytest.raises(KeyError, match="OtherArn"):
        bench.engine.define("m", '{"x": "${OtherArn}"}', {"StepArn": ARN})

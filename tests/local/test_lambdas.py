"""Lambda's rules, by its Invoke API and from the clock."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from chalice import Blueprint, Chalice, Cron, Rate
from chalice.config import Config

from infra.local import lambdas, schedules
from infra.local.facade import Facade
from infra.local.lambdas import FUNCTIONS_PATH, Context, Function, Functions
from infra.local.schedules import Clockwork, Schedule, UnknownSchedule
from tests.local.conftest import client_of


class HostUnreachable(Exception):
    pass


told = threading.Event()


def echo(event: Any, context: Context) -> Any:
    return {"event": event, "name": context.function_name, "id": context.aws_request_id}


def remaining(event: Any, context: Context) -> int:
    return context.get_remaining_time_in_millis()


def unreachable(event: Any, context: Context) -> None:
    raise HostUnreachable("h1 did not answer")


def hang(event: Any, context: Context) -> None:
    threading.Event().wait(20)


def tell(event: Any, context: Context) -> None:
    told.set()


def unserializable(event: Any, context: Context) -> Any:
    return {1, 2}


FUNCTIONS = [
    Function("echo", echo),
    Function("remaining", remaining, timeout=7),
    Function("unreachable", unreachable),
    Function("hang", hang, timeout=0.05),
    Function("tell", tell),
    Function("unserializable", unserializable),
]


@pytest.fixture
def functions() -> Functions:
    return Functions({function.name: function for function in FUNCTIONS}, "slipway-local-")


@pytest.fixture
def invoke(functions: Functions) -> Iterator[Callable[..., Any]]:
    with Facade() as facade:
        facade.offer_path(FUNCTIONS_PATH, functions.answer)
        with client_of(facade, "lambda") as client:
            yield client.invoke


@pytest.mark.parametrize(
    "name",
    [
        "echo",
        "slipway-local-echo",
        "arn:aws:lambda:us-east-1:123456789012:function:slipway-local-echo",
        "arn:aws:lambda:us-east-1:123456789012:function:echo:$LATEST",
    ],
)
def test_a_function_answers_to_all_its_names(invoke: Callable[..., Any], name: str) -> None:
    answer = invoke(FunctionName=name, Payload=json.dumps({"a": [1, "ü"]}).encode())
    content = json.loads(answer["Payload"].read())

    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert content["event"] == {"a": [1, "ü"]}
    assert content["name"] == "echo"


def test_an_exception_becomes_the_error_that_step_functions_matches_by_name(invoke: Callable[..., Any]) -> None:
    answer = invoke(FunctionName="unreachable")
    content = json.loads(answer["Payload"].read())

    assert answer["FunctionError"] == "Unhandled"
    assert content["errorType"] == "HostUnreachable"
    assert content["errorMessage"] == "h1 did not answer"
    assert content["stackTrace"]


def test_a_function_that_overruns_its_timeout_is_answered_without_it(invoke: Callable[..., Any]) -> None:
    answer = invoke(FunctionName="hang")
    content = json.loads(answer["Payload"].read())

    assert answer["FunctionError"] == "Unhandled"
    assert content["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 0.05 seconds" in content["errorMessage"]


def test_a_function_is_told_how_long_it_may_take(invoke: Callable[..., Any]) -> None:
    left = json.loads(invoke(FunctionName="remaining")["Payload"].read())
    assert 0 < left <= 7000


def test_a_result_that_is_not_json_is_an_error(invoke: Callable[..., Any]) -> None:
    answer = invoke(FunctionName="unserializable")
    assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.MarshalError"


def test_an_event_is_taken_at_once_and_handled_later(invoke: Callable[..., Any]) -> None:
    told.clear()
    assert invoke(FunctionName="tell", InvocationType="Event")["StatusCode"] == 202
    assert told.wait(5)


def test_an_unknown_function_is_not_found(invoke: Callable[..., Any]) -> None:
    with pytest.raises(ClientError) as refused:
        invoke(FunctionName="nobody")
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_an_event_over_six_megabytes_is_refused(invoke: Callable[..., Any]) -> None:
    with pytest.raises(ClientError) as refused:
        invoke(FunctionName="echo", Payload=b'"%s"' % (b"x" * 6 * 1024 * 1024))
    assert refused.value.response["Error"]["Code"] == "RequestTooLargeException"


room = Blueprint(__name__)


@room.schedule(Rate(5, unit=Rate.MINUTES), name="told_time")
def tell_time(event: Any) -> Any:
    return event.to_dict()["detail-type"]


def _app() -> Chalice:
    app = Chalice("toy", configure_logs=False)

    @app.lambda_function(name="step")
    def step(event: Any, context: Any) -> Any:
        return event

    app.register_blueprint(room)
    return app


def test_functions_and_schedules_of_an_app_have_the_timeouts_of_its_config() -> None:
    config = Config(
        "local", config_from_disk={"stages": {"local": {"lambda_functions": {"step": {"lambda_timeout": 85}}}}}
    )
    app = _app()
    found = lambdas.of_app(app, config)

    assert {name: function.timeout for name, function in found.items()} == {"step": 85, "told_time": 60}
    assert schedules.of_app(app) == [Schedule("told_time", 300)]
    assert found["told_time"].handler(json.loads(schedules.event("told_time")), None) == "Scheduled Event"  # type: ignore[arg-type]


def test_a_schedule_that_is_not_a_rate_is_refused() -> None:
    app = Chalice("toy", configure_logs=False)
    app.schedule(Cron(0, 12, "*", "*", "?", "*"), name="noon")(lambda event: event)
    with pytest.raises(UnknownSchedule, match="cron"):
        schedules.of_app(app)


def test_the_clock_invokes_until_it_is_closed(functions: Functions) -> None:
    clock = Clockwork([Schedule("tell", 0.01)], functions)
    for _ in range(3):
        told.clear()
        assert told.wait(5)
    clock.close()

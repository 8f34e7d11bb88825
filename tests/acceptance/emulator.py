"""`python -m tests.acceptance.emulator FILE`: the emulator, with some things as they are in AWS.

* What a session of a role asks for is noted in FILE, each once, where IAM decides it; what is refused is noted as well.
* Rights over a role depend on its path and on the boundary that it has or is given; whoever hands a role to a function
  must be allowed to pass it; a function that is made has a name, and a rule's ARN does not name the default bus.
  To read what a function reserves is not to change it.
* An alarm on several figures that are reckoned together is kept, where the emulator's CloudFormation would refuse its
  template. It never goes off.
* A function that raises is answered with the name of what it raised, as Lambda does; the emulator says
  `Runtime.HandlerError` of all of them, and the workflow's Retry and Catch go by names.
* An upgrade that `$connect` refuses is answered with its status, and one to a stage that is not there with 403; the
  emulator says 403 of the first and has the second made.
"""

import json
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import apigateway, iam, lambda_svc
from ministack.services.cloudformation import provisioners

# The first line of a traceback that is not indented: what was raised.
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+([\w.]+)", re.MULTILINE)


def main() -> None:
    file = Path(sys.argv.pop())  # the emulator reads the rest
    noted: set[tuple[str, str]] = set()

    def note(who: str, action: str) -> None:
        if (who, action) not in noted:
            noted.add((who, action))
            with file.open("a") as kept:
                kept.write(json.dumps((who, action)) + "\n")

    _check_as_aws(note)
    _keep_alarms_on_several_figures()
    _name_what_was_raised()
    _refuse_upgrades_as_aws()
    app.main()


def _check_as_aws(note: Callable[[str, str], None]) -> None:
    check, context_of = iam_evaluator.enforce, iam_actions.request_tag_context
    resource_of, of_lambda = iam_actions.extract_resource_arn, iam_actions._lambda_action
    handed: ContextVar[str] = ContextVar("handed", default="")

    def context(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
        handed.set(_role_of_function(action, body))
        found: dict[str, Any] = context_of(service, action, body, parameters)
        return {**found, **_boundary(parameters)} if service == "iam" else found

    def resource(service: str, *request: Any) -> Any:
        *_, body, parameters, region, account = request
        return _named(service, body, parameters, f"{region}:{account}") or resource_of(service, *request)

    def lambda_action(method: str, path: str) -> Any:
        reads = method == "GET" and path.endswith("/concurrency")
        return "GetFunctionConcurrency" if reads else of_lambda(method, path)

    def enforce(key: str, action: str, service: str, region: str, **more: Any) -> Any:
        asked = [action]
        refused = check(key, action, service, region, **more)
        if not refused and action in _HAND_A_ROLE and handed.get():
            asked.append("iam:PassRole")
            to = {"iam:PassedToService": "lambda.amazonaws.com"}
            refused = check(key, asked[1], "iam", region, resource_arn=handed.get(), service_context=to)
        who = iam_evaluator.resolve_credential(key)
        if getattr(who, "principal_type", "") == "AssumedRole":
            for each in asked:
                note(who.principal_arn.split("/")[1], each)
        return refused

    iam_evaluator.enforce = enforce
    iam_actions._lambda_action = lambda_action
    iam_actions.request_tag_context, iam_actions.extract_resource_arn = context, resource


_HAND_A_ROLE = {"lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"}


def _role_of_function(action: str, body: bytes) -> str:
    return str(json.loads(body).get("Role", "")) if action in _HAND_A_ROLE else ""


def _named(service: str, body: bytes, parameters: dict[str, Any], place: str) -> str:
    """What is asked for, where the emulator would name it otherwise than AWS; empty where it would not."""
    if service == "iam":
        return str(_role(parameters).get("Arn") or unquote(_given(parameters, "PolicySourceArn")))
    if service == "lambda" and b'"FunctionName"' in body:
        return f"arn:aws:lambda:{place}:function:{json.loads(body)['FunctionName']}"
    if service == "events" and body.startswith(b"{"):
        given = json.loads(body)
        if rule := given.get("Rule") or given.get("Name"):
            return f"arn:aws:events:{place}:rule/{rule}"
    return ""


def _boundary(parameters: dict[str, Any]) -> dict[str, str]:
    """The one that this call gives a role, or else the one that the role has."""
    found = unquote(_given(parameters, "PermissionsBoundary")) or _role(parameters).get("PermissionsBoundary")
    return {"iam:PermissionsBoundary": found} if found else {}


def _role(parameters: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = iam._roles.get(_given(parameters, "RoleName")) or {}
    return found


def _given(parameters: dict[str, Any], name: str) -> str:
    value = parameters.get(name, "")
    return str(value[0] if isinstance(value, list) else value)


def _keep_alarms_on_several_figures() -> None:
    plain = provisioners._cw_metric_alarm_record

    def record(name: str, properties: dict[str, Any]) -> Any:
        figures = properties.get("Metrics")
        if not figures:
            return plain(name, properties)
        one = {"Metrics": None, "Namespace": "Several", "MetricName": figures[0]["Id"]}
        return {**plain(name, {**properties, **one}), "Metrics": figures}

    provisioners._cw_metric_alarm_record = record


def _name_what_was_raised() -> None:
    plain = lambda_svc._execute_function_with_config_scope

    def execute(*arguments: Any, **more: Any) -> Any:
        result = plain(*arguments, **more)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            raised = _RAISED.findall(result.get("log", ""))
            if raised:
                body["errorType"] = raised[-1].rpartition(".")[2]
        return result

    lambda_svc._execute_function_with_config_scope = execute


def _refuse_upgrades_as_aws() -> None:
    plain, invoke = apigateway.handle_websocket, apigateway._invoke_ws_lambda
    answered: ContextVar[list[int]] = ContextVar("answered")

    async def invoked(*arguments: Any, **more: Any) -> Any:
        answer = await invoke(*arguments, **more)
        answered.get().append(int((answer or {}).get("statusCode", 200)))
        return answer

    async def handle(scope: Any, receive: Any, send: Any, api_id: str, path_override: str | None = None) -> None:
        answered.set([])
        path = scope.get("path", "") if path_override is None else path_override
        if path.strip("/").split("/")[0] not in _stages_of(api_id):
            await receive()
            await apigateway._refuse_ws_handshake(scope, send, 403, "Forbidden", "", "")
            return

        async def sent(message: Any) -> None:
            refused = [status for status in answered.get()[:1] if status >= 300]
            if message["type"] == "websocket.close" and refused:
                await apigateway._refuse_ws_handshake(scope, send, refused[0], "refused", "", "")
            else:
                await send(message)

        await plain(scope, receive, sent, api_id, path_override)

    apigateway.handle_websocket, apigateway._invoke_ws_lambda = handle, invoked


def _stages_of(api_id: str) -> set[str]:
    owner = apigateway._api_owner(api_id)
    return set(apigateway._stages.get_scoped(owner[1], owner[2], api_id, {})) if owner else set()


if __name__ == "__main__":
    main()

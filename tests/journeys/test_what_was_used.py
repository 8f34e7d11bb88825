"""After all other journeys: what each packaged function asked of AWS, held against its policy, both ways."""

import json
from typing import Any

import pytest

from infra.deploy.stages import PROJECT
from tests.journeys.plane import Plane

# What stands in a policy and no journey shows to be needed, and why it stands there.
_BY_LAMBDA = {"logs:CreateLogStream", "logs:PutLogEvents"}  # Lambda itself asks, in the function's name
_WHEN_A_CALL_FAILS = {"sqs:SendMessage"}  # as above, of a call that nobody waits for
_IN_A_NETWORK = {  # what Lambda asks where the stage has a network
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
_WHEN_A_JOB_WAS_LOST = {  # its work is what went wrong elsewhere: lost jobs, and deploys that pushes still wait for
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "lambda:InvokeFunction",
    "states:StartExecution",
}
_WITHOUT_A_MODEL = {"bedrock:InvokeModel"}  # no journey on AWS's own parts has a model
_WHEN_AN_AGENT_IS_SILENT = {
    "dynamodb:BatchGetItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "execute-api:ManageConnections",
}
# What may be asked for in a run, and need not: a minute's look sometimes finds something to do.
_BY_CHANCE = {"reaper": _WHEN_A_JOB_WAS_LOST, "keeper": _WHEN_AN_AGENT_IS_SILENT}
UNPROVED: dict[str, set[str]] = {
    "api_handler": _BY_LAMBDA,
    "host_step": _BY_LAMBDA | _IN_A_NETWORK | _WITHOUT_A_MODEL,
    "host_call": _BY_LAMBDA | _WHEN_A_CALL_FAILS | _IN_A_NETWORK,
    "reaper": _BY_LAMBDA | _WHEN_A_CALL_FAILS | _WHEN_A_JOB_WAS_LOST,
    "reconciler": _BY_LAMBDA | _WHEN_A_CALL_FAILS,
    "keeper": _BY_LAMBDA | _WHEN_A_CALL_FAILS | _WHEN_AN_AGENT_IS_SILENT,
    "websocket_connect": _BY_LAMBDA,
    "websocket_message": _BY_LAMBDA,
    "websocket_disconnect": _BY_LAMBDA,
}


def test_each_function_may_do_what_it_does_and_nothing_else(plane: Plane, pytestconfig: pytest.Config) -> None:
    from tests.acceptance.plane import Packaged  # noqa: PLC0415  the other plane needs none of it

    if not isinstance(plane, Packaged):
        pytest.skip("only the packaged release has policies: --plane packaged")
    if pytestconfig.getoption("keyword") or any(".py" in word for word in pytestconfig.args):
        pytest.skip("only some of the journeys were run")
    missing, never, no_longer = {}, {}, {}
    for name, unproved in UNPROVED.items():
        suffix = "" if name == "api_handler" else f"-{name}"
        used = plane.account.emulator.used(f"slipway-prod{suffix}")
        allowed = _allowed(name)
        missing[name] = sorted(used - allowed)
        never[name] = sorted(allowed - used - unproved)
        no_longer[name] = sorted(unproved & used - _BY_CHANCE.get(name, set())) + sorted(unproved - allowed)

    assert not any(missing.values()), f"asked for and not allowed: {missing}"
    assert not any(never.values()), f"allowed and never asked for: {never}"
    assert not any(no_longer.values()), f"listed as unproved, and asked for or not allowed: {no_longer}"


def _allowed(name: str) -> set[str]:
    policy: dict[str, Any] = json.loads((PROJECT / ".chalice" / "policies" / f"{name}.json").read_text())
    actions: set[str] = set()
    for statement in policy["Statement"]:
        if statement["Effect"] == "Allow":
            given = statement["Action"]
            actions |= {given} if isinstance(given, str) else set(given)
    return actions

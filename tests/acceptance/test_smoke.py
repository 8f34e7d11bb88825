"""The script of `make smoke-aws` on the emulated account, with the deployer's role: each check by its name."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from infra.deploy.release import own_architecture
from tests.acceptance.cloud import PROJECT, STAGE
from tests.acceptance.edge import Edge
from tests.acceptance.roles import REVIEWED, Roles

ALARMS = "the alarms are there and none is on"
FUNCTIONS = "functions have the processor, memory, time and reserve that was asked for"
TABLE = "the table has backups and forgets what expired"
WORKFLOW = "the workflow's definition is the one of this release"
PASS = {
    ALARMS,
    FUNCTIONS,
    WORKFLOW,
    "the API answers",
    "an unknown route is a 404 of our shape",
    "a request without a token is a 401",
    "only the functions that speak SSH stand in the network",
    "an upgrade elsewhere is refused at the edge",
    "an upgrade without a token is refused by $connect",
}
# What fails here, by what the emulated account lacks.
FAIL = {
    "a body over API Gateway's limit is a 413 of our shape": "the emulator takes bodies of any size",
    "IAM's own simulator allows what a policy allows and nothing else": "the emulator's does not look at the context",
    TABLE: "the emulator's CloudFormation leaves both out",
    "the edge adds the security headers": "what stands for CloudFront here routes, and adds no headers",
}


class Smoke:
    def __init__(self, roles: Roles, port: int) -> None:
        self.client = roles.account.emulator.client
        self._roles, self._url = roles, f"http://127.0.0.1:{port}"

    def ends(self) -> dict[str, str]:
        """ok or FAIL for each check that was made."""
        where = ["--stages", str(self._roles.account.stages), "--url", self._url]
        done = subprocess.run(
            [sys.executable, "-m", "infra.smoke", "--stage", STAGE, *where, "--architecture", own_architecture()],
            cwd=PROJECT,
            env={**os.environ, **self._roles.account.environment(), **self._roles.taken("deployer", REVIEWED)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = re.findall(r"^(ok|FAIL) +(.+?): ", done.stdout, re.MULTILINE)
        assert done.returncode == int(any(end == "FAIL" for end, _ in found)), done.stdout + done.stderr
        return {name: end for end, name in found}


@pytest.fixture(scope="module")
def smoke(roles: Roles, deployed: subprocess.CompletedProcess[str]) -> Iterator[Smoke]:
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    with Edge(roles.account.emulator.url, roles.account.emulator.client) as edge:
        yield Smoke(roles, edge.port)


def test_every_check_passes_but_for_what_the_emulator_cannot_show(smoke: Smoke) -> None:
    assert smoke.ends() == {**dict.fromkeys(PASS, "ok"), **dict.fromkeys(FAIL, "FAIL")}


def test_the_table_is_looked_at_both_for_backups_and_for_what_expired(smoke: Smoke) -> None:
    table, client = f"slipway-{STAGE}", smoke.client("dynamodb")
    lives = {"AttributeName": "expires", "Enabled": True}
    backups = {"PointInTimeRecoveryEnabled": True}

    client.update_time_to_live(TableName=table, TimeToLiveSpecification=lives)
    without_backups = smoke.ends()[TABLE]
    client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=backups)
    with_both = smoke.ends()[TABLE]

    assert (without_backups, with_both) == ("FAIL", "ok")


def test_what_somebody_changed_by_hand_is_seen(smoke: Smoke) -> None:
    states, functions = smoke.client("stepfunctions"), smoke.client("lambda")
    (machine,) = [each["stateMachineArn"] for each in states.list_state_machines()["stateMachines"]]
    kept = states.describe_state_machine(stateMachineArn=machine)["definition"]

    smoke.client("cloudwatch").set_alarm_state(
        AlarmName=f"slipway-{STAGE}-api-fails", StateValue="ALARM", StateReason="a test"
    )
    functions.update_function_configuration(FunctionName=f"slipway-{STAGE}-reaper", MemorySize=128)
    other = '{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}'
    states.update_state_machine(stateMachineArn=machine, definition=other)
    ends = smoke.ends()

    assert {name for name in PASS if ends[name] == "FAIL"} == {ALARMS, FUNCTIONS, WORKFLOW}
    states.update_state_machine(stateMachineArn=machine, definition=kept)

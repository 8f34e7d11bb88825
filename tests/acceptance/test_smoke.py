"""The script of `make smoke-aws` on the emulated account, with the deployer's role: each check by its name."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.deploy.release import own_architecture
from tests.acceptance.cloud import PROJECT, STAGE
from tests.acceptance.edge import Edge
from tests.acceptance.roles import REVIEWED, Roles

ALARMS = "the alarms are there and none is on"
FUNCTIONS = "functions have the processor, memory, time and reserve that was asked for"
TABLE = "the table has backups and forgets what expired"
SOCKETS = "the WebSocket API has its stage"
REFUSED = "an upgrade without a token is refused by $connect"
FOLLOWED = "an upgrade with the token is accepted"
WORKFLOW = "the workflow's definition is the one of this release"
PASS = {
    ALARMS,
    FUNCTIONS,
    WORKFLOW,
    "the API answers",
    "an unknown route is a 404 of our shape",
    "a request without a token is a 401",
    "only the functions that speak SSH stand in the network",
    "CloudFront shows the key by which functions know it",
    "an upgrade elsewhere is refused at the edge",
    SOCKETS,
    REFUSED,
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
        self.admin_token = roles.account.admin_token
        self._roles, self._url = roles, f"http://127.0.0.1:{port}"

    def ends(self, *words: str) -> dict[str, str]:
        """ok or FAIL for each check that was made."""
        return {name: end for name, (end, _) in self.tells(*words).items()}

    def tells(self, *words: str) -> dict[str, tuple[str, str]]:
        """The same, each with what was seen."""
        where = ["--stages", str(self._roles.account.stages), "--url", self._url]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "infra.smoke",
                "--stage",
                STAGE,
                *where,
                "--architecture",
                own_architecture(),
                *words,
            ],
            cwd=PROJECT,
            env={**os.environ, **self._roles.account.environment(), **self._roles.taken("deployer", REVIEWED)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = re.findall(r"^(ok|FAIL) +(.+?): (.*)$", done.stdout, re.MULTILINE)
        assert done.returncode == int(any(end == "FAIL" for end, *_ in found)), done.stdout + done.stderr
        return {name: (end, seen) for end, name, seen in found}


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


def test_a_websocket_api_without_its_stage_is_seen_twice(smoke: Smoke) -> None:
    client = smoke.client("apigatewayv2")
    (api,) = client.get_apis()["Items"]
    (stage,) = client.get_stages(ApiId=api["ApiId"])["Items"]

    client.delete_stage(ApiId=api["ApiId"], StageName=STAGE)
    without = smoke.tells()
    client.create_stage(ApiId=api["ApiId"], StageName=STAGE, DeploymentId=stage["DeploymentId"])
    again = smoke.ends()

    assert without[SOCKETS][0] == "FAIL"
    assert without[REFUSED] == ("FAIL", "HTTP 403")
    assert (again[SOCKETS], again[REFUSED]) == ("ok", "ok")


def test_without_a_service_no_upgrade_is_asked_for_and_that_is_told(smoke: Smoke, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(smoke.admin_token())

    ends = smoke.tells("--token-file", str(file))

    assert ends[FOLLOWED] == ("ok", "not asked for: there is no service whose logs could be followed")

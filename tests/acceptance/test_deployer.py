"""Who may take the roles of infra/deployer.yaml, and a plan and a deploy with them."""

import json
import subprocess

import pytest
from botocore.exceptions import ClientError

from tests.acceptance.cloud import ACCOUNT, STAGE
from tests.acceptance.roles import ON_MAIN, REPOSITORY, REVIEWED, Roles

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/deploy/slipway-{STAGE}-boundary"


@pytest.mark.parametrize(
    ("role", "subject", "audience"),
    [
        ("planner", "repo:example/other:ref:refs/heads/main", "sts.amazonaws.com"),
        ("planner", f"repo:{REPOSITORY}:ref:refs/heads/feature", "sts.amazonaws.com"),
        ("planner", f"repo:{REPOSITORY}:pull_request", "sts.amazonaws.com"),
        ("planner", ON_MAIN, "https://github.com/example"),
        ("deployer", ON_MAIN, "sts.amazonaws.com"),
        ("deployer", f"repo:{REPOSITORY}:environment:staging", "sts.amazonaws.com"),
        ("deployer", REVIEWED, "https://github.com/example"),
    ],
)
def test_a_role_is_refused_to_anything_else(roles: Roles, role: str, subject: str, audience: str) -> None:
    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        roles.taken(role, subject, audience)


def test_whoever_plans_sees_the_plan_and_carries_nothing_out(roles: Roles) -> None:
    planner = roles.taken("planner", ON_MAIN)

    planned = roles.account.run("plan", **planner)
    tried = roles.account.run("up", "--yes", **planner)

    assert planned.returncode == 0, planned.stderr
    assert "Add Table (AWS::DynamoDB::Table)" in planned.stdout
    assert tried.returncode == 1
    assert "cloudformation:ExecuteChangeSet" in tried.stderr
    assert roles.account.emulator.client("dynamodb").list_tables()["TableNames"] == []


def test_the_deployer_deploys_and_deploys_again_and_its_functions_are_within_the_boundary(
    roles: Roles, deployed: subprocess.CompletedProcess[str]
) -> None:
    second = roles.account.run("up", "--yes", **roles.taken("deployer", REVIEWED))
    planned = roles.account.run("plan", **roles.taken("planner", ON_MAIN))

    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert second.returncode == 0, second.stdout + second.stderr
    assert "no stack changes" in second.stdout
    assert planned.returncode == 0, planned.stderr
    client = roles.account.emulator.client("lambda")
    made = [each["Role"].rpartition("/")[2] for each in client.list_functions()["Functions"]]
    assert len(made) == 9
    for name in made:
        role = roles.account.emulator.client("iam").get_role(RoleName=name)["Role"]
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY


@pytest.mark.usefixtures("deployed")
def test_the_deployer_makes_nothing_that_may_do_more(roles: Roles) -> None:
    client = roles.client("iam", roles.taken("deployer", REVIEWED))
    anybody = json.dumps({"Version": "2012-10-17", "Statement": []})
    everything = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    )

    for call, words in (
        ("create_role", {"RoleName": f"slipway-{STAGE}-more", "AssumeRolePolicyDocument": anybody}),
        ("create_role", {"RoleName": "more", "AssumeRolePolicyDocument": anybody, "PermissionsBoundary": BOUNDARY}),
        ("put_role_policy", {"RoleName": f"slipway-{STAGE}-deployer", "PolicyName": "x", "PolicyDocument": everything}),
        ("update_assume_role_policy", {"RoleName": f"slipway-{STAGE}-deployer", "PolicyDocument": anybody}),
        ("delete_role_permissions_boundary", {"RoleName": f"slipway-{STAGE}-api_handler"}),
        ("create_policy_version", {"PolicyArn": BOUNDARY, "PolicyDocument": everything, "SetAsDefault": True}),
        (
            "attach_role_policy",
            {"RoleName": f"slipway-{STAGE}-reaper", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
        ),
    ):
        with pytest.raises(ClientError, match="is not authorized to perform"):
            getattr(client, call)(**words)

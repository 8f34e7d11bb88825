"""A plan and a deploy with the roles of infra/deployer.yaml, and what they asked of AWS against what they may."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.acceptance.cloud import ACCOUNT, PROJECT, REGION, STAGE, Account, account
from tests.acceptance.plane import stage_text
from tests.architecture.test_deployer import among, attached, by_cloudformation, granted

ISSUER = "https://token.actions.githubusercontent.com"
REPOSITORY = "example/panel"
ON_MAIN, REVIEWED = f"repo:{REPOSITORY}:ref:refs/heads/main", f"repo:{REPOSITORY}:environment:{STAGE}"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/deploy/slipway-{STAGE}-boundary"

# What stands in the policies and no run here asks for, by the reason for it.
UNPROVED = {
    "asked by Chalice where a release has a function or schedule less than the one before": {
        "events:DeleteRule",
        "events:RemoveTargets",
        "lambda:DeleteFunction",
        "lambda:DeleteLayerVersion",
        "lambda:RemovePermission",
        "lambda:UntagResource",
    },
    "asked after a stack could not be made": {"cloudformation:DeleteStack", "cloudformation:DescribeStackEvents"},
    "asked for a domain of one's own": {"acm:ListCertificates"},
    "asked by CloudFormation for !GetAZs": {"ec2:DescribeAvailabilityZones"},
    "checked by AWS as part of making a function, with its layer and Chalice's tags": {
        "lambda:GetLayerVersion",
        "lambda:TagResource",
    },
    "called by every deploy; the emulator answers without a check": {
        "lambda:GetAccountSettings",
        "lambda:PutFunctionEventInvokeConfig",
    },
}


class Roles:
    """The emulated account as an administrator leaves it to GitHub."""

    def __init__(self, of: Account) -> None:
        self.account = of
        client = of.emulator.client("iam")
        # The emulator's CloudFormation knows no providers: the account has one already.
        client.create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"])
        stacks = of.emulator.client("cloudformation")
        wanted = {"Stage": STAGE, "Repository": REPOSITORY, "GitHub": "there", "Network": "none"}
        text = (PROJECT / "infra" / "deployer.yaml").read_text()
        stacks.create_stack(
            StackName=f"slipway-{STAGE}-deployer",
            TemplateBody=text,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in wanted.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        waiter = stacks.get_waiter("stack_create_complete")
        waiter.wait(StackName=f"slipway-{STAGE}-deployer", WaiterConfig={"Delay": 1})

    def taken(self, role: str, subject: str, audience: str = "sts.amazonaws.com") -> dict[str, str]:
        """A shell's variables with this role, taken by a token of GitHub's about this subject."""
        claims = {"iss": ISSUER, "aud": audience, "sub": subject}
        token = ".".join([_coded({"alg": "RS256", "typ": "JWT"}), _coded(claims), "unsigned"])
        told = self.account.emulator.client("sts").assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/deploy/slipway-{STAGE}-{role}",
            RoleSessionName="run",
            WebIdentityToken=token,
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": told["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": told["SecretAccessKey"],
            "AWS_SESSION_TOKEN": told["SessionToken"],
        }

    def client(self, service: str, variables: dict[str, str]) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.account.emulator.url,
            region_name=REGION,
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=variables["AWS_SESSION_TOKEN"],
        )


def _coded(value: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with account(tmp_path_factory.mktemp("account")) as made:
        roles = Roles(made)
        made.write_stage(stage_text().replace("enabled = false", "enabled = true"))
        done = made.run("plan")  # the administrator's, which makes the bucket that remembers
        assert done.returncode == 0, done.stderr
        # It refuses what comes without TLS, as it should, and the emulator has none.
        made.emulator.client("s3").delete_bucket_policy(Bucket=f"slipway-{STAGE}-deploys-{ACCOUNT}")
        yield roles


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


def test_the_deployer_deploys_and_deploys_again_and_its_functions_are_within_the_boundary(roles: Roles) -> None:
    deployer = roles.taken("deployer", REVIEWED)

    first = roles.account.run("up", "--yes", **deployer)
    second = roles.account.run("up", "--yes", **deployer)
    planned = roles.account.run("plan", **roles.taken("planner", ON_MAIN))

    assert first.returncode == 0, first.stdout + first.stderr
    assert second.returncode == 0, second.stdout + second.stderr
    assert "no stack changes" in second.stdout
    assert planned.returncode == 0, planned.stderr
    client = roles.account.emulator.client("lambda")
    made = [each["Role"].rpartition("/")[2] for each in client.list_functions()["Functions"]]
    assert len(made) == 9
    for name in made:
        role = roles.account.emulator.client("iam").get_role(RoleName=name)["Role"]
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY


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


def test_the_roles_may_do_what_a_deploy_asks_and_nothing_else(roles: Roles) -> None:
    asked = {role: roles.account.emulator.asked(f"slipway-{STAGE}-{role}") for role in ("planner", "deployer")}
    allowed = granted(*attached("Deployer"))
    known = asked["planner"] | asked["deployer"] | by_cloudformation()
    unproved = {action for actions in UNPROVED.values() for action in actions}

    never = {pattern for pattern in allowed if not any(among(action, {pattern}) for action in known)}

    assert never == unproved

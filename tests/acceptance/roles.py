"""The emulated account as an administrator leaves it to GitHub: with the roles of infra/deployer.yaml."""

import base64
import json
from typing import Any

import boto3

from tests.acceptance.cloud import ACCOUNT, PROJECT, REGION, STAGE, Account

ISSUER = "https://token.actions.githubusercontent.com"
REPOSITORY = "example/panel"
ON_MAIN, REVIEWED = f"repo:{REPOSITORY}:ref:refs/heads/main", f"repo:{REPOSITORY}:environment:{STAGE}"


class Roles:
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

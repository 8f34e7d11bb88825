"""The boundary of what is deployed: the most that any role of functions and workflow may do (infra/deployer.yaml).

Where an administrator made one, each role is made with it: whoever may make roles could otherwise make one that may do
everything in the account. Chalice makes roles without, so they are there before it runs, and it fills them in.
"""

import json
from collections.abc import Iterable
from typing import Any

from infra.deploy.stages import Stage

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def boundary(stage: Stage, partition: str, iam: Any) -> str:
    """Its ARN; empty where nobody made one."""
    arn = f"arn:{partition}:iam::{stage.account}:policy/deploy/{stage.prefix}-boundary"
    try:
        iam.get_policy(PolicyArn=arn)
    except iam.exceptions.NoSuchEntityException:
        return ""
    return arn


def within(boundary_arn: str, stage: Stage, functions: Iterable[str], iam: Any) -> None:
    """Have the role of each function within this boundary. Nothing without one: roles keep what they have."""
    if not boundary_arn:
        return
    for function in functions:
        name = f"{stage.prefix}-{function}"
        try:
            role = iam.get_role(RoleName=name)["Role"]
        except iam.exceptions.NoSuchEntityException:
            trust = json.dumps(_TRUST)
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, PermissionsBoundary=boundary_arn)
            continue
        if role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") != boundary_arn:
            iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary_arn)

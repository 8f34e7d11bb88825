"""After the deploy and the look at it: what both roles asked of AWS, held against their policies, both ways.

That all was allowed is shown by the runs themselves: the emulator checks IAM.
"""

import pytest

from tests.acceptance.cloud import STAGE
from tests.acceptance.roles import Roles
from tests.architecture.test_deployer import among, attached, by_cloudformation, granted

# What stands in the policies, and neither a run here asks for nor CloudFormation, by the reason for it.
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
    "called by every deploy and look; the emulator answers without a check": {
        "lambda:GetAccountSettings",
        "lambda:PutFunctionEventInvokeConfig",
    },
}


def test_the_roles_may_do_what_a_deploy_asks_and_nothing_else(roles: Roles, request: pytest.FixtureRequest) -> None:
    ran = {item.path.name for item in request.session.items if item.path.parent == request.path.parent}
    if not ran >= {"test_deployer.py", "test_smoke.py"}:
        pytest.skip("only some of what asks was run")
    asked = {role: roles.account.emulator.asked(f"slipway-{STAGE}-{role}") for role in ("planner", "deployer")}
    allowed = granted(*attached("Deployer"))
    known = asked["planner"] | asked["deployer"] | by_cloudformation()
    unproved = {action for actions in UNPROVED.values() for action in actions}

    never = {pattern for pattern in allowed if not any(among(action, {pattern}) for action in known)}

    assert never == unproved

"""The roles of infra/deployer.yaml: who may take them, and that they may do what CloudFormation asks and nothing else.

What CloudFormation asks with the deployer's rights is told by the resource types' own schemas, which name the
permissions of each handler. What `infra.deploy` and Chalice ask is held against the same policies by
tests/acceptance/test_deployer.py, where both roles are used.
"""

import fnmatch
import json
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from tests.architecture.test_templates import functions, policies, template

# infra/deposit.yaml is not among them: the administrator's first plan makes it.
MADE_BY_DEPLOYS = ["resources", "network", "edge", "edge-global"]
RESOURCES: dict[str, Any] = template("deployer")["Resources"]
_LONGEST_POLICY = 6144  # characters without blanks: IAM's limit
_LONGEST = {  # what the names in a policy may become
    "${AWS::Partition}": "aws-us-gov",
    "${AWS::Region}": "ap-southeast-2",
    "${AWS::AccountId}": "123456789012",
    "${App}": "slipway",
    "${Stage}": "a-stage-of-this-length",
    "${HostedZoneId}": "Z0123456789ABCDEFGHIJ",
}

# What handlers name and the deployer may not, by the reason for it. A `*` stands for anything.
WITHHELD = {
    "would take data or a key away, or move what protects them": [
        "dynamodb:DeleteResourcePolicy",
        "dynamodb:PutResourcePolicy",
        "iam:AttachRolePolicy",
        "iam:DeleteRolePermissionsBoundary",
        "iam:DetachRolePolicy",
        "kms:DisableKey*",
        "kms:EnableKey",
        "kms:UpdateAlias",
        "logs:*DataProtectionPolicy",
        "logs:DeleteResourcePolicy",
        "logs:PutLogGroupDeletionProtection",
        "s3:DeleteBucketEncryption",
        "s3:PutBucketAcl",
        "s3:PutObjectAcl",
        "sns:PutDataProtectionPolicy",
    ],
    "tables that are imported, copied or streamed": [
        "dynamodb:*KinesisStreamingDestination",
        "dynamodb:*Replica",
        "dynamodb:BatchWriteItem",
        "dynamodb:DescribeImport",
        "dynamodb:ImportTable",
        "dynamodb:UpdateContributorInsights",
        "kinesis:*",
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
    ],
    "features of buckets that ours do not have": [
        "s3:*Bucket[AC]?*",
        "s3:*BucketMetadata*",
        "s3:*BucketMetricsConfiguration",
        "s3:*BucketReplication",
        "s3:*BucketWebsite",
        "s3:DeleteBucketLifecycle",
        "s3:Put[AIMR]*Configuration",
        "s3:PutBucket[LNOV]*",
        "s3:PutObjectLockConfiguration",
        "s3tables:*",
    ],
    "keys of one's own for what AWS encrypts by itself": [
        "kms:CreateGrant",
        "kms:Encrypt",
        "kms:RevokeGrant",
        "logs:*KmsKey",
    ],
    "log groups that are indexed or delivered elsewhere": [
        "firehose:*",
        "logs:*IndexPolicy",
        "logs:PutBearerTokenAuthentication",
        "s3:REST.PUT.OBJECT",
    ],
    "secrets that are made up or copied": [
        "secretsmanager:GetRandomPassword",
        "secretsmanager:*Region*",
    ],
    "a key without tags": ["kms:*agResource"],
    "other kinds of networks": [
        "ec2:*NatGatewayAddress",
        "ec2:*SubnetCidrBlock",
        "ec2:*VpnGateway",
        "ec2:*Ingress",
        "ec2:AcceptAddressTransfer",
        "ec2:*ssociateAddress",
        "ec2:CreateVpcEncryptionControl",
        "ec2:ModifyVpcTenancy",
        "vpc-lattice:*",
        "vpce:*",
    ],
    "other kinds of distributions, certificates and firewalls": [
        "acm-pca:*",
        "cloudfront:*ConnectionGroup",
        "cloudfront:GetVpcOrigin",
        "cloudfront:UpdateDistributionWithStagingConfig",
        "payments:*",
    ],
    "no right of IAM's: it asks for those of its parts": ["cloudfront:CreateDistributionWithTags"],
}


def by_cloudformation(names: list[str] = MADE_BY_DEPLOYS) -> set[str]:
    """What the handlers of these templates' resources ask: all of them, but none that would delete what stays."""
    asked: set[str] = set()
    for name in names:
        for resource in template(name)["Resources"].values():
            verbs = {"create", "read", "update"} | (
                {"delete"} if "Retain" not in resource.get("DeletionPolicy", "") else set()
            )
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema
            for verb in verbs & schema["handlers"].keys():
                asked |= set(schema["handlers"][verb]["permissions"])
    return asked


def granted(*names: str) -> set[str]:
    """The actions of these policies, some with a `*` for the rest of a name."""
    actions: set[str] = set()
    for name in names:
        for statement in RESOURCES[name]["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            given = statement["Action"]
            actions |= {given} if isinstance(given, str) else set(given)
    return actions


def attached(role: str) -> list[str]:
    return [
        each["Fn::If"][1]["Ref"] if "Fn::If" in each else each["Ref"]
        for each in RESOURCES[role]["Properties"]["ManagedPolicyArns"]
    ]


def among(action: str, patterns: set[str]) -> bool:
    return any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)


def test_the_deployer_may_do_what_cloudformation_asks_but_for_what_is_withheld() -> None:
    withheld = {pattern for patterns in WITHHELD.values() for pattern in patterns}
    allowed = granted(*attached("Deployer"))

    lacking = {action for action in by_cloudformation() if not among(action, allowed)}

    assert sorted(action for action in lacking if not among(action, withheld)) == []
    idle = [pattern for pattern in withheld if not any(fnmatch.fnmatchcase(each, pattern) for each in lacking)]
    assert sorted(idle) == []


@pytest.mark.parametrize(
    ("role", "subject"), [("Planner", "ref:refs/heads/${Branch}"), ("Deployer", "environment:${Stage}")]
)
def test_a_role_is_taken_by_one_repository_and_for_one_thing(role: str, subject: str) -> None:
    (statement,) = RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": f"repo:${{Repository}}:{subject}"},
        }
    }


def test_whoever_plans_carries_nothing_out() -> None:
    assert attached("Planner") == ["Look"]
    writes = {action for action in granted("Look") if not action.split(":")[1].startswith(("Describe", "Get", "List"))}
    assert writes == {
        "apigateway:GET",
        "cloudformation:CreateChangeSet",
        "cloudformation:DeleteChangeSet",
        "s3:DeleteObject",  # the lock
        "s3:PutObject",  # the lock, and the definition that a change set names
    }


def test_no_role_may_change_the_roles_of_this_template_nor_its_boundary() -> None:
    """What may be changed lies at role/<app>-<stage>-*; these have a path."""
    for name in ("Planner", "Deployer", "Boundary"):
        assert RESOURCES[name]["Properties"]["Path"] == "/deploy/"
    for name in attached("Deployer"):
        for statement in RESOURCES[name]["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if any(action.startswith("iam:") for action in actions) and actions != ["iam:GetPolicy"]:
                resource = statement["Resource"]["Fn::Sub"].partition("${AWS::AccountId}:")[2]
                assert resource.startswith(("role/${App}-${Stage}-", "role/aws-service-role/")), statement["Sid"]


@pytest.mark.parametrize(
    ("action", "key", "value"),
    [
        ("iam:CreateRole", "iam:PermissionsBoundary", [{"Ref": "Boundary"}]),
        ("iam:PutRolePolicy", "iam:PermissionsBoundary", [{"Ref": "Boundary"}]),
        ("iam:PutRolePermissionsBoundary", "iam:PermissionsBoundary", [{"Ref": "Boundary"}]),
        ("iam:PassRole", "iam:PassedToService", ["lambda.amazonaws.com", "states.amazonaws.com"]),
    ],
)
def test_roles_are_made_within_the_boundary_and_passed_to_whom_they_are_for(
    action: str, key: str, value: list[Any]
) -> None:
    statements = [
        statement
        for name in attached("Deployer")
        for statement in RESOURCES[name]["Properties"]["PolicyDocument"]["Statement"]
        if action in statement["Action"]
    ]

    assert [statement["Condition"]["StringEquals"][key] for statement in statements] == value


def test_a_deploy_deletes_no_data() -> None:
    allowed = granted(*attached("Deployer"))

    for action in (
        "kms:DeleteAlias",
        "dynamodb:DeleteTable",
        "dynamodb:DeleteBackup",
        "kms:ScheduleKeyDeletion",
        "s3:DeleteObjectVersion",
        "secretsmanager:DeleteSecret",
    ):
        assert not among(action, allowed), action
    emptied = [
        statement["Resource"]["Fn::Sub"].rpartition(":::")[2]
        for name in attached("Deployer")
        for statement in RESOURCES[name]["Properties"]["PolicyDocument"]["Statement"]
        if {"s3:DeleteBucket", "s3:DeleteObject"} & set(statement["Action"])
    ]
    assert emptied == ["${App}-${Stage}-deploys-${AWS::AccountId}/lock/*", "${App}-${Stage}-pages-${AWS::AccountId}"]


def test_the_boundary_is_what_functions_and_workflow_may_do_together() -> None:
    workflow = template("resources")["Resources"]["WorkflowRole"]["Properties"]
    documents = [*policies().values(), *(each["PolicyDocument"] for each in workflow["Policies"])]
    used: set[str] = set()
    for document in documents:
        for statement in document["Statement"]:
            given = statement["Action"]
            used |= {given} if isinstance(given, str) else set(given)

    assert granted("Boundary") == used
    assert workflow["PermissionsBoundary"] == {"Fn::If": ["HasBoundary", {"Ref": "Boundary"}, {"Ref": "AWS::NoValue"}]}


def test_roles_of_functions_have_names_that_the_deployer_may_use() -> None:
    """IAM's names end at 64 characters."""
    for name in functions():
        assert len(f"slipway-{_LONGEST['${Stage}']}-{name}") <= 64


@pytest.mark.parametrize(
    "name", [name for name, each in RESOURCES.items() if each["Type"] == "AWS::IAM::ManagedPolicy"]
)
def test_a_policy_is_as_short_as_iam_takes(name: str) -> None:
    text = json.dumps(RESOURCES[name]["Properties"]["PolicyDocument"], separators=(",", ":"))
    for open_name, value in _LONGEST.items():
        text = text.replace(open_name, value)

    assert len(text.replace(" ", "")) < _LONGEST_POLICY

"""What the preflight finds in accounts that are not as a deploy needs them."""

# ruff: noqa: N803  the arguments are called as AWS calls them

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from infra.deploy import preflight, release
from infra.deploy.stages import Edge, Stage

STAGE = Stage("prod", "123456789012", "eu-central-1", edge=Edge(domain="panel.example.com", hosted_zone_id="Z1"))
WANTED = sum(each["reserved_concurrency"] for each in release.functions("prod").values())


class Lambda:
    """An account whose other functions reserve some, and ours what they were deployed with."""

    def __init__(self, limit: int, others: int, ours: dict[str, int]) -> None:
        self._limit, self._others, self._ours = limit, others, ours

    def get_account_settings(self) -> Any:
        free = self._limit - self._others - sum(self._ours.values())
        return {"AccountLimit": {"ConcurrentExecutions": self._limit, "UnreservedConcurrentExecutions": free}}

    def get_function_concurrency(self, FunctionName: str) -> Any:
        if FunctionName not in self._ours:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetFunctionConcurrency")
        return {"ReservedConcurrentExecutions": self._ours[FunctionName]}


def deployed() -> dict[str, int]:
    return {
        "slipway-prod" if name == "api_handler" else f"slipway-prod-{name}": each["reserved_concurrency"]
        for name, each in release.functions("prod").items()
    }


@pytest.mark.parametrize(
    ("limit", "others", "ours", "level"),
    [
        (WANTED + 100, 0, {}, "ok"),
        (WANTED + 99, 0, {}, "failure"),
        (WANTED + 100, 1, {}, "failure"),
        (1000, 1000 - WANTED - 99, {}, "failure"),
        (WANTED + 100, 0, deployed(), "ok"),
        (WANTED + 100, 0, {"slipway-prod": 5}, "ok"),
        (WANTED + 109, 10, deployed(), "failure"),
    ],
)
def test_the_reserve_must_fit_into_what_other_functions_leave(
    limit: int, others: int, ours: dict[str, int], level: str
) -> None:
    found = preflight._concurrency(STAGE, lambda service: Lambda(limit, others, ours))

    assert found.level == level, found
    assert str(limit - others) in found.message


@pytest.fixture
def certificates() -> Iterator[Callable[..., Any]]:
    """ACM in us-east-1 with these certificates, a page each."""
    client = boto3.client("acm", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    with Stubber(client) as stubber:

        def listed(*certificates: dict[str, Any]) -> Any:
            for number, each in enumerate(certificates, 1):
                more = {"NextToken": str(number)} if number < len(certificates) else {}
                stubber.add_response("list_certificates", {"CertificateSummaryList": [each], **more})

            def clients(service: str, region: str) -> Any:
                assert (service, region) == ("acm", "us-east-1")
                return client

            return clients

        yield listed


def certificate(status: str, domain: str = "panel.example.com", in_use: bool = False) -> dict[str, Any]:
    return {"DomainName": domain, "Status": status, "InUse": in_use}


@pytest.mark.parametrize(
    ("listed", "level", "said"),
    [
        ([certificate("ISSUED", "other.example.com")], "warning", "none for panel.example.com"),
        ([certificate("ISSUED")], "ok", "issued"),
        ([certificate("EXPIRED"), certificate("ISSUED")], "ok", "issued"),
        ([certificate("FAILED"), certificate("EXPIRED")], "warning", "none for panel.example.com"),
        ([certificate("EXPIRED"), certificate("PENDING_VALIDATION")], "failure", "is PENDING_VALIDATION:"),
        ([certificate("EXPIRED", in_use=True)], "failure", "is EXPIRED:"),
    ],
)
def test_certificates_that_came_to_nothing_do_not_mislead(
    certificates: Callable[..., Any], listed: list[dict[str, Any]], level: str, said: str
) -> None:
    found = preflight._certificate(STAGE, certificates(*listed))

    assert found.level == level, found
    assert said in found.message


class Sts:
    def get_caller_identity(self) -> Any:
        return {"Account": "210987654321", "Arn": "arn:aws:iam::210987654321:user/me"}


def test_with_another_accounts_credentials_nothing_else_is_asked() -> None:
    found = preflight.look(STAGE, {"sts": Sts()}.__getitem__)

    assert [each.level for each in found] == ["failure"]
    assert "for account 210987654321; prod belongs to 123456789012" in found[0].message


class Route53:
    def get_hosted_zone(self, Id: str) -> Any:
        return {"HostedZone": {"Name": "example.org."}}


def test_a_domain_of_another_zone_is_refused() -> None:
    found = preflight._edge(STAGE, {"route53": Route53()}.__getitem__)

    assert [str(each) for each in found] == ["failure  domain: panel.example.com is not in the hosted zone example.org"]

"""What deploys remember lies in the stage's own account, or nowhere."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.deploy.deposit import Deposit
from infra.deploy.errors import DeployError
from infra.deploy.stages import Stage

STAGE = Stage("prod", "123456789012", "eu-central-1")


class Owner:
    """Refuses, as S3 does, calls that expect another owner of the bucket; those that expect none are let through."""

    account = STAGE.account

    def look(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if params.get("ExpectedBucketOwner", self.account) != self.account:
            raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, model.name)


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def s3(owner: Owner) -> Iterator[Any]:
    with mock_aws():
        made = boto3.client("s3", region_name=STAGE.region, aws_access_key_id="test", aws_secret_access_key="test")
        made.create_bucket(Bucket=STAGE.deposit, CreateBucketConfiguration={"LocationConstraint": STAGE.region})
        made.meta.events.register("before-parameter-build.s3", owner.look)
        yield made


@pytest.fixture
def deposit(s3: Any) -> Deposit:
    return Deposit(s3, STAGE)


def test_a_bucket_of_our_own_remembers(deposit: Deposit) -> None:
    deposit.keep({"resources": []})

    assert deposit.exists()
    assert deposit.state() == {"resources": []}


def test_an_open_bucket_of_another_account_is_refused(deposit: Deposit, owner: Owner) -> None:
    owner.account = "210987654321"

    with pytest.raises(
        DeployError, match=f"{STAGE.deposit} is not ours to read: .* another account's than 123456789012"
    ):
        deposit.exists()


def test_nothing_is_read_from_nor_written_to_a_bucket_that_became_anothers(deposit: Deposit, owner: Owner) -> None:
    with deposit.locked("someone@here") as lock:
        owner.account = "210987654321"

        for call in (
            deposit.state,
            lambda: deposit.keep({}),
            lambda: deposit.put("workflow/x.json", b"{}"),
            lambda: deposit.locked("me@here"),
            lock.__exit__,
        ):
            with pytest.raises(ClientError, match="Forbidden"):
                call()
        owner.account = STAGE.account

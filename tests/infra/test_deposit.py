"""What deploys remember lies in the stage's own account, or nowhere."""

import json
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


def test_the_edges_key_is_made_once_and_anew_where_it_was_deleted(deposit: Deposit, s3: Any) -> None:
    assert deposit.edge_key() is None
    key = deposit.make_edge_key()

    assert deposit.edge_key() == key

    s3.delete_object(Bucket=STAGE.deposit, Key=f"edge/{STAGE.name}.key")
    assert deposit.edge_key() is None
    assert deposit.make_edge_key() != key


@pytest.mark.parametrize("text", [b"short", b"\xff\xfe", b"0" * 64 + b"\n", b""])
def test_a_key_that_no_deploy_wrote_is_not_taken_for_one(deposit: Deposit, s3: Any, text: bytes) -> None:
    s3.put_object(Bucket=STAGE.deposit, Key=f"edge/{STAGE.name}.key", Body=text)

    with pytest.raises(DeployError, match=f"edge/{STAGE.name}.key is not what a deploy wrote"):
        deposit.edge_key()


def test_a_pinned_object_stays_what_it_was_whatever_is_put_there_afterwards(deposit: Deposit, s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=STAGE.deposit, VersioningConfiguration={"Status": "Enabled"})
    first = deposit.pinned("workflow/x.json", b"ours")

    assert deposit.pinned("workflow/x.json", b"ours") == first  # nothing is put there twice
    s3.put_object(Bucket=STAGE.deposit, Key="workflow/x.json", Body=b"theirs")
    again = deposit.pinned("workflow/x.json", b"ours")

    assert again != first
    for version in (first, again):
        kept = s3.get_object(Bucket=STAGE.deposit, Key="workflow/x.json", VersionId=version)
        assert kept["Body"].read() == b"ours"


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


def test_a_bucket_in_another_region_is_another_stages(s3: Any) -> None:
    with pytest.raises(DeployError, match="is in eu-central-1: prod belongs there; its file says us-west-2"):
        Deposit(s3, Stage("prod", STAGE.account, "us-west-2")).exists()


def test_what_was_deployed_in_one_region_is_not_deployed_in_another(s3: Any, deposit: Deposit) -> None:
    deposit.keep({"resources": []})

    with pytest.raises(DeployError, match="region was eu-central-1 when this was deployed"):
        Deposit(s3, Stage("prod", STAGE.account, "us-west-2")).state()


@pytest.mark.parametrize("text", [b'{"resour', b"[]", b""])
def test_a_state_that_cannot_be_read_says_so(deposit: Deposit, text: bytes) -> None:
    deposit.put("deployed/prod.json", text)

    with pytest.raises(DeployError, match=r"s3://slipway-prod-deploys-123456789012/deployed/prod\.json"):
        deposit.state()


@pytest.mark.parametrize("text", [b"mine", b'{"who": "someone"}'])
def test_a_lock_that_cannot_be_read_names_the_cure(deposit: Deposit, text: bytes) -> None:
    deposit.put("lock/prod.json", text)

    with pytest.raises(DeployError, match=r"aws s3 rm s3://slipway-prod-deploys-123456789012/lock/prod\.json"):
        deposit.locked("me@here")


def test_a_held_lock_names_its_holder_and_the_cure(deposit: Deposit) -> None:
    with (
        deposit.locked("someone@there"),
        pytest.raises(DeployError, match=r"someone@there deploys since .* aws s3 rm s3://slipway-prod-deploys-"),
    ):
        deposit.locked("me@here")

    with deposit.locked("me@here") as lock:
        assert not lock.taken_over


def until(s3: Any) -> int:
    answer = s3.get_object(Bucket=STAGE.deposit, Key="lock/prod.json")
    return int(json.loads(answer["Body"].read())["until"])


def test_a_lock_that_is_renewed_cannot_be_taken_over(s3: Any, deposit: Deposit) -> None:
    with deposit.locked("someone@there", seconds=0) as lock:
        lock._seconds = 600
        before = until(s3)
        lock.renew()

        assert until(s3) >= before + 600
        with pytest.raises(DeployError, match="someone@there deploys since"):
            deposit.locked("me@here")


def test_a_wait_renews_only_in_time(s3: Any, deposit: Deposit) -> None:
    with deposit.locked("someone@there", seconds=600) as lock:
        etag = lock._etag
        lock.renew_in_time()
        assert lock._etag == etag

        lock._renewed -= 60
        lock.renew_in_time()
        assert lock._etag != etag


def test_a_lock_that_was_taken_over_is_not_renewed_and_not_given_back(s3: Any, deposit: Deposit) -> None:
    with deposit.locked("someone@there", seconds=0) as lost:
        taken = deposit.locked("me@here")
        with pytest.raises(DeployError, match="the lock is not ours any more"):
            lost.renew()

    taken.renew()
    assert "someone@there ended" in taken.taken_over


def test_a_lock_that_was_removed_is_not_renewed(s3: Any, deposit: Deposit) -> None:
    with deposit.locked("someone@there") as lock:
        s3.delete_object(Bucket=STAGE.deposit, Key="lock/prod.json")

        with pytest.raises(DeployError, match="the lock is not ours any more"):
            lock.renew()


def test_a_renewal_whose_answer_was_lost_and_that_was_repeated_counts(s3: Any, deposit: Deposit) -> None:
    with deposit.locked("someone@there") as lock:

        def lose(parsed: dict[str, Any], **_: Any) -> None:
            s3.meta.events.unregister("after-call.s3.PutObject", lose)
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": "repeated"}}, "PutObject")

        s3.meta.events.register("after-call.s3.PutObject", lose)
        lock.renew()

    with deposit.locked("me@here") as after:
        assert not after.taken_over

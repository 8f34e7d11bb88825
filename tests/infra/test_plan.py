"""What a plan refuses, and what it leaves behind when nobody takes it: nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.deploy import up
from infra.deploy.errors import DeployError
from infra.deploy.stack import Change
from infra.deploy.stages import Stage

STAGE = Stage("prod", "123456789012", "eu-central-1")
RESOURCES = "slipway-prod-resources"


class Stacks:
    """Whose every stack has a change."""

    def __init__(self, first: bool) -> None:
        self.first = first
        self.waiting: list[str] = []

    def change(self, name: str, template: Path, parameters: dict[str, str]) -> Change:
        self.waiting.append(name)
        return Change(name, "id", self.first, (), template, parameters)

    def forget(self, change: Change) -> None:
        self.waiting.remove(change.stack)

    def of(self, _client: Any) -> "Stacks":
        return self

    def outputs(self, _name: str) -> dict[str, str]:
        return {}


@pytest.fixture
def clients() -> Iterator[Any]:
    with mock_aws():

        def client(service: str, region: str = STAGE.region) -> Any:
            return boto3.client(service, region_name=region, aws_access_key_id="test", aws_secret_access_key="test")

        client("s3").create_bucket(Bucket=STAGE.deposit, CreateBucketConfiguration={"LocationConstraint": STAGE.region})
        client("s3").put_bucket_versioning(Bucket=STAGE.deposit, VersioningConfiguration={"Status": "Enabled"})
        yield client


def plan(clients: Any, stacks: Stacks, agreed: Callable[[], bool], stage: Stage = STAGE) -> None:
    deploy = up._Deploy(stage, up.Options(Path(), agreed, lambda _: None), clients)
    deploy._stacks = stacks  # type: ignore[assignment]
    with deploy._deposit.locked("someone@here") as lock:
        deploy._locked(lock)


def nobody() -> bool:
    raise DeployError("nobody is there to take the plan")


def interrupted() -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("answer", "error"), [(lambda: False, up.NotAgreed), (nobody, DeployError), (interrupted, KeyboardInterrupt)]
)
def test_a_plan_that_is_not_taken_leaves_no_change_set(
    clients: Any, answer: Callable[[], bool], error: type[BaseException]
) -> None:
    stacks = Stacks(first=True)

    with pytest.raises(error):
        plan(clients, stacks, answer)

    assert stacks.waiting == []


def test_a_table_that_was_deleted_under_its_stack_is_refused(clients: Any) -> None:
    stacks = Stacks(first=False)

    with pytest.raises(DeployError, match=f"there is no table slipway-prod in eu-central-1, and stack {RESOURCES}"):
        plan(clients, stacks, lambda: True)

    assert stacks.waiting == []


def test_a_mistyped_table_is_refused_by_a_first_deploy_too(clients: Any) -> None:
    stage = Stage("prod", STAGE.account, STAGE.region, settings={"SLIPWAY_TABLE": "slipway-prod-restord"})

    with pytest.raises(DeployError, match="there is no table slipway-prod-restord"):
        plan(clients, Stacks(first=True), lambda: True, stage)

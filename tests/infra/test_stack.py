"""Stacks as CloudFormation leaves them: what is planned, refused, taken back, and why."""

# ruff: noqa: N803  the arguments are called as CloudFormation calls them

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.deploy.errors import DeployError
from infra.deploy.stack import Change, Stacks

NAME = "slipway-prod-resources"
ADD = {"ResourceChange": {"Action": "Add", "LogicalResourceId": "Table", "ResourceType": "AWS::DynamoDB::Table"}}
REPLACE = {"ResourceChange": {**ADD["ResourceChange"], "Action": "Modify", "Replacement": "True"}}


def refused(message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "CloudFormation")


class CloudFormation:
    """One stack, under the rules that CloudFormation has for what may be done to it in which status."""

    def __init__(self, status: str = "") -> None:
        self.status = status  # empty: there is none
        self.changes: list[Any] = [ADD]
        self.refuses = ""  # a change set, with this reason
        self.ends: list[str] = []  # the statuses that the next execution goes through; none: all goes well
        self.events: list[dict[str, str]] = []  # newest first
        self.fails: list[dict[str, str]] = []  # events of the next execution
        self.change_sets: dict[str, str] = {}
        self.deleted = 0

    def describe_stacks(self, StackName: str) -> Any:
        if not self.status:
            raise refused(f"Stack with id {StackName} does not exist")
        status = self.status
        if self.ends:
            self.status = self.ends.pop(0)
        return {"Stacks": [{"StackStatus": status, "Outputs": [{"OutputKey": "Host", "OutputValue": "x"}]}]}

    def create_change_set(self, ChangeSetName: str, ChangeSetType: str, **_: Any) -> Any:
        fit = {"CREATE": {"", "REVIEW_IN_PROGRESS"}, "UPDATE": {"CREATE_COMPLETE", "UPDATE_COMPLETE"}}
        fit["UPDATE"] |= {"UPDATE_ROLLBACK_COMPLETE"}
        if self.status not in fit[ChangeSetType]:
            raise refused(f"Stack is in {self.status} state and can not be updated")
        self.status = self.status or "REVIEW_IN_PROGRESS"
        self.change_sets[ChangeSetName] = "FAILED" if self.refuses else "CREATE_COMPLETE"
        return {"Id": ChangeSetName}

    def describe_change_set(self, StackName: str, ChangeSetName: str) -> Any:
        return {"Status": self.change_sets[ChangeSetName], "StatusReason": self.refuses, "Changes": self.changes}

    def delete_change_set(self, StackName: str, ChangeSetName: str) -> None:
        del self.change_sets[ChangeSetName]

    def execute_change_set(self, StackName: str, ChangeSetName: str) -> None:
        self.change_sets.clear()
        first = self.status == "REVIEW_IN_PROGRESS"
        self.ends = self.ends or ["CREATE_COMPLETE" if first else "UPDATE_COMPLETE"]
        self.status = "CREATE_IN_PROGRESS" if first else "UPDATE_IN_PROGRESS"
        self.events = [*self.fails, event(NAME, self.status), *self.events]

    def delete_stack(self, StackName: str) -> None:
        self.deleted += 1
        self.status, self.ends = "DELETE_IN_PROGRESS", [""]
        self.events = []

    def get_paginator(self, operation: str) -> Any:
        assert operation == "describe_stack_events"
        return self

    def paginate(self, StackName: str) -> Iterator[Any]:
        for event in self.events:  # a page each
            yield {"StackEvents": [event]}


def event(resource: str, status: str, reason: str = "") -> dict[str, str]:
    return {"LogicalResourceId": resource, "ResourceStatus": status, "ResourceStatusReason": reason}


def stacks(client: CloudFormation, wait_seconds: float = 0.2) -> Stacks:
    return Stacks(client, wait_seconds)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "resources.yaml"
    path.write_text("Resources: {}")
    return path


def planned(client: CloudFormation, template: Path) -> Change:
    change = stacks(client).change(NAME, template, {"App": "slipway"})
    assert change is not None
    return change


def test_a_first_change_makes_the_stack(template: Path) -> None:
    client = CloudFormation()

    change = planned(client, template)
    stacks(client).carry_out(change)

    assert (change.first, change.lines) == (True, ("Add Table (AWS::DynamoDB::Table)",))
    assert client.status == "CREATE_COMPLETE"


def test_what_is_replaced_is_said(template: Path) -> None:
    client = CloudFormation("UPDATE_ROLLBACK_COMPLETE")
    client.changes = [REPLACE]

    change = planned(client, template)

    assert (change.first, change.lines) == (False, ("Modify Table (AWS::DynamoDB::Table) (REPLACED)",))


@pytest.mark.parametrize(
    "reason", ["The submitted information didn't contain changes.", "No updates are to be performed."]
)
def test_no_change_leaves_no_change_set(template: Path, reason: str) -> None:
    client = CloudFormation("CREATE_COMPLETE")
    client.refuses = reason

    assert stacks(client).change(NAME, template, {}) is None
    assert client.change_sets == {}


def test_a_refused_change_says_why_and_leaves_no_change_set(template: Path) -> None:
    client = CloudFormation("CREATE_COMPLETE")
    client.refuses = "Transform failed"

    with pytest.raises(DeployError, match=f"{NAME}: the change was refused: Transform failed"):
        stacks(client).change(NAME, template, {})

    assert client.change_sets == {}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("ROLLBACK_FAILED", "by hand"),
        ("UPDATE_ROLLBACK_FAILED", "by hand"),
        ("DELETE_FAILED", "by hand"),
        ("UPDATE_IN_PROGRESS", "somebody changes it now"),
        ("DELETE_IN_PROGRESS", "somebody changes it now"),
    ],
)
def test_a_stack_that_cannot_be_changed_now_is_left_alone(template: Path, status: str, said: str) -> None:
    client = CloudFormation(status)

    with pytest.raises(DeployError, match=f"{NAME} is {status}: .*{said}"):
        stacks(client).change(NAME, template, {})

    assert (client.change_sets, client.deleted) == ({}, 0)


def test_what_a_failed_first_deploy_left_is_planned_and_only_then_deleted(template: Path) -> None:
    client = CloudFormation("ROLLBACK_COMPLETE")

    change = planned(client, template)

    assert change.first
    assert change.lines[0].startswith("Delete what a first deploy that failed left")
    stacks(client).forget(change)
    assert (client.status, client.deleted) == ("ROLLBACK_COMPLETE", 0)

    stacks(client).carry_out(change)
    assert (client.status, client.deleted) == ("CREATE_COMPLETE", 1)


def test_only_this_operations_reasons_are_told(template: Path) -> None:
    client = CloudFormation("UPDATE_ROLLBACK_COMPLETE")
    client.events = [event(NAME, "UPDATE_ROLLBACK_COMPLETE"), event("Queue", "UPDATE_FAILED", "long ago")]
    client.fails = [event(NAME, "UPDATE_ROLLBACK_COMPLETE"), event("Table", "UPDATE_FAILED", "no such key")]
    client.ends = []
    change = planned(client, template)
    client.ends = ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]

    with pytest.raises(DeployError, match="ended as UPDATE_ROLLBACK_COMPLETE") as failed:
        stacks(client, 2).carry_out(change)

    assert "Table: no such key" in str(failed.value)
    assert "long ago" not in str(failed.value)


def test_a_stack_that_takes_too_long_goes_on_by_itself(template: Path) -> None:
    client = CloudFormation()
    change = planned(client, template)
    client.ends = ["CREATE_IN_PROGRESS"] * 1000

    with pytest.raises(DeployError, match=r"not done with stack .*CREATE_IN_PROGRESS.* goes on by itself"):
        stacks(client).carry_out(change)


def test_each_wait_may_stop_the_deploy(template: Path) -> None:
    client = CloudFormation()
    change = planned(client, template)
    client.ends = ["CREATE_IN_PROGRESS"] * 1000

    def lost() -> None:
        raise DeployError("the lock is not ours any more")

    with pytest.raises(DeployError, match="not ours any more"):
        Stacks(client, 60, lost).carry_out(change)


def test_a_change_that_was_only_looked_at_is_taken_back(template: Path) -> None:
    client = CloudFormation("CREATE_COMPLETE")
    change = planned(client, template)

    stacks(client).forget(change)

    assert client.change_sets == {}
    assert stacks(client).exists(NAME)


def test_a_stack_that_is_not_there_has_no_outputs() -> None:
    assert stacks(CloudFormation()).outputs(NAME) == {}
    assert stacks(CloudFormation("CREATE_COMPLETE")).outputs(NAME) == {"Host": "x"}
    assert not stacks(CloudFormation("ROLLBACK_COMPLETE")).exists(NAME)

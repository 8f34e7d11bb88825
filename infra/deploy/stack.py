"""CloudFormation stacks: what a template would change, shown before it is done, and then done."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.deploy.errors import DeployError

_POLL_S = 2.0
_BEGUN = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}
_NOTHING = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class Change:
    """A change set that waits to be carried out; `lines` tell it to people.

    Without an `id` nothing waits yet: what a failed first deploy left must be deleted before CloudFormation takes any.
    """

    stack: str
    id: str
    first: bool
    lines: tuple[str, ...]
    template: Path
    parameters: Mapping[str, str | None]


class Stacks:
    def __init__(
        self, cloudformation: Any, wait_seconds: float = 1800, while_waiting: Callable[[], None] = lambda: None
    ) -> None:
        self._client = cloudformation
        self._wait = wait_seconds
        self._while_waiting = while_waiting

    def of(self, cloudformation: Any) -> "Stacks":
        """The same in another region."""
        return Stacks(cloudformation, self._wait, self._while_waiting)

    def change(self, name: str, template: Path, parameters: Mapping[str, str | None]) -> Change | None:
        """What this template changes; None for nothing. A parameter that is None stays as it is.

        Raise `DeployError` where the stack cannot be changed now.
        """
        status = self._status(name)
        if status == "ROLLBACK_COMPLETE":
            anew = ("Delete what a first deploy that failed left: an empty stack", f"Add all of {template.name}")
            return Change(name, "", True, anew, template, parameters)
        first = status == "REVIEW_IN_PROGRESS"
        asked = self._client.create_change_set(
            StackName=name,
            ChangeSetName=f"deploy-{int(time.time() * 1000)}",
            ChangeSetType="CREATE" if first else "UPDATE",
            TemplateBody=template.read_text(),
            Parameters=[_parameter(key, value) for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        change = {"StackName": name, "ChangeSetName": asked["Id"]}  # the stack too: it is what IAM asks about
        made = self._change_set(change)
        if made["Status"] == "FAILED":
            reason = made.get("StatusReason", "")
            self._client.delete_change_set(**change)
            if any(words in reason for words in _NOTHING):
                return None
            raise DeployError(f"stack {name}: the change was refused: {reason}")
        lines = [_line(each["ResourceChange"]) for each in made["Changes"]]
        if not lines and not first:
            self._client.delete_change_set(**change)
            return None
        return Change(name, asked["Id"], first, tuple(lines), template, parameters)

    def forget(self, change: Change) -> None:
        """Take back a change that was only looked at.

        Of a first one an empty stack stays (REVIEW_IN_PROGRESS), which the next takes: to delete stacks is more than
        whoever plans may do.
        """
        if change.id:
            self._client.delete_change_set(StackName=change.stack, ChangeSetName=change.id)

    def carry_out(self, change: Change) -> None:
        """Raise `DeployError` with each resource's own reason where CloudFormation took it back."""
        if not change.id:
            self._client.delete_stack(StackName=change.stack)
            self._gone(change.stack)
            anew = self.change(change.stack, change.template, change.parameters)
            if anew is None or not anew.id:
                raise DeployError(
                    f"stack {change.stack} could not be made anew: look at it in CloudFormation's console"
                )
            change = anew
        self._client.execute_change_set(StackName=change.stack, ChangeSetName=change.id)
        status = self._settled(change.stack)
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            reasons = "\n".join(self._reasons(change.stack)) or "no reason was given"
            raise DeployError(
                f"stack {change.stack} ended as {status}; CloudFormation took the change back:\n{reasons}"
            )

    def outputs(self, name: str) -> dict[str, str]:
        """Nothing for a stack that does not exist."""
        stack = self._stack(name)
        return {each["OutputKey"]: each["OutputValue"] for each in (stack or {}).get("Outputs", [])}

    def parameters(self, name: str) -> set[str]:
        """The names of what it was given; nothing for a stack that does not exist."""
        stack = self._stack(name) if self.exists(name) else None
        return {each["ParameterKey"] for each in (stack or {}).get("Parameters", [])}

    def exists(self, name: str) -> bool:
        stack = self._stack(name)
        return stack is not None and stack["StackStatus"] not in {"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"}

    def _status(self, name: str) -> str:
        """REVIEW_IN_PROGRESS for a stack that is not there. Raise `DeployError` where it cannot be changed now."""
        stack = self._stack(name)
        status = str(stack["StackStatus"]) if stack else "REVIEW_IN_PROGRESS"
        if status.endswith("_FAILED"):
            raise DeployError(
                f"stack {name} is {status}: CloudFormation's console says what to put right by hand first"
            )
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise DeployError(f"stack {name} is {status}: somebody changes it now; try again when that is over")
        return status

    def _stack(self, name: str) -> Any:
        try:
            return self._client.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return None
            raise

    def _change_set(self, change: dict[str, str]) -> Any:
        deadline = time.monotonic() + self._wait
        while True:
            made = self._client.describe_change_set(**change)
            if made["Status"] in {"CREATE_COMPLETE", "FAILED"}:
                return made
            self._pause(deadline, "the change set")

    def _settled(self, name: str) -> str:
        deadline = time.monotonic() + self._wait
        while True:
            stack = self._stack(name)
            status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
            if not status.endswith("_IN_PROGRESS"):
                return str(status)
            self._pause(deadline, f"stack {name} ({status})")

    def _gone(self, name: str) -> None:
        deadline = time.monotonic() + self._wait
        while self._stack(name) is not None:
            self._pause(deadline, f"the end of stack {name}")

    def _pause(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise DeployError(f"CloudFormation is not done with {what} after {self._wait:g} s; it goes on by itself")
        self._while_waiting()
        time.sleep(min(_POLL_S, self._wait / 10))

    def _reasons(self, name: str) -> list[str]:
        """Of the last operation, which began with the stack itself; CloudFormation tells the newest first."""
        reasons: list[str] = []
        for page in self._client.get_paginator("describe_stack_events").paginate(StackName=name):
            for event in page["StackEvents"]:
                if event["LogicalResourceId"] == name and event["ResourceStatus"] in _BEGUN:
                    return reasons
                if event["ResourceStatus"].endswith("_FAILED"):
                    reasons.append(f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}")
        return reasons


def _parameter(key: str, value: str | None) -> dict[str, Any]:
    given = {"UsePreviousValue": True} if value is None else {"ParameterValue": value}
    return {"ParameterKey": key, **given}


def _line(change: Any) -> str:
    replaced = " (REPLACED)" if change.get("Replacement") == "True" else ""
    return f"{change['Action']} {change['LogicalResourceId']} ({change['ResourceType']}){replaced}"

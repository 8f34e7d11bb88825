"""Starting the deploy workflow. A job's id is its execution's name, so starting twice starts once."""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.job import Job


class Workflow:
    def __init__(self, states: Any, machine_arn: str) -> None:
        self._states = states
        self._machine_arn = machine_arn

    def start(self, job: Job) -> None:
        """Raise `Unavailable` if Step Functions did not take it."""
        # The same id and input always: AWS compares the text, and answers a repeat with the running execution.
        begun = {"job_id": job.id, "kind": job.kind, "repairs": job.repairs, "last": {"ended_at": "", "outcome": ""}}
        text = json.dumps(begun)
        try:
            self._states.start_execution(stateMachineArn=self._machine_arn, name=job.id, input=text)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise Unavailable(f"Step Functions refused the job: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise Unavailable("Step Functions did not answer") from error

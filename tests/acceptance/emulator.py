"""`python -m tests.acceptance.emulator FILE`: the emulator, with two things as they are in AWS.

* Who asked for which action is noted in FILE, each once. Its own trail keeps only so many calls.
* A function that raises is answered with the name of what it raised, as Lambda does; the emulator says
  `Runtime.HandlerError` of all of them, and the workflow's Retry and Catch go by names.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from ministack import app
from ministack.services import cloudtrail, lambda_svc

# A transaction needs the right to do each of its parts.
_PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
# The first line of a traceback that is not indented: what was raised.
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+([\w.]+)", re.MULTILINE)


def main() -> None:
    file = Path(sys.argv.pop())  # the emulator reads the rest
    noted: set[tuple[str, str]] = set()

    def note(*, service: str, event_name: str, access_key_id: str, request_params: Any, **_: Any) -> None:
        names = [event_name]
        if event_name == "TransactWriteItems":
            names = [_PARTS[verb] for item in request_params["TransactItems"] for verb in item]
        for name in names:
            seen = (access_key_id, f"{service}:{name}")
            if seen not in noted:
                noted.add(seen)
                with file.open("a") as kept:
                    kept.write(json.dumps(seen) + "\n")

    cloudtrail.record_event = note
    _name_what_was_raised()
    app.main()


def _name_what_was_raised() -> None:
    plain = lambda_svc._execute_function_with_config_scope

    def execute(*arguments: Any, **more: Any) -> Any:
        result = plain(*arguments, **more)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            raised = _RAISED.findall(result.get("log", ""))
            if raised:
                body["errorType"] = raised[-1].rpartition(".")[2]
        return result

    lambda_svc._execute_function_with_config_scope = execute


if __name__ == "__main__":
    main()

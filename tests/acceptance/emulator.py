"""`python -m tests.acceptance.emulator FILE`: the emulator, with two things as they are in AWS.

* Who asked for which action is noted in FILE where IAM decides it, each once; what is refused is noted as well.
* A function that raises is answered with the name of what it raised, as Lambda does; the emulator says
  `Runtime.HandlerError` of all of them, and the workflow's Retry and Catch go by names.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_evaluator
from ministack.services import lambda_svc

# The first line of a traceback that is not indented: what was raised.
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+([\w.]+)", re.MULTILINE)


def main() -> None:
    _note_what_is_asked(Path(sys.argv.pop()))  # the emulator reads the rest
    _name_what_was_raised()
    app.main()


def _note_what_is_asked(file: Path) -> None:
    plain = iam_evaluator.enforce
    noted: set[tuple[str, str]] = set()

    def enforce(access_key_id: str, iam_action: str, *arguments: Any, **more: Any) -> Any:
        seen = (access_key_id, iam_action)
        if seen not in noted:
            noted.add(seen)
            with file.open("a") as kept:
                kept.write(json.dumps(seen) + "\n")
        return plain(access_key_id, iam_action, *arguments, **more)

    iam_evaluator.enforce = enforce


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

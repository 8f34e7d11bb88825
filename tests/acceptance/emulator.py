"""`python -m tests.acceptance.emulator FILE`: the emulator, noting in FILE who asked for which action, each once.

Its own trail keeps only so many calls, and finds them one page after the other.
"""

import json
import sys
from pathlib import Path
from typing import Any

from ministack import app
from ministack.services import cloudtrail

# A transaction needs the right to do each of its parts.
_PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def main() -> None:
    file = Path(sys.argv[1])
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
    app.main()


if __name__ == "__main__":
    main()

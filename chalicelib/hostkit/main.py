"""The kit's one door: a verb's name, one JSON object on stdin, one JSON object on stdout.

Exit 0 is an answer. Exit 3 is a refusal the kit understands: `{"error", "message", "details"}`, where `error` names a
class of `chalicelib.domain.errors`. Any other exit is a bug, and its traceback is on stderr. Verbs are imported only
when they are asked for, because a deploy asks for five and pays for each import.

`wait` is a kit started ahead of what it will be asked, its imports behind it: the verb's name comes on the first line
of stdin. It answers that one request as any other would; exit 75 says that nobody asked, so nothing was done.
"""

from __future__ import annotations

import json
import os
import select
import sys
from importlib import import_module
from typing import Any

from .refusals import Refused

VERBS = {
    "check": ("check", "check"),
    "edge": ("edge", "edge"),
    "preflight": ("preflight", "preflight"),
    "upload": ("upload", "upload"),
    "start": ("jobs", "start"),
    "job": ("jobs", "job"),
    "cancel": ("jobs", "cancel"),
    "observe": ("observe", "observe"),
    "lifecycle": ("lifecycle", "lifecycle"),
    "logs": ("logs", "logs"),
    "route": ("routes", "route"),
    "unroute": ("routes", "unroute"),
    "remove": ("remove", "remove"),
    "agent": ("agent_service", "agent"),
    "inventory": ("inventory", "inventory"),
}
WAIT_S = 15.0
NEVER_ASKED = 75
EXPECTED = ("upload", "jobs", "runner", "observe", "routes")  # the modules of a deploy's verbs


def main() -> None:
    os.umask(0o077)
    module, function = VERBS[_told() if sys.argv[1] == "wait" else sys.argv[1]]
    request = json.loads(sys.stdin.buffer.read() or b"{}")
    verb = getattr(import_module("." + module, __package__), function)
    try:
        answer = verb(request)
    except Refused as refusal:
        _print(refusal.as_json())
        sys.exit(3)
    _print(answer)


def _told() -> str:
    for module in EXPECTED:
        import_module("." + module, __package__)
    asked, _, _ = select.select([sys.stdin], [], [], WAIT_S)
    name = sys.stdin.buffer.readline().decode().strip() if asked else ""
    return name or sys.exit(NEVER_ASKED)


def _print(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, separators=(",", ":")))
    sys.stdout.flush()

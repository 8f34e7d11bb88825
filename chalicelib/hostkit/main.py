"""The kit's one door: a verb's name, one JSON object on stdin, one JSON object on stdout.

Exit 0 is an answer. Exit 3 is a refusal the kit understands: `{"error", "message", "details"}`, where `error` names a
class of `chalicelib.domain.errors`. Any other exit is a bug, and its traceback is on stderr. Verbs are imported only
when they are asked for, because a deploy asks for five and pays for each import.
"""

from __future__ import annotations

import json
import os
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
    "inventory": ("inventory", "inventory"),
}


def main() -> None:
    os.umask(0o077)
    module, function = VERBS[sys.argv[1]]
    request = json.loads(sys.stdin.buffer.read() or b"{}")
    verb = getattr(import_module("." + module, __package__), function)
    try:
        answer = verb(request)
    except Refused as refusal:
        _print(refusal.as_json())
        sys.exit(3)
    _print(answer)


def _print(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, separators=(",", ":")))
    sys.stdout.flush()

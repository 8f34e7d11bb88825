"""The kit's one door: a verb's name, one JSON object on stdin, one JSON object on stdout.

Exit 0 is an answer. Exit 3 is a refusal the kit understands: `{"error", "message", "details"}`, where `error` names a
class of `chalicelib.domain.errors`. Any other exit is a bug, and its traceback is on stderr. Verbs are imported only
when they are asked for. `serve` is no verb but a process that carries out many.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

from .refusals import Refused
from .serve import serve

VERBS = {
    "check": ("check", "check"),
    "edge": ("edge", "edge"),
    "leave": ("leave", "leave"),
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
    "tree": ("tree", "tree"),
    "listening": ("listening", "listening"),
    "forget_images": ("built", "forget_images"),
    "authorize": ("authorized_keys", "authorize"),
    "authorized": ("authorized_keys", "authorized"),
}
REFUSED = 3


def main() -> None:
    os.umask(0o077)
    if sys.argv[1] == "serve":
        serve(carry_out)
    else:
        sys.exit(carry_out(sys.argv[1], sys.stdin.buffer.read()))


def carry_out(name: str, request: bytes) -> int:
    """Answer one verb on stdout; its exit code."""
    module, function = VERBS[name]
    verb = getattr(import_module("." + module, __package__), function)
    try:
        answer = verb(json.loads(request or b"{}"))
    except Refused as refusal:
        _print(refusal.as_json())
        return REFUSED
    _print(answer)
    return 0


def _print(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, separators=(",", ":")))
    sys.stdout.flush()

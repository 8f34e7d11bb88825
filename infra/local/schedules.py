"""EventBridge's part for one machine: scheduled functions are invoked at their rate.

A thread each, asleep until it is due. An invocation that overruns its rate delays its own next one and nobody else's.
"""

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from chalice.app import Chalice, ScheduleExpression

from infra.local.lambdas import Functions, schedules_of
from infra.local.wire import ACCOUNT, REGION

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)", re.IGNORECASE)
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


class UnknownSchedule(Exception):
    """An expression other than `rate(…)`."""


@dataclass(frozen=True)
class Schedule:
    function: str
    every_seconds: float


def of_app(app: Chalice) -> list[Schedule]:
    return [Schedule(source.name, _seconds(source.schedule_expression)) for source in schedules_of(app)]


class Clockwork:
    """Runs until closed; the first invocation comes one period after the start, as in AWS."""

    def __init__(self, schedules: list[Schedule], functions: Functions) -> None:
        self._functions = functions
        self._closing = threading.Event()
        for schedule in schedules:
            threading.Thread(target=self._repeat, args=(schedule,), daemon=True, name=schedule.function).start()

    def close(self) -> None:
        self._closing.set()

    def _repeat(self, schedule: Schedule) -> None:
        due = time.monotonic() + schedule.every_seconds
        while not self._closing.wait(max(0, due - time.monotonic())):
            self._functions.invoke(schedule.function, event(schedule.function))  # which logs its failures
            due = max(due + schedule.every_seconds, time.monotonic())


def _seconds(expression: str | ScheduleExpression) -> float:
    text = expression if isinstance(expression, str) else expression.to_string()
    matched = _RATE.fullmatch(text)
    if not matched:
        raise UnknownSchedule(f"the local schedules know rate(…) only, not {text}")
    return int(matched[1]) * _SECONDS[matched[2].lower()]


def event(function: str) -> bytes:
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{function}"],
        "detail": {},
    }
    return json.dumps(event).encode()

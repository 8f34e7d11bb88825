"""What the control plane is told unasked: what containers use, what becomes of them, and how those that ended did.

Three threads gather, the lane `telemetry` sends. Its requests are also how the agent hears who follows what, so one is
sent every few seconds even when there is nothing to tell, and at once when the control plane rings.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Any

from .. import clock, engine
from ..observe import observe
from ..refusals import Refused
from . import containers, entries
from .followers import Followers
from .tails import Tails

KINDS = ("start", "die", "oom", "health_status", "kill", "destroy")
TOLD = ("start", "die", "oom", "health_status")
MOST_EVENTS = 2000
EVENTS_AT_ONCE = 500
TAILS_AT_ONCE = 3
PAUSE_S = 1.0
CPU_WINDOW_MS = 200
STORAGE_S = 300.0  # walking volumes is the dear part of measuring


class Telemetry:
    def __init__(self, followers: Followers, events_since: int) -> None:
        self.stats_s = 15.0
        self.events_since = events_since or time.time_ns()
        self._followers = followers
        self._turn = followers.turn
        self._stats: dict[str, Any] | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._tails = Tails(self._turn)
        self._wanted = True  # a request, whether or not there is something to tell
        self._sent = time.monotonic()
        self._heard = self.events_since

    def start(self) -> None:
        for work in (self._measure, self._listen, self._look):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def ring(self) -> None:
        """Something changed over there: ask."""
        with self._turn:
            self._wanted = True
            self._turn.notify_all()

    def pack(self) -> dict[str, Any]:
        """Wait for something to tell, or for the time to ask."""
        with self._turn:
            while not (self._wanted or self._stats or self._events or self._tails.ready):
                left = self._sent + self.stats_s - time.monotonic()
                if left <= 0:
                    break
                self._turn.wait(left)
            self._wanted, self._sent = False, time.monotonic()
            told: dict[str, Any] = {}
            if self._stats:
                told["stats"], self._stats = self._stats, None
            if self._events:
                told["events"] = [self._events.popleft() for _ in range(min(EVENTS_AT_ONCE, len(self._events)))]
            if self._tails.ready:
                tails = self._tails.ready
                told["tails"] = [tails.popleft() for _ in range(min(TAILS_AT_ONCE, len(tails)))]
            return told

    def settle(self, told: dict[str, Any]) -> None:
        for event in told.get("events") or []:
            self.events_since = max(self.events_since, clock.nanoseconds(event["at"]))

    def _measure(self) -> None:
        storage = -STORAGE_S
        while True:
            began = time.monotonic()
            walk = began - storage >= STORAGE_S
            try:
                seen = observe({"services": containers.services(), "window_ms": CPU_WINDOW_MS, "storage": walk})
            except (Refused, OSError):  # the engine is away; the control plane sees that nothing comes
                time.sleep(self.stats_s)
                continue
            storage = began if walk else storage
            with self._turn:
                self._stats = seen
                self._turn.notify_all()
            time.sleep(max(1.0, began + self.stats_s - time.monotonic()))

    def _listen(self) -> None:
        while True:
            try:
                self._follow_events()
            except (Refused, OSError, ValueError):
                time.sleep(PAUSE_S)
            with self._turn:  # whatever was missed: look at everything
                self._followers.unseen |= self._followers.streams.keys()
                self._turn.notify_all()

    def _follow_events(self) -> None:
        seconds = "{}.{:09d}".format(*divmod(self._heard + 1, 10**9))
        filters = {"type": ["container"], "event": list(KINDS), "label": ["slipway.service"]}
        with engine.Stream("GET", f"/v{engine.api()}/events", None, {"since": seconds, "filters": filters}) as stream:
            with self._turn:
                self._followers.unseen |= self._followers.streams.keys()
                self._turn.notify_all()
            for line in stream.without_end().lines():
                event = json.loads(line)
                self._heard = max(self._heard, int(event["timeNano"]))
                self._happened(event)

    def _happened(self, event: dict[str, Any]) -> None:
        kind, _, detail = event["Action"].partition(": ")
        container, labels, moment = event["Actor"]["ID"], event["Actor"]["Attributes"], int(event["timeNano"])
        service = labels["slipway.service"]
        if kind == "kill":
            self._tails.ending(service, container)
        code = int(labels["exitCode"]) if labels.get("exitCode", "").isdigit() else None
        if kind == "die":
            self._tails.ended(service, container, moment, code)
        with self._turn:
            if kind in TOLD:
                self._events.append(
                    {
                        "service_id": service,
                        "container": containers.told_name(labels),
                        "type": kind,
                        "at": entries.moment(moment),
                        "exit_code": code,
                        "health": detail or None,
                        "id": f"{container[: containers.DIGITS]}{moment}{kind}",
                    }
                )
            if service in self._followers.streams and kind in ("start", "destroy"):
                self._followers.unseen.add(service)
            self._turn.notify_all()

    def _look(self) -> None:
        """Have the shared streams find containers that are new to them."""
        while True:
            with self._turn:
                while not self._followers.unseen:
                    self._turn.wait()
                service = self._followers.unseen.pop()
                stream = self._followers.streams.get(service)
            try:
                if stream is not None:
                    stream.look()
            except (Refused, OSError):
                time.sleep(PAUSE_S)
                with self._turn:
                    self._followers.unseen.add(service)

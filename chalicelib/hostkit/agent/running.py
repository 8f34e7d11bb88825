"""The agent at work: its lanes, its ears, and what it does with the answers."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from .backlog import Backlogs
from .bell import Bell
from .followers import Followers
from .lanes import LONGEST_REVOKED_S, OK, REVOKED_PAUSE_S, UNAUTHORIZED, Lane, Pauses
from .packing import Batch
from .post import Config, Connection, Unanswered
from .state import State
from .telemetry import Telemetry
from .turn import Turn
from .upgrade import Upgrade, become

STATE = "/api/agent/state"
LIVE, CATCHUP, TELEMETRY = "live", "catchup", "telemetry"

_log = logging.getLogger("agent")


class Agent:
    """`folder` holds config.json and the state; `program` is the agent's own file, if it is to replace itself."""

    def __init__(self, folder: str, version: str, program: str = "") -> None:
        self._folder, self._version, self._program = folder, version, program
        self._config = read_config(folder)
        self._turn = Turn()
        self._state = State(folder)
        self._followers = Followers(self._turn, self._state.places)
        self._telemetry = Telemetry(self._followers, self._state.events_since)
        self._upgrade = Upgrade(program, version)
        self._package: dict[str, Any] | None = None
        self._pace_s = 0.05
        self._began = 0.0
        self._lanes = [
            self._lane(LIVE, self._pack_live),
            self._lane(CATCHUP, self._pack_backlogs),
            self._lane(TELEMETRY, lambda: ([], self._telemetry.pack())),
        ]

    def run(self) -> None:
        """Until the process ends, or is another version's."""
        _log.info("version %s, boot %s, for %s", self._version, self._state.boot, self._config.url)
        self._compare()
        for lane in self._lanes:
            lane.resend()
        self._telemetry.start()
        Backlogs(self._followers).start()
        for lane in self._lanes:
            lane.start()
        Bell(lambda: read_config(self._folder), self._telemetry.ring).start()
        self._wait_for_upgrade()

    def _lane(self, name: str, pack: Any) -> Lane:
        return Lane(name, self._state, self._connect, pack, self._settle, self._described)

    def _connect(self) -> Connection:
        self._config = read_config(self._folder)
        return Connection(self._config)

    def _described(self) -> tuple[dict[str, str], int]:
        return {"version": self._version, "boot": self._state.boot}, self._followers.version

    def _compare(self) -> None:
        """Whether our state is as new as what the control plane remembers of us."""
        for name, lane in self._remembered().items():
            known = self._state.acknowledged.get(name, 0) + (1 if self._state.left_over(name) else 0)
            if lane and lane.get("boot") == self._state.boot and lane["sequence"] > known:
                _log.warning("the state is older than what the control plane has of lane %s; beginning anew", name)
                self._state.begin_anew()
                break

    def _remembered(self) -> dict[str, Any]:
        """What the control plane remembers of our lanes, however long it takes to hear it."""
        pauses, revoked = Pauses(), Pauses(REVOKED_PAUSE_S, LONGEST_REVOKED_S)
        while True:
            connection, pause = self._connect(), pauses  # `check` may have put another token there
            try:
                answer = connection.get(STATE)
                lanes: dict[str, Any] | None = answer.json().get("lanes") if answer.status == OK else None
                if lanes is not None:
                    return lanes
                _log.info("state: %d %r", answer.status, answer.body[:200])
                if answer.status == UNAUTHORIZED:
                    pause = revoked
            except Unanswered as trouble:
                _log.info("no answer: %s", trouble)
            finally:
                connection.close()
            time.sleep(pause.next())

    def _pack_live(self) -> tuple[list[Any], dict[str, Any]]:
        pause = self._began + self._pace_s - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        with self._turn:
            while not (sections := self._followers.pack_live()):
                self._turn.lines.wait(self._followers.next_look())
        self._began = time.monotonic()
        return sections, {}

    def _pack_backlogs(self) -> tuple[list[Any], dict[str, Any]]:
        with self._turn:
            while not (sections := self._followers.pack_backlogs()):
                self._turn.wait()
        return sections, {}

    def _settle(self, batch: Batch, answer: dict[str, Any], left_over: bool) -> None:
        behind = {int(number): int(count) for number, count in answer.get("behind") or []}
        with self._turn:
            if left_over:
                self._followers.settle_left_over(batch.sections, behind)
            elif batch.lane == LIVE:
                self._followers.settle_live(batch.sections, behind)
            elif batch.lane == CATCHUP:
                self._followers.settle_backlogs(batch.sections, behind)
            self._telemetry.settle(batch.more)
            self._state.acknowledged[batch.lane] = batch.sequence
            if not left_over:
                self._take(answer)
        self._state.save(self._kept)

    def _kept(self) -> dict[str, Any]:
        """What is true now, all of one moment."""
        with self._turn:
            return {
                "boot": self._state.boot,
                "acknowledged": dict(self._state.acknowledged),
                "places": self._followers.places(),
                "events_since": self._telemetry.events_since,
            }

    def _take(self, answer: dict[str, Any]) -> None:
        followers, version = self._followers, answer.get("followers_version", 0)
        # The lanes' answers may arrive in another order than they were made in.
        if "followers" in answer and (version > followers.version or version < answer["asked_with"]):
            followers.version = version
            followers.set(answer["followers"])
        for number in answer.get("gone") or []:
            followers.forget(int(number))
        followers.over(answer.get("jobs_over") or [])
        followers.sign_of_life_s = float(answer.get("sign_of_life_seconds", followers.sign_of_life_s))
        self._telemetry.stats_s = float(answer.get("stats_seconds", self._telemetry.stats_s))
        self._pace_s = float(answer.get("pace_ms", self._pace_s * 1000)) / 1000
        if self._upgrade.wanted(answer.get("package")):
            self._package = answer["package"]
            self._turn.notify_all()

    def _wait_for_upgrade(self) -> None:
        while True:
            with self._turn:
                while self._package is None:
                    self._turn.wait()
                package, self._package = self._package, None
            connection = self._connect()
            if self._upgrade.fetch(connection, package):
                _log.info("going on as version %s", package["version"])
                become(self._program)
            connection.close()


def read_config(folder: str) -> Config:
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        told = json.load(file)
    return Config(told["url"].rstrip("/"), told["websocket_url"], told["token"], told["host_id"])

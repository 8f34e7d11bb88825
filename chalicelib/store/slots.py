"""Turns on a host: so many jobs work on it at a time, the others wait in the order they came.

One item a host, changed by compare and swap, but for those who come. A job that ended without giving its turn back (its
function was killed) is noticed by the next that looks, so a turn is never lost for good.
"""

import random
import time
from collections.abc import Callable
from typing import Any

from chalicelib.domain.errors import Unavailable
from chalicelib.store.table import Key, Lost, Table, put, update

_ATTEMPTS = 40
_LONGEST_PAUSE = 0.1


class Slots:
    def __init__(self, table: Table, at_once: int) -> None:
        self._table = table
        self._at_once = at_once

    def line_up(self, host_id: str, job_id: str) -> int:
        """What `take` says, for a job that comes: a free turn, or the last place in line. In a single write each, so
        that many that come at once are not in each other's way."""
        turn_is_free = "size(waiting) = :none AND size(working) < :most"
        try:
            self._append("working", host_id, job_id, turn_is_free, none=0, most=self._at_once)
        except Lost:
            pass
        else:
            return 0
        try:
            return self._append("waiting", host_id, job_id, "attribute_exists(pk)").index(job_id) + 1
        except Lost:  # it asked before, or is the first that ever came to this host
            return self.take(host_id, job_id, None)

    def take(self, host_id: str, job_id: str, is_over: Callable[[str], bool] | None) -> int:
        """0 if the job may work now; else how many are before it. Asking again keeps its place.

        `is_over` tells of a job in the way whether it has ended; without it, all are believed to live.
        """

        def turn(working: list[str], waiting: list[str]) -> tuple[list[str], list[str]]:
            if job_id in working:
                return working, waiting
            if job_id not in waiting:
                waiting = [*waiting, job_id]
            if len(working) >= self._at_once and is_over:
                # Each looks after the first in line, and that one after those at work: the line may be long.
                while waiting[0] != job_id and is_over(waiting[0]):
                    waiting = waiting[1:]
                if waiting[0] == job_id:
                    working = [job for job in working if not is_over(job)]
            while waiting and len(working) < self._at_once:
                working, waiting = [*working, waiting[0]], waiting[1:]
            return working, waiting

        working, waiting = self._change(host_id, turn)
        return 0 if job_id in working else waiting.index(job_id) + 1

    def give_back(self, host_id: str, job_id: str) -> None:
        """The job works no longer, or does not want to any more; the next in line may."""

        def gone(working: list[str], waiting: list[str]) -> tuple[list[str], list[str]]:
            return [job for job in working if job != job_id], [job for job in waiting if job != job_id]

        self._change(host_id, gone)

    def _append(self, line: str, host_id: str, job_id: str, condition: str, **values: Any) -> list[str]:
        """The line with the job at its end. Raise `Lost` if it is in one already, or the condition does not hold."""
        item = self._table.write(
            update(
                _key(host_id),
                {},
                f"{condition} AND NOT contains(working, :job) AND NOT contains(waiting, :job)",
                expressions=(f"{line} = list_append({line}, :jobs)", "version = version + :one"),
                job=job_id,
                jobs=[job_id],
                one=1,
                **values,
            )
        )
        appended: list[str] = (item or {})[line]
        return appended

    def _change(
        self, host_id: str, turn: Callable[[list[str], list[str]], tuple[list[str], list[str]]]
    ) -> tuple[list[str], list[str]]:
        for _ in range(_ATTEMPTS):
            item = self._table.get(_key(host_id)) or {"working": [], "waiting": [], "version": 0}
            working, waiting = turn(item["working"], item["waiting"])
            if (working, waiting) == (item["working"], item["waiting"]):
                return working, waiting
            fields = {"working": working, "waiting": waiting, "version": item["version"] + 1}
            try:
                self._table.write(
                    put(_key(host_id), fields, "attribute_not_exists(pk) OR version = :seen", seen=item["version"])
                )
            except Lost:
                time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311  # a pause needs no secrecy
                continue
            return working, waiting
        raise Unavailable("too many jobs come to this host at once")


def _key(host_id: str) -> Key:
    return (f"SLOTS#{host_id}", "SLOTS")

"""Logs that outlive what wrote them: a dead container's last lines and what a job printed, kept for 14 days."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from chalicelib.domain.following import Entry
from chalicelib.wiring import adapters

_MOST_TAILS = 20  # what one reading looks through, newest first
_ID_LENGTH = 12


def keep_tail(service_id: str, tail: dict[str, Any]) -> None:
    """A dead container's last lines; the same container's, ended at the same time, once."""
    key = f"tails/{service_id}/{tail['ended_at']}-{tail['container_id'][:_ID_LENGTH]}"
    adapters().objects.put(key, _packed(tail), "application/gzip")


def tails(service_id: str, living: frozenset[str]) -> Iterator[dict[str, Any]]:
    """What is kept of this service's containers, newest first; not of the living, by 12 digits of their ids."""
    keys = adapters().objects.list(f"tails/{service_id}/")
    for key in sorted(keys, reverse=True)[:_MOST_TAILS]:
        if key.rpartition("-")[2] in living:
            continue
        packed = adapters().objects.get(key)
        if packed is not None:
            yield _unpacked(packed)


def keep_output(job_id: str, name: str, began: str, output: str, *, truncated: bool) -> None:
    """What a job's pull, build or Compose printed, secrets taken out of it already. Safe to repeat."""
    about = {"name": name.partition(".")[0], "at": began, "output": output, "truncated": truncated}
    adapters().objects.put(f"jobs/{job_id}/{began}-{name}", _packed(about), "application/gzip")


def output_entries(job_id: str) -> tuple[list[Entry], bool]:
    """A job's output as log entries, in the order it was printed, and whether any was too long to be kept whole."""
    keys = sorted(adapters().objects.list(f"jobs/{job_id}/"))
    kept = [_unpacked(packed) for key in keys if (packed := adapters().objects.get(key)) is not None]
    entries: list[Entry] = [
        {"timestamp": part["at"], "stream": "stdout", "message": line, "container": part["name"]}
        for part in kept
        for line in part["output"].splitlines()
    ]
    return entries, any(part["truncated"] for part in kept)


def _packed(value: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(value, ensure_ascii=False).encode(), mtime=0)


def _unpacked(packed: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(gzip.decompress(packed))
    return value

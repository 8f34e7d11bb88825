"""Volumes that a release names and the host does not have: Compose makes them anew, empty, and says nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

from . import engine
from .together import together


def missing(service: str, project: dict[str, Any]) -> list[str]:
    """Their names in the project's document."""
    keys = sorted(project.get("volumes") or {})
    found = together(*(partial(engine.found, f"/volumes/{service}_{key}") for key in keys))
    return [key for key, volume in zip(keys, found) if volume is None]  # noqa: B905 - python 3.9 has no `strict`

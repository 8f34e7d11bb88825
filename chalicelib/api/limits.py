"""Limits as callers name them, put over those that there are."""

from typing import TypeVar

from pydantic import BaseModel

Kept = TypeVar("Kept", bound=BaseModel)


def merged(limits: Kept, wanted: BaseModel) -> Kept:
    """The limits with those that `wanted` names in their place: null lifts one, one left out stays; `cpu` in cores."""
    given = wanted.model_dump(exclude_unset=True)
    if "cpu" in given:
        cpu = given.pop("cpu")
        given["cpu_millis"] = None if cpu is None else round(cpu * 1000)
    return limits.model_copy(update=given)

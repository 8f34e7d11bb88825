"""How the kit says no: the name of one of Slipway's error classes, a message for people, details for programs."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    def __init__(self, error: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.details = details

    def as_json(self) -> dict[str, Any]:
        return {"error": self.error, "message": self.message, "details": self.details}

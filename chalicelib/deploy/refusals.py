"""Every reason to refuse a draft at once, rather than the first: whoever mends one would only meet the next."""

from collections.abc import Callable
from typing import Any, TypeVar

from chalicelib.domain.errors import Conflict, SlipwayError, ValidationFailed
from chalicelib.domain.words import finding

Found = TypeVar("Found")


class Refusals:
    """What spoke against a draft so far."""

    def __init__(self) -> None:
        self._noted: list[tuple[str, ValidationFailed | Conflict]] = []

    def __bool__(self) -> bool:
        return bool(self._noted)

    def of(self, path: str, act: Callable[[], Found]) -> Found | None:
        """What `act` finds; None if it refuses, which is noted. `path` is the field that a conflict is about."""
        try:
            return act()
        except (ValidationFailed, Conflict) as error:
            self._noted.append((path, error))
            return None

    def together(self) -> SlipwayError:
        """All of them: a single one as it was raised, several as one, and wrong fields before what may yet change."""
        errors = [error for _, error in self._noted]
        if len(errors) == 1:
            return errors[0]
        message = "; ".join(error.message for error in errors)
        details = [each for path, error in self._noted for each in _findings(path, error)]
        is_wrong = any(isinstance(error, ValidationFailed) for error in errors)
        return ValidationFailed(message, details) if is_wrong else Conflict(message, details)


def _findings(path: str, error: ValidationFailed | Conflict) -> list[dict[str, Any]]:
    return error.details if isinstance(error, ValidationFailed) else [finding(path, error.code, error.message)]

"""Which page of a list is asked for, and the piece of the whole that it is."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field

from chalicelib.api.http import WireIn

Entry = TypeVar("Entry")


class Paged(WireIn):
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)

    def of(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """This page of all `entries`; one after the last is empty."""
        return entries[(self.page - 1) * self.per_page : self.page * self.per_page]

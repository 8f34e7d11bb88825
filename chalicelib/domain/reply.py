"""An answer as it leaves the building: what the door sends, and keeps for a request that is repeated."""

from chalicelib.domain.words import Noun


class Reply(Noun):
    """`body` is text; `code` the error's code, where it is one."""

    status: int
    headers: dict[str, str]
    body: str
    code: str | None = None
    replayed: bool = False

"""ETag and If-Match: change a thing only as you saw it.

A tag is the record's version, which each write raises and each write expects: what is compared here is compared again
by the table. If-None-Match is not looked at: a service's answer also holds what was just measured, and that has none.
"""

import re

from chalicelib.domain.errors import InvalidRequest, PreconditionFailed

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")


def etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def must_match(if_match: str | None, version: int) -> None:
    """Raise `PreconditionFailed` unless one of the tags is this version's; a weak one never is (RFC 9110, 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return
    if not _TAGS.fullmatch(if_match.strip()):
        raise InvalidRequest('If-Match is a list of tags in quotes, such as "7", or *')
    if f'"{version}"' not in re.findall(_TAG, if_match):
        raise stale()


def stale() -> PreconditionFailed:
    return PreconditionFailed("it was changed since you read it: its ETag is not what If-Match names; read it again")

"""Words shared by all nouns: ids, times, and the field types whose rules are written once."""

import re
import secrets
import string
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_ALPHABET = string.ascii_lowercase + string.digits


class Noun(BaseModel):
    """A frozen record; it changes by `model_copy(update=…)`."""

    # Built when first used: a cold start serves one request, which needs a few of all nouns.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def new_id(prefix: str) -> str:
    """An unguessable id such as `svc_4k2j…`: 16 letters and digits, 82 bits."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(16))}"


def now() -> str:
    """This instant, RFC 3339 in UTC to the millisecond: sorts as text."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def seconds_since(text: str) -> float:
    return (datetime.now(UTC) - parse_time(text)).total_seconds()


# What callers name lies in the time of computers; a week before it is still a date.
_FIRST_YEAR = 1970
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_time(text: str) -> datetime:
    """An RFC 3339 date and time (section 5.6: seconds and offset are required); `ValueError` otherwise."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("must be an RFC 3339 date and time such as 2026-03-29T14:30:00Z")
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
    try:
        return datetime.fromisoformat(trimmed).astimezone(UTC)
    except ValueError:  # Python's words for it are about Python
        raise ValueError("is no date, time or offset that there is: give one such as 2026-03-29T14:30:00Z") from None
    except OverflowError:
        raise ValueError("must lie within the years 1 to 9999 in UTC") from None


def _is_time(text: str) -> str:
    if parse_time(text).year < _FIRST_YEAR:
        raise ValueError(f"must not be before {_FIRST_YEAR}")
    return text


_DATE_TIME = Field(json_schema_extra={"format": "date-time"})
Time = Annotated[str, AfterValidator(_is_time), _DATE_TIME]
AnsweredTime = Annotated[str, _DATE_TIME]  # one that we made ourselves
_DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
# A DNS label (RFC 1123): a service's name is the first label of its URL.
DnsLabel = Annotated[str, StringConstraints(pattern=_DNS_LABEL, max_length=63)]
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
# Controls (C0, C1), line and paragraph separators, bidirectional embeddings, overrides and isolates.
_NOT_SHOWN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_ONE_LINE = rf"^[^{_NOT_SHOWN}]*$"
_EMAIL = rf"^[^@\s{_NOT_SHOWN}]+@[^@\s{_NOT_SHOWN}]+$"
# What is said of a text that does not fit a pattern, in place of the pattern.
MEANINGS = {
    _DNS_LABEL: "must be a DNS label: lowercase letters, digits and -, at most 63, with a letter or digit at both ends",
    NO_CONTROLS: "must have no control characters, such as a newline at its end",
    _ONE_LINE: "must be one line, without control characters and those that turn the direction of what is shown",
    _EMAIL: "must be an email address such as ada@example.com, without spaces, control characters and those that turn "
    "the direction of what is shown",
}
# What is shown to people in lists and logs.
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_ONE_LINE)]
Email = Annotated[str, StringConstraints(max_length=254, pattern=_EMAIL)]


def finding(path: str, rule: str, message: str) -> dict[str, Any]:
    """One entry of a `validation_failed` error's details."""
    return {"path": path, "rule": rule, "message": message}

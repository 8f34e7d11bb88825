"""A template's variable: its type, what it takes, and what is wrong with a value.

Values are text, as they end up in a compose text; the type says which text. A value that a type cannot take is a
problem, a pair of rule and message, never an exception: all that is wrong is told at once.
"""

import re
import secrets
import string
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from chalicelib.domain import pattern
from chalicelib.domain.words import Noun

Type = Literal["string", "integer", "boolean", "enum", "secret", "domain"]
Problem = tuple[str, str]

SECRET_LENGTH: Final = 32
# What only one type knows, by type; the rest is everybody's.
OWN_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "string": ("pattern",),
    "integer": ("min", "max"),
    "boolean": (),
    "enum": ("options",),
    "secret": ("pattern", "length", "charset"),
    "domain": (),
}
_CHARSETS = {"alnum": string.ascii_letters + string.digits, "hex": "0123456789abcdef"}
# A number has one text: what reads the compose text may take 05 for an octal number, or +3 for a word.
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)
_DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE
)
_LONGEST_DOMAIN = 253


def _as_text(value: Any) -> Any:
    """JSON and YAML have numbers and truths of their own: `default: 8080` means the text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


Text = Annotated[str, BeforeValidator(_as_text), Field(max_length=32_768)]


class Variable(Noun):
    """`secret` values are sealed, never shown, and made up where none is given and none is required."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)
    label: str = Field(default="", max_length=100)
    description: str = Field(default="", max_length=1000)
    placeholder: str = Field(default="", max_length=200)
    type: Type = "string"
    required: bool = False
    default: Text | None = None
    pattern: str | None = None
    min: int | None = Field(default=None, ge=-(10**17), le=10**17)
    max: int | None = Field(default=None, ge=-(10**17), le=10**17)
    options: tuple[Text, ...] = Field(default=(), max_length=20)
    length: int | None = Field(default=None, ge=16, le=128)
    charset: Literal["alnum", "hex"] | None = None

    def problem(self, value: str) -> Problem | None:
        """What keeps this variable from having this value."""
        return _PROBLEMS[self.type](self, value)

    def made_up(self) -> str:
        """A secret that nobody knows yet."""
        alphabet = _CHARSETS[self.charset or "alnum"]
        return "".join(secrets.choice(alphabet) for _ in range(self.length or SECRET_LENGTH))


def _string(variable: Variable, value: str) -> Problem | None:
    if variable.pattern is None or pattern.fits(variable.pattern, value):
        return None
    return "pattern", f"{variable.name} must match {variable.pattern}, in at most {pattern.LONGEST_VALUE} characters"


def _integer(variable: Variable, value: str) -> Problem | None:
    if not _INTEGER.fullmatch(value):
        return "wrong-type", f"{variable.name} must be a whole number of at most 18 digits, without + and leading zeros"
    if variable.min is not None and int(value) < variable.min:
        return "too-small", f"{variable.name} must be at least {variable.min}"
    if variable.max is not None and int(value) > variable.max:
        return "too-large", f"{variable.name} must be at most {variable.max}"
    return None


def _boolean(variable: Variable, value: str) -> Problem | None:
    return None if value in ("true", "false") else ("wrong-type", f"{variable.name} must be true or false")


def _enum(variable: Variable, value: str) -> Problem | None:
    if value in variable.options:
        return None
    return "not-an-option", f"{variable.name} must be one of {', '.join(variable.options)}"


def _domain(variable: Variable, value: str) -> Problem | None:
    if len(value) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(value):
        return None
    return "wrong-type", f"{variable.name} must be a host name such as app.example.com, without scheme, port or path"


_PROBLEMS: dict[str, Callable[[Variable, str], Problem | None]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "enum": _enum,
    "secret": _string,
    "domain": _domain,
}

"""Plain YAML scalars as Compose's Go reader takes them, and how it writes numbers back as text.

PyYAML follows YAML 1.1, Compose follows Go's yaml: `yes` and `on` are text there, `22:22` is not sixty-ished,
`0o17` and `017` are both fifteen. A wrong guess here would let the file that was judged differ from the file
that runs. One difference is on purpose: Compose turns the date 2024-01-02 into `2024-01-02 00:00:00 +0000 UTC`
wherever text is expected; here it stays as written.
"""

import re
from decimal import Decimal
from typing import Any

_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_START = frozenset("+-.0123456789")
_PREFIXED = re.compile(r"([+-]?)0([xX][0-9a-fA-F]+|[oO]?[0-7]+|[bB][01]+)")
_DECIMAL = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LARGEST_INTEGERS = range(-(2**63), 2**64)
_LONGEST_INTEGER = len("-0b") + 64
_BASES = {"x": 16, "o": 8, "b": 2}


def resolve(plain: str) -> Any:
    """The value of an unquoted scalar. Raises ValueError for numbers that Compose cannot carry."""
    if plain in _CONSTANTS:
        return _CONSTANTS[plain]
    if plain[0] not in _NUMBER_START:
        return plain
    if _NOT_FINITE.fullmatch(plain):
        raise ValueError("infinite and not-a-number values cannot be used")
    return _number(plain)


def text(value: Any) -> str:
    """A scalar as Compose writes it where text is expected, such as in `environment`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _float_text(value) if isinstance(value, float) else str(value)


def _number(plain: str) -> Any:
    digits = plain.replace("_", "")
    integer = _integer(digits)
    if integer is not None:
        return integer
    if not _FLOAT.fullmatch(digits):
        return plain
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("the number is too large")
    return number


def _integer(digits: str) -> int | None:
    if len(digits) > _LONGEST_INTEGER or digits == "-0":
        return None
    if _DECIMAL.fullmatch(digits):
        number = int(digits)
    elif prefixed := _PREFIXED.fullmatch(digits):
        sign, body = prefixed.groups()
        letter = body[0].lower()
        number = int(sign + (body[1:] if letter in _BASES else body), _BASES.get(letter, 8))
    else:
        return None
    return number if number in _LARGEST_INTEGERS else None


def _float_text(number: float) -> str:
    """Go's shortest form, which turns to an exponent already at 1e+06."""
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)  # only finite numbers get here
    power = len(digits) - 1 + exponent
    if number == 0 or -4 <= power < 6:  # noqa: PLR2004 - Go's own bounds
        return f"{'-' if sign else ''}{abs(Decimal(repr(number)).normalize()):f}"
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{power:+03d}"

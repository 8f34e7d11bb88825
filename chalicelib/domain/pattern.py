r"""Patterns that a template's author writes for values: a part of regular expressions that cannot be made slow.

Python's matcher tries every way of matching, so that `(a+)+b` takes hours on forty letters. Here a repeat follows one
character or class, never to a group, repeats are few, and values are short: the worst that is left costs a blink.
"""

import re

LONGEST_PATTERN = 200
LONGEST_VALUE = 255
_MOST_REPEATS = 3
_MOST_CHOICES = 6

_TOKEN = re.compile(
    r"(?P<single>\\[dswDSW]|\\[^A-Za-z0-9\s]|\[\^?(?:\\[dswDSW]|\\[^A-Za-z0-9\s]|(?!--|&&|\|\||~~)[^\\\[\]])+\]|\.|[^\\\[\](){}?*+|^$.])"
    r"|(?P<repeat>[*+]|\{\d{1,3}(?:,\d{0,3})?\})|(?P<maybe>\?)|(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<other>\|)",
    re.ASCII,
)


def why_not(pattern: str) -> str | None:
    """What keeps this text from being a pattern here, or None."""
    if len(pattern) > LONGEST_PATTERN:
        return f"a pattern has at most {LONGEST_PATTERN} characters"
    kinds = _kinds(pattern.removeprefix("^").removesuffix("$"))
    if kinds is None:
        return "write characters, classes, groups, | and repeats; no lookaround, flags or backreferences"
    if any(then in ("repeat", "maybe") and before not in _MAY_PRECEDE[then] for before, then in _pairs(kinds)):
        return "a repeat follows one character or class; a group may only be made optional with ?"
    if kinds.count("repeat") > _MOST_REPEATS:
        return f"use at most {_MOST_REPEATS} repeats"
    if kinds.count("maybe") + kinds.count("other") > _MOST_CHOICES:
        return f"use at most {_MOST_CHOICES} of ? and |"
    try:
        re.compile(pattern, re.ASCII)
    except re.error as error:
        return f"it is no regular expression: {error.msg}"
    return None


def fits(pattern: str, value: str) -> bool:
    """Whether the whole value matches."""
    return len(value) <= LONGEST_VALUE and re.fullmatch(pattern, value, re.ASCII) is not None


_MAY_PRECEDE = {"repeat": ("single",), "maybe": ("single", "close")}


def _kinds(pattern: str) -> list[str] | None:
    kinds, at = [], 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            return None
        kinds.append(str(token.lastgroup))
        at = token.end()
    return kinds


def _pairs(kinds: list[str]) -> list[tuple[str, str]]:
    return list(zip(["", *kinds], kinds, strict=False))

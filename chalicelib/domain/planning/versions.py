"""Which version of a language a repository asks for, among those whose images exist."""

import re
from collections.abc import Callable, Iterable, Sequence

_CLAUSE = re.compile(r"(===?|~=|>=|<=|!=|[><^~=]?)\s*v?(\d+)(?:\.(\d+|\*))?(?:\.(?:\d+|\*))?", re.ASCII)
Version = tuple[int, int]


def newest_fitting(asked: str, known: Sequence[Version], default: Version) -> Version:
    """The default if it is allowed or nothing can be read of what is asked, else the newest known version that is."""
    allowed = [version for version in known if _fits(version, asked)]
    if default in allowed or not allowed:
        return default
    return max(allowed)


def first_number(texts: Iterable[str]) -> Version | None:
    """The first version among these texts, as `3.11.4` or `v20`."""
    for text in texts:
        if match := re.search(r"(\d+)(?:\.(\d+))?", text):
            return int(match[1]), int(match[2] or 0)
    return None


def _fits(version: Version, asked: str) -> bool:
    """Clauses joined by commas or spaces hold together; `||` parts choices."""
    return any(
        all(_holds(version, match) for match in _CLAUSE.finditer(choice))
        for choice in asked.split("||")
        if _CLAUSE.search(choice)
    )


def _holds(version: Version, clause: re.Match[str]) -> bool:
    major = int(clause[2])
    whole = clause[3] in (None, "*")
    minor = 0 if whole else int(clause[3])
    return _COMPARE[clause[1]](version, (major, minor), whole)


def _same(version: Version, wanted: Version, whole: bool) -> bool:
    return version[0] == wanted[0] if whole else version == wanted


def _compatible(version: Version, wanted: Version, _whole: bool) -> bool:
    return version[0] == wanted[0] and version >= wanted


# A patch is left out of what is compared: `>3.11.2` still means a 3.11.
_COMPARE: dict[str, Callable[[Version, Version, bool], bool]] = {
    "": _same,
    "=": _same,
    "==": _same,
    "===": _same,
    "!=": lambda version, wanted, whole: not _same(version, wanted, whole),
    "~=": _compatible,
    "^": _compatible,
    "~": _same,
    ">=": lambda version, wanted, _whole: version >= wanted,
    ">": lambda version, wanted, whole: version[0] > wanted[0] if whole else version >= wanted,
    "<=": lambda version, wanted, whole: version[0] <= wanted[0] if whole else version <= wanted,
    "<": lambda version, wanted, _whole: version < wanted,
}

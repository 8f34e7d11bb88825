"""`$NAME` and `${NAME:-default}` in values, exactly as Compose resolves them.

Compose interpolates values and never keys. It finds the end of `${…}` by counting braces on one line, in a way
of its own (see `_closing`); what it does with odd text was recorded from the real program and is tested
against it, since a value that is read differently here could hide what the policy looks for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chalicelib.domain.compose.findings import Verdict, found, under

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = ("COMPOSE_", "DOCKER_")
_OPERATOR = re.compile(r":?[-+?]")
_MOST_NESTING = 16
_MOST_RESULT = 1024 * 1024


@dataclass
class Interpolation:
    """Resolves a tree's strings; remembers which variables were asked for."""

    variables: Mapping[str, str]
    verdict: Verdict
    used: set[str] = field(default_factory=set)
    _size: int = 0

    def tree(self, node: Any, path: str) -> Any:
        if isinstance(node, dict):
            return {key: self.tree(value, under(path, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self.tree(value, under(path, index)) for index, value in enumerate(node)]
        return self.string(node, path) if isinstance(node, str) else node

    def string(self, written: str, path: str) -> str:
        """The string resolved, or as written where that failed and a finding says so."""
        try:
            resolved = _Template(self, path).resolve(written, 0) if "$" in written else written
        except _Refused as refused:
            self.verdict.refuse(path, refused.rule, refused.message)
            return written
        self._size += len(resolved)
        if self._size > _MOST_RESULT:
            raise found(path, "too-large", "with its variables the file is larger than 1 MiB; write less")
        return resolved

    def value(self, name: str, path: str) -> str | None:
        """A variable that is taken whole, as `environment: [NAME]` does."""
        self.used.add(name)
        if name not in self.variables:
            self.verdict.warn(path, "unset-variable", "the variable named here has no value and was left out")
        return self.variables.get(name)


def check_names(variables: Mapping[str, str], verdict: Verdict) -> None:
    for name, value in variables.items():
        path = under("variables", name)
        if not NAME.fullmatch(name):
            verdict.refuse(path, "variable-name", "use letters, digits and _, not beginning with a digit")
        elif name.upper().startswith(_RESERVED):
            verdict.refuse(path, "reserved-variable", "choose a name that does not begin with COMPOSE_ or DOCKER_")
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            verdict.refuse(path, "variable-value", "the value holds a character that no process can be given")


def escaped(node: Any) -> Any:
    """The tree with every `$` in its values doubled, so that Compose reads exactly these values. Keys are not
    interpolated, so they stay."""
    if isinstance(node, dict):
        return {key: escaped(value) for key, value in node.items()}
    if isinstance(node, list):
        return [escaped(value) for value in node]
    return node.replace("$", "$$") if isinstance(node, str) else node


def unescaped(node: Any, *, keys: bool) -> Any:
    """`escaped` undone. What Compose prints has its keys doubled too."""
    if isinstance(node, dict):
        return {key.replace("$$", "$") if keys else key: unescaped(value, keys=keys) for key, value in node.items()}
    if isinstance(node, list):
        return [unescaped(value, keys=keys) for value in node]
    return node.replace("$$", "$") if isinstance(node, str) else node


class _Refused(Exception):
    """Ends one string; never leaves this module."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


@dataclass
class _Template:
    of: Interpolation
    path: str
    spent: int = 0

    def resolve(self, template: str, nesting: int) -> str:
        if nesting > _MOST_NESTING:
            raise _Refused("invalid-interpolation", f"defaults are nested deeper than {_MOST_NESTING} levels")
        parts, at = [], 0
        while (dollar := template.find("$", at)) != -1:
            parts.append(template[at:dollar])
            value, at = self._expression(template, dollar, nesting)
            self._grow(len(value))
            parts.append(value)
        parts.append(template[at:])
        return "".join(parts)

    def _expression(self, template: str, dollar: int, nesting: int) -> tuple[str, int]:
        """The value of what begins at `dollar`, and where the text goes on."""
        follows = template[dollar + 1 : dollar + 2]
        if follows == "$":
            return "$", dollar + 2
        if follows == "{":
            return self._braced(template, dollar, nesting)
        name = NAME.match(template, dollar + 1)
        if name is None:
            return "$", dollar + 1
        return self._plain(name.group()), name.end()

    def _braced(self, template: str, dollar: int, nesting: int) -> tuple[str, int]:
        name = NAME.match(template, dollar + 2)
        if name is None:
            raise _Refused("invalid-interpolation", "${ is not followed by a name; write $${ for a literal ${")
        if template[name.end() : name.end() + 1] == "}":
            return self._plain(name.group()), name.end() + 1
        operator = _OPERATOR.match(template, name.end())
        line_end = template.find("\n", name.end())
        last = template.rfind("}", name.end(), line_end if line_end != -1 else len(template))
        if operator is None or last < operator.end():
            raise _Refused(
                "invalid-interpolation", "${…} is not closed or not of a form Compose knows; write $${ for a literal ${"
            )
        end = _closing(template, dollar, last)
        return self._operated(name.group(), operator.group(), template[operator.end() : end], nesting), end + 1

    def _plain(self, name: str) -> str:
        self.of.used.add(name)
        if name not in self.of.variables:
            self.of.verdict.warn(f"variables.{name[:80]}", "unset-variable", "has no value and became empty text")
        return self.of.variables.get(name, "")

    def _operated(self, name: str, operator: str, operand: str, nesting: int) -> str:
        self.of.used.add(name)
        value = self.of.variables.get(name)
        present = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "+":
            return self.resolve(operand, nesting + 1) if present else ""
        if present:
            return value or ""
        if operator[-1] == "?":
            # The author's text is quoted as written: resolved, it could show another variable's value.
            raise _Refused(
                "missing-variable", f"give the variable {name[:80]} a value{': ' if operand else ''}{operand[:200]}"
            )
        return self.resolve(operand, nesting + 1)

    def _grow(self, size: int) -> None:
        self.spent += size
        if self.spent > _MOST_RESULT:
            raise found(self.path, "too-large", "with its variables the value is larger than 1 MiB; write less")


def _closing(template: str, dollar: int, last: int) -> int:
    """Where Compose ends the expression: it counts every `{`, skips the character after each, and takes the
    line's last `}` where the count never returns to nothing."""
    depth, at = 0, dollar
    while at <= last:
        if template[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        elif template[at] == "{":
            depth += 1
            at += 1
        at += 1
    return last

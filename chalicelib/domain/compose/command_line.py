"""How Compose will split a command written as one text: whether it can, and whether it drops the rest.

Compose splits such a text itself and starts no shell: at the first unquoted `;`, `&`, `|`, `<` or `>` it stops
without a word, so `a && b` runs only `a`. The split is left to Compose; here it is only foreseen.
"""

from typing import Literal

Outcome = Literal["whole", "cut", "broken"]
_ENDS = frozenset(";&|<>")


def foreseen(line: str) -> Outcome:  # noqa: C901 - one state machine, read in one piece
    quote, escaped, before = "", False, ""
    for char in line:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = quote != "'"
        elif quote == "(":
            if char == "(":
                return "broken"
            quote = "" if char == ")" else quote
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char == "(" and before == "$":
            quote = "("
        elif char in "()":
            return "broken"
        elif char in _ENDS:
            return "cut"
        before = char
    return "broken" if quote or escaped else "whole"

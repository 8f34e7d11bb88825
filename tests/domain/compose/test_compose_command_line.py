"""What Compose makes of a command written as one text; recorded from the real one and replayed on it."""

import json

import pytest

from chalicelib.domain.compose.command_line import foreseen

from .conftest import Planned, Refused, Resolved

WHOLE = {
    "a $(b)": ["a", "$(b)"],
    "a `b`": ["a", "`b`"],
    "a 'b\"' \"c'\"": ["a", 'b"', "c'"],
    "a$(b c) d": ["a$(b c)", "d"],
    "'(a'": ["(a"],
    '"a (b"': ["a (b"],
    "a\\(b": ["a(b"],
    "a 'b\\' c": ["a", "b\\", "c"],
    "a $'b' c": ["a", "$b", "c"],
    "a $(b 'c)": ["a", "$(b 'c)"],
    "a `b 'c` d": ["a", "`b 'c`", "d"],
    'a "$(b"': ["a", "$(b"],
    'a "`" b': ["a", "`", "b"],
    "a `(` b": ["a", "`(`", "b"],
    "a 'x && y' b": ["a", "x && y", "b"],
}
CUT = {"a && b; c": ["a"], "a > b": ["a"], "a | 'b": ["a"], "a ; (b": ["a"], "a 2>&1": ["a"]}
BROKEN = [
    "a (b)", "a $(b", "a `b", "a\\", 'a "b', "a 'b", 'a "b\\"', "(a)", "a)", "$(a) `", "a b)c", "$((1+2))", "a $(b(c))",
]  # fmt: skip


@pytest.mark.parametrize("line", [*WHOLE, *CUT, *BROKEN])
def test_the_split_is_foreseen(line: str) -> None:
    assert foreseen(line) == ("whole" if line in WHOLE else "cut" if line in CUT else "broken")


def test_the_real_compose_still_splits_like_this(compose: Resolved) -> None:
    lines = WHOLE | CUT
    services = {f"s{index}": {"image": "a", "command": line.replace("$", "$$")} for index, line in enumerate(lines)}

    resolved = compose(json.dumps({"services": services}))["services"]

    words = [[word.replace("$$", "$") for word in resolved[name]["command"]] for name in services]
    assert dict(zip(lines, words, strict=True)) == lines


def test_a_command_that_loses_its_end_is_said_and_one_that_cannot_be_split_refused(
    planned: Planned, refused: Refused
) -> None:
    cut = planned("services: {web: {image: app, command: migrate && serve}}")
    broken = refused('services: {web: {image: app, entrypoint: "sh -c \'serve"}}')

    assert [(found.path, found.rule) for found in cut.warnings] == [("services.web.command", "command-cut")]
    assert [(detail["path"], detail["rule"]) for detail in broken] == [("services.web.entrypoint", "wrong-type")]

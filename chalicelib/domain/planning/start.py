"""How a program is started and where it listens: what start commands and sources say of it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.domain.compose.ports import HIGHEST_PORT, NOT_HTTP
from chalicelib.domain.planning.tree import Tree

_WORDS = re.compile(r"[A-Za-z0-9@%+=:,./_\- ]+", re.ASCII)
_NOT_ONE_COMMAND = re.compile(r"[;&|<>()\n{}`]|\$\(")
_ASSIGNS = re.compile(r"\s*\w+=")
_EXEC = re.compile(r"\s*exec\s")
_PROCESS = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*:\s*(\S.*?)\s*$", re.MULTILINE)

_IN_COMMAND = re.compile(
    r"(?:--port[= ]|-p[= ]?|--bind[= ]\S*:|-b[= ]?\S*:|http\.server |runserver \S*:|\bPORT=|-l[= ](?:tcp://)?\S*:)(\d{2,5})\b",
    re.ASCII,
)
_PORT_VARIABLE = re.compile(r"\$\{?PORT\b")
_READS_PORT = re.compile(
    r"""environ(?:\.get\(|\[)\s*["']PORT["']|getenv\(\s*["']PORT["']|process\.env\.PORT\b|process\.env\[["']PORT["']\]"""
    r"""|Getenv\(\s*"PORT"|env::var\(\s*"PORT"|ENV(?:\.fetch\(|\[)\s*["']PORT["']|\$_ENV\[["']PORT["']\]|PORT\s*}\s*=\s*process\.env"""
)
_LISTENS = re.compile(
    r"""\.listen\(\s*\{?\s*(?:port\s*:\s*)?(\d{2,5})\b|\bport\s*[=:]\s*(\d{2,5})\b|["'](?:0\.0\.0\.0|localhost|127\.0\.0\.1|::|)["']\s*,\s*(\d{2,5})\b"""
    r"""|["'](?:0\.0\.0\.0|localhost|127\.0\.0\.1)?:(\d{2,5})["']|\[\s*(?:0|127)\s*,\s*0\s*,\s*0\s*,\s*[01]\s*\]\s*,\s*(\d{2,5})\b""",
    re.ASCII | re.IGNORECASE,
)
_LOOPBACK = re.compile(
    r"""["'](?:127\.0\.0\.1|localhost)["']\s*,\s*\w|["'](?:127\.0\.0\.1|localhost):\d|host\s*[=:]\s*["'](?:127\.0\.0\.1|localhost)["']"""
    r"""|,\s*["'](?:127\.0\.0\.1|localhost)["']\s*[,)]|\[\s*127\s*,"""
)
_HEALTH = re.compile(r"""["'`](/(?:[a-z0-9_-]+/){0,2}(?:healthz?|health-?check|livez|readyz|ping|up|status))/?["'`]""")


@dataclass(frozen=True)
class Start:
    """A start command: the words that become CMD, and the text that people read."""

    words: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Listening:
    """Where a program listens; `seen` where the repository tells, and not only our default."""

    port: int
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seen: bool = False


NOTHING = Start((), "")


def typed(text: str) -> Start:
    """A command as its author typed it, for a shell only where it needs one."""
    line = text.strip()
    if _WORDS.fullmatch(line) and not _ASSIGNS.match(line):
        return Start(tuple(line.split()), line)
    # `exec` has the program take the shell's place, so that it is told when to stop.
    single = not _NOT_ONE_COMMAND.search(line) and not _ASSIGNS.match(line) and not _EXEC.match(line)
    return Start(("sh", "-c", f"exec {line}" if single else line), line)


def worded(*words: str) -> Start:
    return Start(words, shlex.join(words))


def procfile(tree: Tree) -> dict[str, str]:
    """The processes of a Procfile by name."""
    return {found[1]: found[2] for found in _PROCESS.finditer(tree.text("Procfile"))}


def listening(start: str, sources: Mapping[str, str], default: int) -> Listening:
    """Where the program that is started so will listen, with PORT set to `default`."""
    warnings = tuple(
        f"{name} seems to listen on 127.0.0.1 only, where nothing outside its container reaches it; use 0.0.0.0"
        for name, text in sources.items()
        if _LOOPBACK.search(text)
    )[:3]
    if _PORT_VARIABLE.search(start):
        return Listening(default, ("the start command listens on $PORT",), warnings, seen=True)
    if (port := _number(_IN_COMMAND.search(start))) is not None:
        return Listening(port, (f"the start command names port {port}",), warnings, seen=True)
    for name, text in sources.items():
        if _READS_PORT.search(text):
            return Listening(default, (f"{name} reads PORT",), warnings, seen=True)
    for name, text in sources.items():
        for match in _LISTENS.finditer(text):
            if (port := _number(match)) is not None:
                return Listening(port, (f"{name} names port {port}",), warnings, seen=True)
    return Listening(default, warnings=warnings)


def health_path(sources: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """A path that is there to be asked whether all is well, and why we think so."""
    for name, text in sources.items():
        if match := _HEALTH.search(text):
            return match[1], (f"{name} answers {match[1]}",)
    return None, ()


def _number(match: re.Match[str] | None) -> int | None:
    digits = next(filter(None, match.groups()), None) if match else None
    port = int(digits or 0)
    # a database's port in a program is whom it calls, not where it listens
    return port if 1 <= port <= HIGHEST_PORT and port not in NOT_HTTP else None

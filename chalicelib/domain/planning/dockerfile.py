"""Writes Dockerfiles, each instruction from words, so that no text of a repository can become an instruction.

What comes from a repository (a start command, a file's name) is written in Docker's JSON form only. There a line end is
`\\n` within quotes, and Docker expands nothing. Free text is ours alone, and constant.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

USER: Final = "10001:10001"  # a number needs no entry in an image's user database
IGNORED: Final = ".git\n**/node_modules\n**/__pycache__\n**/*.pyc\n.venv\nvenv\n"
_IMAGE = re.compile(r"[a-z0-9]+(?:[./_-][a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,100})?", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./_\-*]+", re.ASCII)


def dockerfile(*lines: str) -> str:
    """The text of a Dockerfile; empty lines part its stages."""
    for line in lines:
        if "\n" in line or "\r" in line:
            raise ValueError("an instruction is one line")
    return "\n".join(lines) + "\n"


def base(image: str, stage: str = "") -> str:
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"{image!r} is no image name")
    return f"FROM {image} AS {stage}" if stage else f"FROM {image}"


def env(**values: str | int) -> str:
    """Environment of our own choosing: the values are constants or numbers."""
    return "ENV " + " ".join(f"{name}={_plain(str(value))}" for name, value in values.items())


def path_first(folder: str) -> str:
    return f"ENV PATH={_plain(folder)}:$PATH"


def workdir(folder: str) -> str:
    return f"WORKDIR {_plain(folder)}"


def copy(sources: Iterable[str], target: str = "./", *, stage: str = "", owner: str = "") -> str:
    flags = [f"{flag}={_plain(value)}" for flag, value in (("--from", stage), ("--chown", owner)) if value]
    words = [*sources, target]
    if not all(map(means_itself, words)):
        raise ValueError(f"Docker would read more than names in {words}")
    return " ".join(["COPY", *flags, json.dumps(words)])


def means_itself(name: str) -> bool:
    """Docker expands variables and patterns in the names that it copies, however they are written."""
    return not set(name) & set("$*?[\\")


def run(words: Sequence[str]) -> str:
    return f"RUN {json.dumps(list(words))}"


def shell(constant: str) -> str:
    """A shell line of our own: a constant, never made from what a repository says."""
    return f"RUN {constant}"


def own_app_folder() -> Sequence[str]:
    """/app, in which the app may write, as some do; what it writes there goes with the release."""
    return (shell(f"mkdir -p /app && chown {USER} /app"), workdir("/app"))


def ending(port: int, start: Sequence[str], user: str = USER) -> Sequence[str]:
    """The last lines of every Dockerfile of ours."""
    return (f"USER {user}", f"EXPOSE {port:d}", f"CMD {json.dumps(list(start))}")


def _plain(word: str) -> str:
    if not _PLAIN.fullmatch(word):
        raise ValueError(f"{word!r} would need quoting")
    return word

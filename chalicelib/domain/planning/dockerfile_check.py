"""A Dockerfile that a model wrote: what is refused in it, which is more than in a customer's own.

Whoever writes a Dockerfile of their own answers for it. A model's begins from Docker's official images alone, reads
nothing but the repository and package registries, ends as another user than root, and says nothing of labels.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from chalicelib.domain import dockerfile
from chalicelib.domain.dockerfile import Instruction
from chalicelib.domain.errors import BuildFailed
from chalicelib.domain.words import finding

OFFICIAL: Final = frozenset({
    "alpine", "bash", "busybox", "caddy", "clojure", "composer", "debian", "eclipse-temurin", "elixir", "erlang",
    "gcc", "golang", "gradle", "haskell", "httpd", "julia", "maven", "nginx", "node", "perl", "php", "pypy", "python",
    "ruby", "rust", "swift", "tomcat", "ubuntu",
})  # fmt: skip
_KNOWN = frozenset({
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "SHELL", "STOPSIGNAL",
    "USER", "WORKDIR",
})  # fmt: skip
_DIRECTIVE = re.compile(r"\s*#\s*(?:syntax|escape|check)\s*=", re.IGNORECASE)
_REMOTE = re.compile(r"(?:\w+://|git@|\S+\.git\b)")
_HEREDOC = re.compile(r"<<-?\s*[\"']?\w")
_ROOT = re.compile(r"(?:root|0+)?(?::.*)?", re.IGNORECASE)


def findings(text: str) -> list[dict[str, Any]]:
    """Everything that is refused; none where it may be built."""
    return [finding(path, "dockerfile", message) for path, message in _refused(text)]


def _refused(text: str) -> Iterator[tuple[str, str]]:
    try:
        images = dockerfile.judged(text, {}, "slipway.service=x").images
    except BuildFailed as error:
        yield "dockerfile", error.message
        return
    lines = text.splitlines()
    if any(map(_DIRECTIVE.match, lines)):
        yield "dockerfile", "leave out the directive; Docker's own syntax is read"
    for image in images:
        if image.partition(":")[0].partition("@")[0] not in OFFICIAL:
            yield "dockerfile.FROM", "begin from an official image of Docker Hub for a language or a web server"
    instructions = list(dockerfile.read(lines))
    for instruction in instructions:
        yield from _refused_of(instruction)
    yield from _refused_of_last_stage(instructions)


def _refused_of(instruction: Instruction) -> Iterator[tuple[str, str]]:
    path = f"dockerfile.{instruction.word}" if instruction.word in _KNOWN else "dockerfile"
    if instruction.word not in _KNOWN:
        yield path, f"use none but {', '.join(sorted(_KNOWN))}"
    if instruction.word in ("RUN", "COPY", "ADD") and _HEREDOC.search(instruction.rest):
        yield path, "write no here-document; the classic builder reads none"
    if instruction.word == "ADD" and _REMOTE.search(instruction.rest):
        yield path, "add nothing from elsewhere; COPY what the repository holds"
    if "docker.sock" in instruction.rest:
        yield path, "leave Docker's socket alone"


def _refused_of_last_stage(instructions: list[Instruction]) -> Iterator[tuple[str, str]]:
    begin = max((index for index, found in enumerate(instructions) if found.word == "FROM"), default=0)
    last = instructions[begin:]
    users = [found.rest.strip("\"'") for found in last if found.word == "USER"]
    if not users or "$" in users[-1] or _ROOT.fullmatch(users[-1]):
        yield "dockerfile.USER", "end as another user than root, by a number such as 10001"
    if not any(found.word in ("CMD", "ENTRYPOINT") for found in last):
        yield "dockerfile.CMD", "say in the last stage what is started"

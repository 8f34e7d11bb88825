"""A repository's own compose file or Dockerfile: what they say, read and not run."""

import json
import re
from typing import Any, Final

from chalicelib.domain.compose.ports import HIGHEST_PORT, NOT_HTTP
from chalicelib.domain.compose.read import read
from chalicelib.domain.dockerfile import Instruction
from chalicelib.domain.dockerfile import read as read_dockerfile
from chalicelib.domain.planning.tree import Tree

COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_NEEDS_BUILDKIT = re.compile(
    r"RUN\s+--(mount|network|security)|(?:COPY|ADD)\s+--(link|parents|exclude)|(?:RUN|COPY)\b[^\n]*<<-?[\"']?\w",
    re.IGNORECASE,
)
_LAST_PORT = re.compile(r"(\d{1,5})(?:/tcp)?$", re.ASCII)


def instructions(text: str) -> list[Instruction]:
    return list(read_dockerfile(text.splitlines()))


def exposed(text: str) -> int | None:
    """The first TCP port that the last stage exposes."""
    port = None
    for instruction in instructions(text):
        if instruction.word == "FROM":
            port = None
        elif instruction.word == "EXPOSE" and port is None:
            port = next((number for word in instruction.rest.split() if (number := _port(word)) is not None), None)
    return port


def base_images(text: str) -> tuple[str, ...]:
    """What the stages are built from, but for one another and for what only a build argument tells."""
    stages: set[str] = set()
    images: dict[str, None] = {}
    for instruction in instructions(text):
        if instruction.word != "FROM":
            continue
        words = [word for word in instruction.rest.split() if not word.startswith("--")]
        if words and words[0] not in stages and "$" not in words[0] and words[0] != "scratch":
            images[words[0]] = None
        if len(words) == 3 and words[1].upper() == "AS":  # noqa: PLR2004 FROM image AS name
            stages.add(words[2])
    return tuple(images)


def command(text: str) -> str | None:
    """What the last CMD or ENTRYPOINT starts."""
    said = {
        instruction.word: instruction.rest
        for instruction in instructions(text)
        if instruction.word in ("CMD", "ENTRYPOINT")
    }
    parts = [_spoken(said[word]) for word in ("ENTRYPOINT", "CMD") if said.get(word)]
    return " ".join(parts) or None


def needs_buildkit(text: str) -> tuple[str, ...]:
    """Instructions that the hosts' builder does not read."""
    return tuple(
        f"Dockerfile: {match[0].strip()} needs BuildKit, and builds are made without it; leave it out"
        for found in instructions(text)
        if (match := _NEEDS_BUILDKIT.match(f"{found.word} {found.rest}"))
    )


def compose_of(tree: Tree) -> tuple[str, dict[str, Any]] | None:
    """The name and the tree of the repository's compose file. Raise ValidationFailed where it is no YAML."""
    name = tree.first(*COMPOSE_FILES)
    return (name, read(tree.text(name))) if name else None


def services_of(composed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    services = composed.get("services")
    return (
        {name: service for name, service in services.items() if isinstance(service, dict)}
        if isinstance(services, dict)
        else {}
    )


def routed_port(services: dict[str, dict[str, Any]]) -> int:
    """The first port that looks like HTTP, as the policy will route it; 0 where none can be told."""
    for key in ("ports", "expose"):
        for service in services.values():
            listed = service.get(key)
            for entry in listed if isinstance(listed, list) else []:
                number = _port(str(entry.get("target", "") if isinstance(entry, dict) else entry))
                if number is not None and number not in NOT_HTTP:
                    return number
    return 0


def _port(word: str) -> int | None:
    match = _LAST_PORT.search(word)
    return int(match[1]) if match and 1 <= int(match[1]) <= HIGHEST_PORT else None


def _spoken(rest: str) -> str:
    try:
        words = json.loads(rest)
    except ValueError:
        return rest
    return " ".join(str(word) for word in words) if isinstance(words, list) else rest

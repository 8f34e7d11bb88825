"""A customer's Dockerfile: which images it begins from, whether our builder can build it, and each stage labelled.

Read as Docker reads it: comments, line continuations, the escape directive. An image that it begins from is judged as
any other that a customer names, so its name must be plain once the build's arguments are filled in.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chalicelib.domain.errors import BuildFailed

MOST_CHARACTERS = 64 * 1024
_MOST_IMAGES = 30
_DIRECTIVE = re.compile(r"#\s*(?P<name>[A-Za-z]+)\s*=\s*(?P<value>\S+)\s*")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}", re.ASCII)
_OTHERS_IMAGE = re.compile(r"(?:\A|/)slipway/svc_[a-z0-9]{16}", re.IGNORECASE)
_STAGE = re.compile(r"[a-z][a-z0-9_.-]*", re.IGNORECASE | re.ASCII)
_VARIABLE = re.compile(
    r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?::(?P<sign>[-+])(?P<other>[^{}$]*))?\})", re.ASCII
)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word, what follows it with continuations joined, and the line after its last."""

    word: str
    rest: str
    end: int


@dataclass(frozen=True)
class Judged:
    """`text` is what is built: the author's, with a label on every stage."""

    text: str
    images: tuple[str, ...]


def judged(text: str, arguments: Mapping[str, str], label: str, name: str = "Dockerfile") -> Judged:
    """Raise `BuildFailed`, naming the Dockerfile, for what cannot be built or may not be begun from.

    `label` is written below each FROM. It says whose the layers are, and keeps the builder, which begins from any layer
    made by the same instructions, from another's.
    """
    if len(text) > MOST_CHARACTERS:
        raise BuildFailed(f"{name} is longer than {MOST_CHARACTERS} characters")
    lines = text.removeprefix("\ufeff").splitlines()
    instructions = list(read(lines))
    images = list(_images(instructions, arguments, name))
    if not images:
        raise BuildFailed(f"{name} has no FROM")
    for instruction in reversed(instructions):
        if instruction.word == "FROM":
            lines.insert(instruction.end, f"LABEL {label}")
    return Judged("\n".join(lines) + "\n", tuple(dict.fromkeys(image for image in images if image != "scratch")))


def read(lines: list[str]) -> Iterator[Instruction]:
    """The instructions, as Docker splits the lines into them."""
    escape, at = _escape(lines), 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        whole = ""
        continued = re.compile(re.escape(escape) + r"[ \t]*\Z")
        while True:
            found = continued.search(line)
            whole += line[: found.start()] if found else line
            if not found or at >= len(lines):
                break
            line, at = _next(lines, at)
        word, _, rest = whole.strip().partition(" ")
        if "\t" in word:
            word, _, more = word.partition("\t")
            rest = f"{more} {rest}"
        yield Instruction(word.upper(), rest.strip(), at)


def _next(lines: list[str], at: int) -> tuple[str, int]:
    """The line that goes on; comments and empty lines in between are passed over."""
    while at < len(lines) and (not lines[at].strip() or lines[at].strip().startswith("#")):
        at += 1
    return (lines[at], at + 1) if at < len(lines) else ("", at)


def _escape(lines: list[str]) -> str:
    """Directives stand above everything else, comments too."""
    for line in lines:
        found = _DIRECTIVE.fullmatch(line.strip())
        if not found:
            return "\\"
        if found["name"].lower() == "escape":
            return found["value"]
    return "\\"


def _images(instructions: list[Instruction], arguments: Mapping[str, str], name: str) -> Iterator[str]:
    """What each FROM, and each `--from` that is no stage's, names."""
    known: dict[str, str] = {}
    stages: set[str] = set()
    begun = 0
    for instruction in instructions:
        if instruction.word == "ARG" and not begun:
            known.update(_argument(instruction.rest, arguments, known))
        elif instruction.word == "FROM":
            words = [word for word in instruction.rest.split() if not word.startswith("--")]
            image = _filled(words[0], known) if words else ""
            if image.lower() not in stages:
                yield _checked(image, name)
            begun += 1
            if len(words) == 3 and words[1].upper() == "AS" and _STAGE.fullmatch(words[2]):  # noqa: PLR2004 - FROM x AS y
                stages.add(words[2].lower())
        elif instruction.word in ("COPY", "ADD", "RUN"):
            yield from _taken_from(instruction, stages, name)
        elif instruction.word == "ONBUILD":
            raise BuildFailed(f"{name}: ONBUILD is for images that others build on; write the instruction itself")
        if begun > _MOST_IMAGES:
            raise BuildFailed(f"{name} has more than {_MOST_IMAGES} stages")


def _taken_from(instruction: Instruction, stages: set[str], name: str) -> Iterator[str]:
    for flag in _flags(instruction.rest):
        key, _, value = flag.partition("=")
        if instruction.word == "RUN" and key in ("--mount", "--security", "--network"):
            message = f"{name}: RUN {key} needs BuildKit, and Slipway's builds are made without it; leave it out"
            raise BuildFailed(message)
        if key in ("--link", "--parents", "--exclude", "--checksum", "--keep-git-dir"):
            raise BuildFailed(f"{name}: {key} needs BuildKit, and Slipway's builds are made without it; leave it out")
        if key == "--from" and value.lower() not in stages and not value.isdigit():
            yield _checked(value, name)


def _flags(rest: str) -> Iterator[str]:
    for word in rest.split():
        if not word.startswith("--"):
            return
        yield word


def _argument(rest: str, arguments: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for word in rest.split():
        key, equals, default = word.partition("=")
        value = arguments.get(key, _filled(default.strip("\"'"), known) if equals else None)
        if value is not None:
            found[key] = value
    return found


def _filled(text: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        given = known.get(found["plain"] or found["name"], "")
        if found["sign"] == "-":
            return given or found["other"]
        return (found["other"] if given else "") if found["sign"] == "+" else given

    return _VARIABLE.sub(value, text.strip("\"'"))


def _checked(image: str, name: str) -> str:
    if not _IMAGE.fullmatch(image):
        raise BuildFailed(f"{name}: it begins FROM an image whose name is not plain; name it without variables")
    if _OTHERS_IMAGE.search(image):
        raise BuildFailed(f"{name}: images that Slipway built are their own services' alone")
    return image

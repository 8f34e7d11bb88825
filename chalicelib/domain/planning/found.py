"""What a stack's rules answer: all of a plan but the compose text around it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.start import Listening, Start, health_path, listening, procfile, typed, worded
from chalicelib.domain.planning.tree import Tree


@dataclass(frozen=True)
class Found:
    """A repository that can be built and run, and why we think so."""

    stack: str
    dockerfile: str
    port: int
    start: str
    build: str | None
    base_images: tuple[str, ...]
    reasons: tuple[str, ...]
    health_path: str | None = None
    warnings: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unclear:
    """The stack is known, and what is missing to run it."""

    stack: str
    missing: str


@dataclass(frozen=True)
class Running:
    """How it is started, where it listens and what tells that it is well."""

    start: Start
    port: int
    health_path: str | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class Usual:
    """What a stack's rules saw, for want of anything better.

    `suffixes` are those of the stack's sources. `with_procfile` is for stacks whose images look as a Procfile's author
    expects, and not for programs that lie where we put them. `fixed_port` says that `start` names the port itself, so
    that no source can name another; `sure` that `start` was seen and is no guess.
    """

    start: Start  # without words: nothing tells
    port: int
    suffixes: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    with_procfile: bool = False
    fixed_port: bool = False
    sure: bool = True


def running(tree: Tree, given: Given, usual: Usual) -> Running:
    """Decide start, port and health path: what is given first, then a Procfile, then what is usual."""
    sources = {name: text for name, text in tree.sources.items() if name.endswith(usual.suffixes)}
    web = procfile(tree).get("web") if usual.with_procfile else None
    if given.start:
        told = replace(usual, start=worded(*given.start), fixed_port=False, sure=True)
        told = replace(told, reasons=(*usual.reasons, "the start command was given"))
    elif web:
        told = replace(usual, start=typed(web), fixed_port=False, sure=True)
        told = replace(told, reasons=(*usual.reasons, "Procfile says how web is started"))
    else:
        told = usual
    listens = _listens(sources, given, told.start, told)
    health, health_reasons = (given.health_path, ()) if given.health_path else health_path(sources)
    guesses = (("start_command", not told.sure), ("port", not listens.seen), ("health_path", health is None))
    return Running(
        told.start,
        listens.port,
        health,
        (*told.reasons, *listens.reasons, *health_reasons),
        listens.warnings,
        tuple(field for field, guessed in guesses if guessed),
    )


def _listens(sources: Mapping[str, str], given: Given, start: Start, told: Usual) -> Listening:
    if given.port is not None:
        return Listening(given.port, ("the port was given",), seen=True)
    return Listening(told.port, seen=True) if told.fixed_port else listening(start.text, sources, told.port)

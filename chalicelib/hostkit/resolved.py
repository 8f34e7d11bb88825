"""What Compose makes of a release's document, asked of Compose once for all documents that are alike.

Two are alike when they differ in nothing but the service's id and the releases' numbers. What Compose makes of a
document depends on the document, on Compose and on the variables it is given, and on nothing else: so what it changed
in one, it changes in each that is alike. Only those changes are kept: the keys that it adds, and where it cuts a
command's text into words. Names of a document are among them and no value, hence no secret. A change of any other
kind is not kept, and such a document is resolved anew each time. Whoever asked judges the answer, wherever it is from.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from . import places
from .version import FOLDER

KEPT = os.path.dirname(FOLDER) + "/resolved"  # with the kit: another version of it begins without
KEPT_S = 7 * 86400.0
MOST = 256
RELEASE = "slipway.release"
SOMEBODY = "svc_????????????????"  # in place of the service's id, and never an id
SPLIT = (["command"], ["entrypoint"])  # keys of a service

Change = list[Any]  # where, what kind of change, and its value


class _Doubtful(Exception):
    """Nothing to reuse."""


def resolved(service: str, text: str, compose: Any, ask: Callable[[], Any], kept: str = KEPT) -> Any:
    """Compose's answer on the document `text`; by `ask` where it cannot be told from an earlier one.

    `compose` tells one Compose from another, and its variables; None if that cannot be told.
    """
    name = _name(service, text, compose)
    if name is None:
        return ask()
    document, path = json.loads(text), f"{kept}/{name}"
    changes = _read(path)
    if changes is not None:
        return _changed(service, document, changes)
    answer = ask()
    with suppress(_Doubtful):
        _write(path, list(_changes(service, document, answer, [])))
        _tidy(kept)
    return answer


def _name(service: str, text: str, compose: Any) -> str | None:
    """The same for all that are alike, and for no others; None where that cannot be told."""
    document = json.loads(text)
    for one in document["services"].values():
        labels = one.get("labels", {})
        if labels.get(RELEASE, "").isdigit():
            labels[RELEASE] = "0"
    alike = json.dumps(document)
    if compose is None or SOMEBODY in alike:
        return None
    return hashlib.sha256(json.dumps([compose, alike.replace(service, SOMEBODY)]).encode()).hexdigest()


# What Compose changed


def _changes(service: str, meant: Any, seen: Any, at: list[Any]) -> Iterator[Change]:
    if isinstance(meant, dict) and isinstance(seen, dict):
        if not meant.keys() <= seen.keys():
            raise _Doubtful
        for key, value in seen.items():
            where = [*at, key]
            yield from _changes(service, meant[key], value, where) if key in meant else [_added(service, value, where)]
    elif isinstance(meant, list) and isinstance(seen, list) and len(meant) == len(seen):
        for index, pair in enumerate(zip(meant, seen)):  # noqa: B905 - python 3.9 has no `strict`
            yield from _changes(service, *pair, [*at, index])
    elif isinstance(meant, str) and isinstance(seen, list) and at[0] == "services" and at[2:] in SPLIT:
        yield [at, "cut", list(_cuts(service, meant, seen))]
    elif meant != seen or isinstance(meant, bool) != isinstance(seen, bool):
        raise _Doubtful


def _added(service: str, value: Any, at: list[Any]) -> Change:
    if value is None or isinstance(value, int) or value in ({}, []):
        return [at, "is", value]
    if at[-1] == "name" and value == f"{service}_{at[-2]}":
        return [at, "named", None]
    raise _Doubtful


def _cuts(service: str, text: str, words: list[str]) -> Iterator[tuple[int, int]]:
    """Where each word stands in the text; one with an escape or a quote inside of it stands nowhere.

    Looked for without the id, of whose letters another service has others; its substitute is as long.
    """
    text, end = text.replace(service, SOMEBODY), 0
    for word in words:
        looked_for = word.replace(service, SOMEBODY)
        begin = text.find(looked_for, end)
        if begin < 0:
            raise _Doubtful
        end = begin + len(looked_for)
        yield begin, end


def _changed(service: str, document: Any, changes: list[Change]) -> Any:
    for at, kind, value in changes:
        place = document
        for key in at[:-1]:
            place = place[key]
        if kind == "cut":
            text = place[at[-1]]
            place[at[-1]] = [text[begin:end] for begin, end in value]
        else:
            place[at[-1]] = f"{service}_{at[-2]}" if kind == "named" else value
    return document


# What is kept


def _read(path: str) -> list[Change] | None:
    """None if there is none, or one that is too old or is not as it was written."""
    text = places.read(path) if _is_young(path) else None
    seal, _, body = (text or "").partition("\n")
    if seal != _seal(path, body):
        return None
    changes: list[Change] = json.loads(body)
    return changes


def _write(path: str, changes: list[Change]) -> None:
    body = json.dumps(changes)
    places.write(path, f"{_seal(path, body)}\n{body}")


def _seal(path: str, body: str) -> str:
    return hashlib.sha256(f"{os.path.basename(path)}\n{body}".encode()).hexdigest()


def _tidy(kept: str) -> None:
    found = sorted((f"{kept}/{name}" for name in os.listdir(kept)), key=_written)
    for number, path in enumerate(found, start=1):
        if number <= len(found) - MOST or not _is_young(path):
            with suppress(FileNotFoundError):  # another one tidies, too
                os.unlink(path)


def _is_young(path: str) -> bool:
    return 0 <= time.time() - _written(path) < KEPT_S


def _written(path: str) -> float:
    """0 where there is none (any more)."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0

"""The verb `tree`: what a fetched repository holds, by name, and the text of the few files that tell how to run it.

Names are a customer's, and so are links: what is read lies in the repository and is a plain file, or it is not read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from . import places
from .refusals import Refused

MOST_FILES = 5000
MOST_TEXT = 64 << 10
MOST_TEXTS = 512 << 10
DEEPEST = 2  # folders between the one that is deployed and a file that is read


def tree(request: dict[str, Any]) -> dict[str, Any]:
    """`wanted` are patterns of file names; `paths` are files wanted wherever they lie."""
    root = places.source_folder(places.service_id(request["service"]))
    if not os.path.isdir(root):
        raise Refused("CommandFailed", "no repository was fetched for this service")
    names = _names(root)
    files = [name for _, name in zip(range(MOST_FILES), names)]  # noqa: B905 - python 3.9 has no `strict`
    truncated = next(names, None) is not None
    near = [name for name in files if _is_near(name, request.get("path") or "")]
    # Those called as the first patterns say tell most, and of these the ones nearest to the root.
    telling = sorted(pair for name in near if (pair := _rank(name, request["wanted"])))
    asked = [*request.get("paths", []), *(name for _, _, name in telling)]
    return {"files": sorted(files), "truncated": truncated, "texts": _texts(root, asked)}


def _names(root: str) -> Iterator[str]:
    """Folders nearest to the root first, so that what is cut off is what lies deepest."""
    waiting = [""]
    while waiting:
        deeper = []
        for folder in waiting:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    name = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        deeper.append(name + "/")
                    elif name.isprintable():
                        yield name
        waiting = deeper


def _is_near(name: str, path: str) -> bool:
    inside = name[len(path) + 1 :] if path and name.startswith(path + "/") else name
    return inside.count("/") <= DEEPEST


def _rank(name: str, wanted: list[str]) -> tuple[int, int, str] | None:
    base = name.rpartition("/")[2]
    rank = next((index for index, pattern in enumerate(wanted) if fnmatchcase(base, pattern)), None)
    return None if rank is None else (name.count("/"), rank, name)


def _texts(root: str, names: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    left = MOST_TEXTS
    for name in dict.fromkeys(names):
        text = read(root, name)
        if text is not None and len(text) <= min(left, MOST_TEXT):
            texts[name] = text.decode("utf-8", "replace")
            left -= len(text)
    return texts


def read(root: str, name: str) -> bytes | None:
    """A plain file of the repository, as far as it may be large; None for anything else."""
    real, home = os.path.realpath(f"{root}/{name}"), os.path.realpath(root)
    if not real.startswith(home + os.sep):
        return None
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        return file.read(MOST_TEXT + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

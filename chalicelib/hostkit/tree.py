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
    asked = [*request.get("paths", []), *(name for name in files if _is_wanted(name, request))]
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


def _is_wanted(name: str, request: dict[str, Any]) -> bool:
    prefix = request.get("path") or ""
    inside = name[len(prefix) + 1 :] if prefix and name.startswith(prefix + "/") else name
    folders = inside.count("/")
    base = name.rpartition("/")[2]
    return folders <= DEEPEST and any(fnmatchcase(base, pattern) for pattern in request["wanted"])


def _texts(root: str, names: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    left = MOST_TEXTS
    # What lies nearest to the root tells most.
    for name in sorted(dict.fromkeys(names), key=lambda name: (name.count("/"), name)):
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

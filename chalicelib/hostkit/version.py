"""Which kit this is: a short hash over its own files, the same on both ends of the connection."""

from __future__ import annotations

import os

FOLDER = os.path.dirname(os.path.abspath(__file__))


def version() -> str:
    """Twelve hexadecimal digits. A changed file is another version: an old kit is never mistaken for this one."""
    import hashlib  # only `check` asks on the host; the other verbs should not pay for it  # noqa: PLC0415

    digest = hashlib.sha256()
    for name, text in sorted(files().items()):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:12]


def files() -> dict[str, str]:
    """The kit's source, by file name."""
    found = {}
    for name in sorted(os.listdir(FOLDER)):
        if name.endswith(".py"):
            with open(os.path.join(FOLDER, name), encoding="utf-8") as source:
                found[name] = source.read()
    return found

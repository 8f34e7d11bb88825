"""A folder of the repository as the engine is sent it: a tar without what `.dockerignore` leaves out.

Written here rather than by `docker build`, which follows a Dockerfile that is a link out of the repository. Owners and
times are left out, and modes are plain, so that the same files make the same layers wherever they were fetched.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from . import tree

IGNORE = ".dockerignore"
EXECUTABLE, PLAIN = 0o755, 0o644


def write(folder: str, root: str, files: dict[str, str], tar: BinaryIO) -> None:
    """`folder`, of the repository at `root`, with the texts of `files` in place of its own."""
    ignore = tree.read(root, os.path.relpath(f"{folder}/{IGNORE}", root)) or b""
    rules = patterns(files.get(IGNORE) or ignore.decode("utf-8", "replace"))
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _paths(folder, rules):
            if path not in files:
                _add(archive, folder, path)
        for path, text in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), PLAIN
            archive.addfile(entry, io.BytesIO(text.encode()))
        end = archive.offset + 2 * tarfile.BLOCKSIZE
    # The engine reads up to the end mark; what Python writes behind it would make it drop the connection unread.
    tar.truncate(end)


def _paths(folder: str, rules: list[Rule]) -> Iterator[str]:
    negated = any(keep for keep, _ in rules)
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(f"{folder}/{below}") as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = below + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                left_out = path != IGNORE and ignored(path, rules)
                if is_folder and (not left_out or negated):  # a later rule may want something of it back
                    waiting.append(path + "/")
                if not left_out:
                    yield path


def _add(archive: tarfile.TarFile, folder: str, path: str) -> None:
    entry = archive.gettarinfo(f"{folder}/{path}", path)
    if entry is None or not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        return
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = EXECUTABLE if entry.isdir() or entry.mode & 0o100 else PLAIN
    if entry.islnk():  # two names of one file here are two files there
        entry.type, entry.size = tarfile.REGTYPE, os.stat(f"{folder}/{path}").st_size
    if entry.isreg():
        with open(f"{folder}/{path}", "rb") as file:
            archive.addfile(entry, file)
    else:
        archive.addfile(entry)


Rule = tuple[bool, "re.Pattern[str]"]


def patterns(text: str) -> list[Rule]:
    """The rules of a `.dockerignore`, in order; true where it begins with `!` and keeps what it matches."""
    rules = []
    for line in text.lstrip("\ufeff").splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        keep = rule.startswith("!")
        pattern = os.path.normpath(rule[1:].strip() if keep else rule).lstrip("/")
        if pattern in ("", "."):
            continue
        rules.append((keep, re.compile(_expression(pattern))))
    return rules


def ignored(path: str, rules: list[Rule]) -> bool:
    """The last rule that matches it, or a folder it lies in, decides."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    left_out = False
    for keep, expression in rules:
        if left_out == keep and any(expression.fullmatch(name) for name in above):
            left_out = not keep
    return left_out


def _expression(pattern: str) -> str:
    """As Docker reads it: `*` and `?` within one name, `**` over any number of folders, `[…]`, and `\\` to quote."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                out, at = out + "(?:.*/)?", at + 1
            else:
                out += ".*"
            continue
        sign, at = pattern[at], at + 1
        if sign == "*":
            out += "[^/]*"
        elif sign == "?":
            out += "[^/]"
        elif sign == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            inner = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            out, at = out + f"[{inner}]", end + 1
        elif sign == "\\" and at < len(pattern):
            out, at = out + re.escape(pattern[at]), at + 1
        else:
            out += re.escape(sign)
    return out

"""Whom sshd lets in as this user, by `~/.ssh/authorized_keys`: the verbs `authorize` and `authorized`.

A key is named as `type base64`; its line may have options before it and a comment behind. No other byte of the file is
changed. A change is on the disk before it is answered: whoever hears of it may throw the only other key away.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from typing import Any

from .fence import fenced
from .refusals import Refused

FILE = ".ssh/authorized_keys"
_HOST_ID = re.compile(r"host_[a-z0-9]{16}")
_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}")


def authorized(request: dict[str, Any]) -> dict[str, Any]:
    """Which of these `keys` have a line."""
    return {"standing": _standing(_lines(), _keys(request["keys"]))}


def authorize(request: dict[str, Any]) -> dict[str, Any]:
    """Give each key of `add` a line, with the options of `like`'s, and take the lines of `remove` away."""
    like, add, remove = _keys([request["like"]])[0], _keys(request["add"]), _keys(request["remove"])
    with fenced(_host_id(request["host"]), request["fence"]):
        lines = before = _lines()
        for key in add:
            lines = _with(lines, key, like)
        lines = [line for line in lines if not _is_of(line, remove)]
        if lines != before:
            _replace(b"\n".join(lines))
    return {"standing": _standing(lines, [*add, *remove])}


def _lines() -> list[bytes]:
    """The last is what stands behind the last line's end: nothing, as a rule."""
    if os.path.exists(FILE) and not os.path.isfile(FILE):
        raise Refused("CommandFailed", f"~/{FILE} is no file that a key could be put into")
    try:
        with open(FILE, "rb") as file:
            return file.read().split(b"\n")
    except FileNotFoundError:
        return [b""]
    except OSError as error:
        raise Refused("CommandFailed", f"~/{FILE} cannot be read: {error}") from error


def _standing(lines: list[bytes], keys: Iterable[str]) -> list[str]:
    return [key for key in keys if any(_is_of(line, [key]) for line in lines)]


def _with(lines: list[bytes], key: str, like: str) -> list[bytes]:
    """Right behind `like`'s line and in its manner; at the end, where that stands elsewhere."""
    if _standing(lines, [key]):
        return lines
    for index, line in enumerate(lines):
        parts = _parts(line, like)
        if parts:
            fresh = parts[0] + key.encode() + parts[1]
            return [*lines[: index + 1], fresh, *lines[index + 1 :]]
    whole = lines[:-1] if not lines[-1] else lines
    return [*whole, key.encode(), b""]


def _is_of(line: bytes, keys: list[str]) -> bool:
    return any(_parts(line, key) for key in keys)


def _parts(line: bytes, key: str) -> tuple[bytes, bytes] | None:
    """What stands before and behind the key in its own line; None in any other."""
    text = line.strip()
    if text.startswith(b"#"):
        return None
    for options in (b"", text[: _end_of_options(text)]):
        words = text[len(options) :].split(None, 2)
        if words[:2] == key.encode().split():
            comment = b" " + words[2] if words[2:] else b""
            return options, comment
    return None


def _end_of_options(text: bytes) -> int:
    """As sshd reads them: to the first blank outside of quotes, and the blanks behind it."""
    quoted = False
    for index, sign in enumerate(text):
        if sign == ord('"') and text[index - 1 : index] != b"\\":
            quoted = not quoted
        elif sign in b" \t" and not quoted:
            return len(text) - len(text[index:].lstrip())
    return len(text)


def _replace(content: bytes) -> None:
    """Whole or not at all, with the mode, group and attributes that the file had."""
    path = os.path.realpath(FILE)  # it may be a link, which stays
    folder = os.path.dirname(path)
    fresh = path + ".slipway"  # one that a kill left is written over
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(fresh, "wb") as file:
            if os.path.exists(path):
                _resemble(fresh, path)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, path)
        _settle(folder)
    except OSError as error:
        raise Refused("CommandFailed", f"~/{FILE} cannot be changed: {error}") from error
    finally:
        if os.path.exists(fresh):
            os.remove(fresh)


def _resemble(fresh: str, path: str) -> None:
    owner = os.stat(path)
    if owner.st_uid != os.geteuid():
        raise Refused("CommandFailed", f"~/{FILE} belongs to another user of the host: it is kept by somebody else")
    os.chown(fresh, -1, owner.st_gid)
    shutil.copystat(path, fresh)


def _settle(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host_id(text: Any) -> str:
    if not isinstance(text, str) or not _HOST_ID.fullmatch(text):
        raise Refused("CommandFailed", f"host: {text!r} is not a host id (host_ and 16 lowercase letters or digits)")
    return text


def _keys(texts: Any) -> list[str]:
    for text in texts:
        if not isinstance(text, str) or not _KEY.fullmatch(text):
            raise Refused("CommandFailed", f"{text!r} is not a public key: its type, a space, and its base64")
    return list(texts)

"""Mounts: named and anonymous volumes and tmpfs, in both ways of writing them. Everything else reaches the host."""

import posixpath
import re
from typing import Any

from chalicelib.domain.compose.findings import Verdict, under
from chalicelib.domain.compose.values import (
    DROP,
    boolean,
    few,
    ignored,
    integer,
    matching,
    set_of,
    size,
    table,
    text,
    unless_nothing,
    wrong,
)

VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SOCKET = re.compile(r"(docker|podman|containerd|crio)[\w.-]*\.sock", re.IGNORECASE)
_SHORT_OPTIONS = {"rw", "ro", "nocopy", "z", "Z", "cached", "delegated", "consistent"}
_MOST_MOUNTS = 100
_SYSTEM_TARGETS = ("/proc", "/sys", "/dev")
_TMPFS_OPTION = (
    r"(size=\d{1,12}[kKmMgG]?|mode=[0-7]{3,4}|uid=\d{1,10}|gid=\d{1,10}|nr_inodes=\d{1,10}[kKmMgG]?"
    r"|ro|rw|exec|noexec|suid|nosuid|dev|nodev|sync|async|atime|noatime|nodiratime|relatime|strictatime)"
)
_tmpfs_text = matching(
    rf"/[^:,]*(:{_TMPFS_OPTION}(,{_TMPFS_OPTION})*)?",
    "a path, and size, mode, uid or gid perhaps: /run:size=64m",
    "mount",
)


def volumes(value: Any, path: str, verdict: Verdict) -> Any:
    if not isinstance(value, list):
        return wrong(value, path, verdict, "a list of volumes")
    found: list[Any] = []
    for index, item in enumerate(few(value, path, verdict, _MOST_MOUNTS)):
        mount = _mount(item, under(path, index), verdict)
        if mount is not DROP and mount not in found:
            found.append(mount)
    return found


def tmpfs(value: Any, path: str, verdict: Verdict) -> Any:
    entries: Any = set_of(_tmpfs, or_one=True)(value, path, verdict)
    return entries


def _tmpfs(item: Any, path: str, verdict: Verdict) -> Any:
    entry = _tmpfs_text(item, path, verdict)
    if entry is DROP or _target(entry.partition(":")[0], path, verdict) is DROP:
        return DROP
    return entry


def _mount(item: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(item, dict):
        return _long(item, path, verdict)
    if isinstance(item, str):
        return _short(item, path, verdict)
    return wrong(item, path, verdict, "a volume such as data:/var/lib/app")


def _short(item: str, path: str, verdict: Verdict) -> Any:
    source, colon, rest = item.partition(":")
    if not colon:
        source, rest = "", item
    target, _, options = rest.partition(":")
    chosen = options.split(",") if options else []
    if not set(chosen) <= _SHORT_OPTIONS:
        verdict.refuse(path, "mount", "use no options but ro, rw and nocopy")
        return DROP
    mount: dict[str, Any] = {"type": "volume", "source": source, "target": target}
    if "ro" in chosen:
        mount["read_only"] = True
    if "nocopy" in chosen:
        mount["volume"] = {"nocopy": True}
    return _judged(mount, path, verdict)


_BIND = ("host-bind", "use a named volume; files of the host cannot be mounted")
_OUTSIDE = ("mount", "remove this key; parts of images, clusters and pipes are not mounted")
_LONG = table(
    {
        "type": text,
        "source": text,
        "target": text,
        "read_only": boolean,
        "volume": table(
            {"nocopy": boolean, "labels": ignored},
            {"subpath": ("mount", "mount the whole volume; a part of one is not supported")},
        ),
        "tmpfs": table({"size": size(4096, 2**40), "mode": unless_nothing(integer(0, 0o7777, "mount"))}),
        "consistency": ignored,
    },
    {"bind": _BIND, "image": _OUTSIDE, "cluster": _OUTSIDE, "npipe": _OUTSIDE},
)


def _long(item: dict[str, Any], path: str, verdict: Verdict) -> Any:
    return _judged(_LONG(item, path, verdict), path, verdict)


def _judged(mount: dict[str, Any], path: str, verdict: Verdict) -> Any:
    kind, source = mount.get("type"), mount.get("source", "")
    if isinstance(kind, str) and kind not in ("volume", "tmpfs", "bind"):
        verdict.refuse(under(path, "type"), "mount", "use a mount of type volume or tmpfs")
        return DROP
    if _SOCKET.search(source):
        verdict.refuse(path, "docker-socket", "remove it; a service must not control the host's Docker")
        return DROP
    if kind == "bind" or source.startswith((".", "/", "~", "\\")) or "/" in source or "\\" in source:
        verdict.refuse(path, *_BIND)
        return DROP
    if kind is None:
        verdict.refuse(under(path, "type"), "mount", "say the type: volume or tmpfs")
        return DROP
    if kind == "tmpfs" and source:
        verdict.refuse(under(path, "source"), "mount", "a tmpfs has no source")
        return DROP
    return _normal(mount, kind, source, path, verdict)


def _normal(mount: dict[str, Any], kind: str, source: str, path: str, verdict: Verdict) -> Any:
    if source and len(source) == 1:
        verdict.refuse(path, "volume-name", "give the volume a name of two characters or more")
        return DROP
    if source and not VOLUME_NAME.fullmatch(source):
        verdict.refuse(path, "volume-name", "name volumes with letters, digits, _, . and -")
        return DROP
    target = _target(mount.get("target"), path, verdict)
    if target is DROP:
        return DROP
    normal: dict[str, Any] = {"type": kind} | ({"source": source} if source else {}) | {"target": target}
    if mount.get("read_only"):
        normal["read_only"] = True
    if kind == "volume" and mount.get("volume", {}).get("nocopy"):
        normal["volume"] = {"nocopy": True}
    if kind == "tmpfs" and mount.get("tmpfs"):
        normal["tmpfs"] = mount["tmpfs"]
    return normal


def _target(target: Any, path: str, verdict: Verdict) -> Any:
    """Docker follows `..` inside the container's root only; the policy still judges where it ends."""
    if not isinstance(target, str) or not target.startswith("/") or ":" in target:
        verdict.refuse(path, "mount", "mount at an absolute path without colons")
        return DROP
    clean = posixpath.normpath("/" + target.lstrip("/"))
    system = any(clean == top or clean.startswith(f"{top}/") for top in _SYSTEM_TARGETS)
    if clean == "/" or (system and clean != "/dev/shm"):  # noqa: S108 - a path inside the container
        verdict.refuse(path, "mount", "mount elsewhere than on / or in /proc, /sys or /dev")
        return DROP
    return clean

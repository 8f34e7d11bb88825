"""`build:` as it may be written in a repository's compose file: folders inside of the repository, and arguments.

What reaches further (other contexts, secrets, SSH agents, the host's network, privileges) is refused by name, so that a
file that asks for it is told why.
"""

import posixpath
from typing import Any

from chalicelib.domain.compose.findings import Verdict
from chalicelib.domain.compose.values import (
    DROP,
    dropped,
    ignored,
    matching,
    optional,
    pairs,
    table,
    text,
    wrong,
)

_STAGE = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}", "a stage of the Dockerfile")


def build(value: Any, path: str, verdict: Verdict) -> Any:
    """The context as a folder of the repository, and the Dockerfile as a path in the repository."""
    if verdict.folder is None:
        verdict.refuse(path, "build", "remove it and name an image, or deploy from a git repository")
        return DROP
    read = _build({"context": value} if isinstance(value, str) else value, path, verdict)
    if read is DROP:
        return DROP
    context = inside(verdict.folder, read.get("context", "."), f"{path}.context", verdict)
    wanted = read.get("dockerfile", "Dockerfile")
    dockerfile = inside("" if context is DROP else context, wanted, f"{path}.dockerfile", verdict)
    if context is DROP or dockerfile is DROP:
        return DROP
    return {**read, "context": context, "dockerfile": dockerfile}


def inside(folder: str, name: str, path: str, verdict: Verdict) -> Any:
    """`name`, as seen from `folder`, as a path of the repository."""
    if "://" in name or name.startswith(("/", "~", "-")) or "\\" in name or not name.isprintable():
        verdict.refuse(path, "build", "name a folder or file of the repository, by a relative path")
        return DROP
    found = posixpath.normpath(posixpath.join(folder, name))
    if found == ".." or found.startswith("../"):
        verdict.refuse(path, "build", "stay inside of the repository")
        return DROP
    return "" if found == "." else found


def _args(value: Any, path: str, verdict: Verdict) -> Any:
    return pairs(value, path, verdict)


def _dockerfile(value: Any, path: str, verdict: Verdict) -> Any:
    return text(value, path, verdict) if value != "" else wrong(value, path, verdict, "a file's name")


_OUTSIDE = ("build", "remove it; a build reads the repository and its arguments, and nothing else")
_build = table(
    {
        "context": text,
        "dockerfile": optional(_dockerfile),
        "args": optional(_args),
        "target": optional(_STAGE),
        "labels": ignored,
        "tags": ignored,
        "cache_from": ignored,
        "cache_to": ignored,
        "no_cache": ignored,
        "pull": ignored,
        "provenance": ignored,
        "sbom": ignored,
        "shm_size": dropped("removed: builds have the limits that Slipway gives them"),
        "ulimits": dropped("removed: builds have the limits that Slipway gives them"),
        "platforms": dropped("removed: images are built for the host that runs them"),
    },
    {
        "dockerfile_inline": ("build", "write it into a Dockerfile in the repository"),
        **dict.fromkeys(
            (
                "additional_contexts",
                "secrets",
                "ssh",
                "network",
                "privileged",
                "entitlements",
                "extra_hosts",
                "isolation",
            ),
            _OUTSIDE,
        ),
    },
)

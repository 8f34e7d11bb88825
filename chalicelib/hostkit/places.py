"""Where everything of ours lies on a host: under `.slipway` in the SSH user's home, which is where a session starts.

Ids and job names become folder names, so they are checked here, whoever sent them.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from .refusals import Refused

HOME = ".slipway"
SERVICES = HOME + "/services"
JOBS = HOME + "/jobs"
EDGE = HOME + "/edge"
ROUTES = EDGE + "/routes"

_SERVICE_ID = re.compile(r"svc_[a-z0-9]{16}")
_JOB_NAME = re.compile(r"job_[a-z0-9]{16}(\.[a-z0-9-]{1,40}){0,3}")


def service_id(text: Any) -> str:
    if not isinstance(text, str) or not _SERVICE_ID.fullmatch(text):
        raise Refused(
            "CommandFailed", f"service: {text!r} is not a service id (svc_ and 16 lowercase letters or digits)"
        )
    return text


def job_name(text: Any) -> str:
    if not isinstance(text, str) or not _JOB_NAME.fullmatch(text):
        raise Refused(
            "CommandFailed", f"job: {text!r} is not a job name (a job id, then words of [a-z0-9-] after dots)"
        )
    return text


def service_folder(service: str) -> str:
    return f"{SERVICES}/{service}"


def release_folder(service: str, release: Any) -> str:
    return f"{service_folder(service)}/releases/{int(release)}"


def compose_file(service: str, release: Any) -> str:
    return release_folder(service, release) + "/compose.json"


def source_folder(service: str) -> str:
    """A repository's files at the commit that was last fetched."""
    return service_folder(service) + "/source"


def git_folder(service: str) -> str:
    """What git keeps between two fetches, outside of the files, so that no build sees it."""
    return service_folder(service) + "/git"


def write(path: str, text: str) -> None:
    """Whole or not at all, and readable by nobody else: the umask is 077."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fresh = f"{path}.{os.getpid()}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(fresh, path)


def read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def read_json(path: str) -> Any:
    text = read(path)
    return None if text is None else json.loads(text)

"""Pulling an image through the engine, which is what `docker pull` does, with its progress as plain lines."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from . import engine

IDLE_S = 300  # a registry may take its time between two lines, not more
HUB_NAMES = ("docker.io", "index.docker.io")
HUB_SERVER = "https://index.docker.io/v1/"  # what `docker login` calls Docker Hub; newer engines compare it
NOISE = ("Waiting", "Downloading", "Extracting", "Verifying Checksum", "Download complete", "Pulling fs layer")


def pull(reference: str, credentials: dict[str, Any] | None, say: Callable[[str], None]) -> bool:
    """Whether the image is there now. `credentials` are `{registry: {"username", "password"}}`."""
    say(f"pulling {reference}")
    # Without a tag the engine would pull every tag there is.
    whole = reference if _has_tag(reference) else reference + ":latest"
    headers = _credentials(reference, credentials or {})
    try:
        with engine.Stream(
            "POST", f"/v{engine.api()}/images/create", None, {"fromImage": whole}, headers, IDLE_S
        ) as stream:
            told = [_told(json.loads(line), reference, say) for line in stream.lines() if line.strip()]
            return all(told)
    except engine.EngineError as error:
        say(f"error: {reference}: {error.message}")
        return False


def registry_of(reference: str) -> str:
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _has_tag(reference: str) -> bool:
    return "@" in reference or ":" in reference.rpartition("/")[2]


def _credentials(reference: str, credentials: dict[str, Any]) -> dict[str, str]:
    known = credentials.get(registry_of(reference))
    if known is None:
        return {}
    registry = registry_of(reference)
    text = json.dumps({**known, "serveraddress": HUB_SERVER if registry in HUB_NAMES else registry})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(text.encode()).decode()}


def _told(event: dict[str, Any], reference: str, say: Callable[[str], None]) -> bool:
    if "error" in event:
        detail = (event.get("errorDetail") or {}).get("message") or event["error"]
        say(f"error: {reference}: {detail}")
        return False
    if event.get("status") and event["status"] not in NOISE:
        say(": ".join(filter(None, (event.get("id"), event["status"]))))
    return True

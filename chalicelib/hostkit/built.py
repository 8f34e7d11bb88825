"""The images that were built here for a service: named after it and its release, and labelled, their layers too.

By the name they are told from an image that only carries the label: a label is whatever its author wrote.
"""

from __future__ import annotations

from typing import Any

from . import engine, places
from .fence import fenced

PREFIX = "slipway/"
Image = dict[str, Any]


def forget_images(request: dict[str, Any]) -> dict[str, Any]:
    """The verb `forget_images`: remove every image built for the service but those in `keep`; what stays."""
    service = places.service_id(request["service"])
    with fenced(service, request["fence"]):
        for reference in set(references(service)) - set(request["keep"]):
            _remove(reference)
    return {"images": references(service)}


def references(service: str) -> list[str]:
    """Their names."""
    return sorted(name for image in _labelled(service) for name in image.get("RepoTags") or [] if _is_of(name, service))


def remove_all(service: str) -> None:
    """The service is going: its images, and the layers that its builds could have begun from."""
    for reference in references(service):
        _remove(reference)
    prune({"label": [f"slipway.service={service}"]})


def prune(more: dict[str, list[str]]) -> None:
    """Remove what no image needs: the layers of builds that were kept to begin later ones from."""
    engine.request("POST", "/images/prune", query={"filters": {"dangling": ["true"], **more}}, timeout=120)


def _labelled(service: str) -> list[Image]:
    found: list[Image] = engine.get("/images/json", filters={"label": [f"slipway.service={service}"]})
    return found


def _is_of(reference: str, service: str) -> bool:
    return reference.startswith((f"{PREFIX}{service}:", f"{PREFIX}{service}/"))


def _remove(reference: str) -> None:
    try:
        engine.delete(f"/images/{reference}")
    except engine.EngineError as error:
        # In use by a container that is still there, or gone already: the next look tells.
        if error.status not in (engine.CONFLICT, engine.NOT_FOUND):
            raise

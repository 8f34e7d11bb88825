"""Credentials for private images: one login of a customer at a registry."""

import hashlib
import re

from chalicelib.domain.words import Noun

DOCKER_HUB = "docker.io"
_HUB_BY_ITS_OLD_NAME = "index.docker.io"  # images that name it are Docker Hub's to Docker
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_ADDRESS = re.compile(rf"{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?")
_LAST_PORT = 65_535


class Registry(Noun):
    """`registry` is as images name it: `host[:port]` in lower case, `docker.io` for Docker Hub."""

    id: str
    customer_id: str
    registry: str
    username: str
    sealed_password: bytes
    created_at: str


def id_of(customer_id: str, registry: str) -> str:
    """The id of this customer's login there: made of the two, so that there is one and it is found without a search."""
    number = int.from_bytes(hashlib.sha256(f"{customer_id} {canonical(registry)}".encode()).digest())
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "reg_" + "".join(letters[number // 36**place % 36] for place in range(16))


def canonical(registry: str) -> str:
    lower = registry.lower()
    return DOCKER_HUB if lower == _HUB_BY_ITS_OLD_NAME else lower


def parse_registry(text: str) -> str:
    """The registry as images name it; `ValueError` if none could."""
    registry = canonical(text)
    if not _ADDRESS.fullmatch(registry):
        raise ValueError("must be host or host:port, as images name it: no https://, no path; docker.io for Docker Hub")
    port = registry.partition(":")[2]
    if port and not 0 < int(port) <= _LAST_PORT:
        raise ValueError(f"must have a port from 1 to {_LAST_PORT}")
    # Docker takes the first part of an image's name for a registry only then.
    if "." not in registry and ":" not in registry and registry != "localhost":
        raise ValueError("must have a dot or a port, or Docker takes it for a part of Docker Hub; that is docker.io")
    return registry

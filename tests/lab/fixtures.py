"""Lab hosts as fixtures: brought up when the first test asks, kept for the whole run, mended before each test."""

from collections.abc import Iterator

import pytest

from infra.local import images
from tests.lab import ground
from tests.lab.hosts import Lab, LabHost


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """An empty lab: ask it for hosts by name."""
    reason = ground.missing()
    if reason:
        pytest.skip(f"no lab here: {reason}")
    with Lab() as running:
        yield running


@pytest.fixture
def lab_host(lab: Lab) -> LabHost:
    """One host, sound, with busybox, the edge and the demo image on it."""
    return _ready(lab, "h1")[0]


@pytest.fixture
def lab_hosts(lab: Lab) -> tuple[LabHost, LabHost]:
    """Two of them."""
    first, second = _ready(lab, "h1", "h2")
    return first, second


def _ready(lab: Lab, *names: str) -> list[LabHost]:
    hosts = lab.hosts(*names)
    for host in hosts:
        host.mend()
    lab.images(images.BUSYBOX, images.EDGE, images.DEMO)
    return hosts

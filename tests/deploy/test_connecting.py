"""Steps of different hosts do not wait for each other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chalicelib import wiring
from chalicelib.deploy.work import Work
from chalicelib.domain.job import Job


class Hosts:
    """Hosts by name; connecting to the one called `dead` lasts until the test has ended."""

    def __init__(self) -> None:
        self.trying, self.over = threading.Event(), threading.Event()
        self.hosts = SimpleNamespace(get=lambda host_id: host_id)

    def connected(self, host: str) -> str:
        if host == "dead":
            self.trying.set()
            self.over.wait(10)
        return f"{host}, connected"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    adapters = Hosts()
    wiring.use(cast("Any", adapters))
    yield adapters
    adapters.over.set()
    wiring.use(None)


def test_a_step_on_a_dead_host_holds_up_no_other(hosts: Hosts) -> None:
    dead, sound = (Work("Up", Job.model_construct(host_id=host)) for host in ("dead", "sound"))
    with ThreadPoolExecutor(2) as steps:
        steps.submit(lambda: dead.remote)
        hosts.trying.wait(5)

        other = steps.submit(lambda: sound.remote)
        try:
            assert cast("Any", other.result(timeout=5)) == "sound, connected"
        finally:
            hosts.over.set()

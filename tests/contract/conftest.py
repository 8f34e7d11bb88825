"""One world for all tests of a module: each settles it before it asks, and asks for things that are new."""

from collections.abc import Iterator

import pytest
from chalice.test import Client

import app
from chalicelib import wiring
from tests.api.conftest import Api
from tests.contract.world import World
from tests.emulator import Panel


@pytest.fixture(scope="module")
def shared_world(local_aws: str) -> Iterator[World]:
    adapters = Panel(local_aws)
    wiring.use(adapters)
    yield World(adapters)
    wiring.use(None)


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.settle()
    return shared_world


@pytest.fixture(scope="module")
def api(shared_world: World) -> Iterator[Api]:
    with Client(app.app) as client:
        yield Api(client, shared_world.panel.a_token("admin"))

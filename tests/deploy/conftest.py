"""The host that the steps under test run on."""

import pytest

from chalicelib.deploy import work as work_module
from tests.deploy.fakes import FakeHost
from tests.emulator import Panel


@pytest.fixture
def host(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = FakeHost()
    monkeypatch.setattr(type(panel), "connected", lambda self, host: fake)
    monkeypatch.setattr(work_module, "POLL_SECONDS", 0.2)
    monkeypatch.setattr("chalicelib.deploy.steps.POLL_SECONDS", 0.2)
    work_module._source.cache_clear()
    return fake

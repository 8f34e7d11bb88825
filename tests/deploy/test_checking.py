"""A host's check is kept for what was checked."""

import pytest

from chalicelib.deploy import calls
from chalicelib.domain.errors import Conflict
from tests.deploy.fakes import FakeHost
from tests.emulator import Panel


def test_a_check_of_a_host_that_was_moved_meanwhile_is_not_kept(panel: Panel, host: FakeHost) -> None:
    one = panel.a_host()

    def move(_: object) -> dict[str, list[str]]:
        panel.hosts.change(panel.hosts.get(one.id), address="192.0.2.2", status="new")
        return {"problems": []}

    host.answers |= {"check": move, "edge": {}}
    with pytest.raises(Conflict, match="address"):
        calls.check_host(one.id)

    assert panel.hosts.get(one.id).status == "new"
    host.answers["check"] = {"problems": []}
    assert calls.check_host(one.id) == {"status": "ready"}
    assert panel.hosts.get(one.id).status == "ready"


def test_a_check_is_kept_though_the_host_was_renamed_meanwhile(panel: Panel, host: FakeHost) -> None:
    one = panel.a_host()

    def rename(_: object) -> dict[str, list[str]]:
        panel.hosts.change(panel.hosts.get(one.id), name="renamed", status="new")
        return {"problems": []}

    host.answers |= {"check": rename, "edge": {}}

    assert calls.check_host(one.id) == {"status": "ready"}
    assert (panel.hosts.get(one.id).name, panel.hosts.get(one.id).status) == ("renamed", "ready")

"""A checked host has its agent: the program of this version, a token that counts, and somebody who keeps it running."""

import hashlib
import json
from typing import Any

import pytest

from chalicelib.commands import agent
from chalicelib.deploy import calls
from chalicelib.domain.errors import HostNotReady
from chalicelib.domain.panel import parse_agent_token
from chalicelib.settings import Settings
from tests.deploy.fakes import FakeHost
from tests.emulator import Panel

PROGRAM, CONFIG = ".slipway/agent/agent.pyz", ".slipway/agent/config.json"


@pytest.fixture
def there(panel: Panel, host: FakeHost) -> FakeHost:
    """A sound host that takes an agent, as the kit tells of it."""
    known = panel.settings
    panel.__dict__["settings"] = Settings(
        table=known.table, public_url="https://api.example.com", websocket_url="wss://ws.example.com"
    )

    def told(request: dict[str, Any]) -> dict[str, Any]:
        config = json.loads(host.files.get(CONFIG, b"{}"))
        secret = config.get("token", "").rpartition("_")[2]
        return {
            "running": request["action"] == "ensure",
            "sha256": hashlib.sha256(host.files[PROGRAM]).hexdigest() if PROGRAM in host.files else None,
            "url": config.get("url"),
            "websocket_url": config.get("websocket_url"),
            "token_id": hashlib.sha256(secret.encode()).hexdigest()[:8] if secret else None,
        }

    host.answers |= {"check": {"problems": [], "docker": "26.1.5"}, "edge": {}, "agent": told}
    return host


def token(host: FakeHost) -> str:
    return str(json.loads(host.files[CONFIG])["token"])


def test_a_host_is_given_the_agent_and_a_token_of_its_own(panel: Panel, there: FakeHost) -> None:
    one = panel.a_host()

    assert calls.check_host(one.id) == {"status": "ready"}

    assert there.files[PROGRAM] == agent.package()
    config = json.loads(there.files[CONFIG])
    assert (config["url"], config["websocket_url"]) == (
        "https://api.example.com",
        "wss://ws.example.com/api/agent/socket",
    )
    assert config["host_id"] == one.id
    told, known = parse_agent_token(config["token"]), panel.agents.get(one.id)
    assert told is not None
    assert known is not None
    assert told[0] == one.id
    assert known.accepts(told[1])
    assert panel.hosts.get(one.id).facts["agent"] == "running"


def test_a_host_that_has_it_all_is_given_nothing_again(panel: Panel, there: FakeHost) -> None:
    one = panel.a_host()
    calls.check_host(one.id)
    before = token(there)
    there.files.pop(PROGRAM)
    there.files[PROGRAM] = agent.package()
    calls.check_host(one.id)

    assert token(there) == before


def test_a_revoked_token_and_one_that_we_do_not_know_are_replaced(panel: Panel, there: FakeHost) -> None:
    one = panel.a_host()
    calls.check_host(one.id)
    first = token(there)
    panel.agents.revoke(one.id)
    calls.check_host(one.id)
    second = token(there)
    there.files[CONFIG] = there.files[CONFIG].replace(second[-40:].encode(), b"a" * 40)
    calls.check_host(one.id)

    assert len({first, second, token(there)}) == 3
    known, told = panel.agents.get(one.id), parse_agent_token(token(there))
    assert known is not None
    assert told is not None
    assert known.accepts(told[1])


def test_an_agent_that_cannot_be_put_there_leaves_the_host_ready(panel: Panel, there: FakeHost) -> None:
    one = panel.a_host()
    there.answers["agent"] = HostNotReady("sshd offers no SFTP")

    assert calls.check_host(one.id) == {"status": "ready"}

    found = panel.hosts.get(one.id)
    assert found.facts["agent"] == "sshd offers no SFTP"
    assert found.problems == ()


def test_without_an_address_of_ours_hosts_get_no_agent(panel: Panel, host: FakeHost) -> None:
    host.answers |= {"check": {"problems": [], "docker": "26.1.5"}, "edge": {}}

    calls.check_host(panel.a_host().id)

    assert host.files == {}

"""What is kept of a host's agent: one token at a time, and the connection it listens on."""

from chalicelib.domain.panel import new_agent_token, parse_agent_token
from chalicelib.domain.words import new_id
from tests.emulator import Panel

HOST = "host_abcdefgh12345678"


def secret_of(text: str) -> str:
    parsed = parse_agent_token(text)
    assert parsed is not None
    return parsed[1]


def test_a_token_names_its_host_and_is_kept_as_a_hash(panel: Panel) -> None:
    text, hashed = new_agent_token(HOST)

    assert parse_agent_token(text) == (HOST, secret_of(text))
    agent = panel.agents.set_token(HOST, hashed)
    assert agent == panel.agents.get(HOST)
    assert agent.accepts(secret_of(text))
    assert secret_of(text) not in agent.model_dump_json()
    assert agent.token_id == hashed[:8]


def test_what_is_no_agents_token_is_none() -> None:
    for text in ("", "aap_k1_abcdefgh12345678_" + "a" * 40, "aap_h1_abcdefgh12345678_" + "a" * 39, "aap_h1_a_b"):
        assert parse_agent_token(text) is None


def test_a_fresh_token_ends_the_one_before_and_a_revoked_one_is_worth_nothing(panel: Panel) -> None:
    first, first_hash = new_agent_token(HOST)
    second, second_hash = new_agent_token(HOST)
    panel.agents.set_token(HOST, first_hash)
    panel.agents.revoke(HOST)

    agent = panel.agents.get(HOST)
    assert agent is not None
    assert not agent.accepts(secret_of(first))

    agent = panel.agents.set_token(HOST, second_hash)
    assert agent.accepts(secret_of(second))
    assert not agent.accepts(secret_of(first))


def test_an_old_connection_that_ends_does_not_hide_the_one_that_replaced_it(panel: Panel) -> None:
    panel.agents.set_token(HOST, new_agent_token(HOST)[1])
    panel.agents.connected(HOST, "one")
    panel.agents.connected(HOST, "two")
    panel.agents.disconnected(HOST, "one")

    agent = panel.agents.get(HOST)
    assert agent is not None
    assert agent.connection_id == "two"

    panel.agents.disconnected(HOST, "two")
    agent = panel.agents.get(HOST)
    assert agent is not None
    assert agent.connection_id is None


def test_what_an_agent_said_is_kept_over_a_fresh_token(panel: Panel) -> None:
    panel.agents.set_token(HOST, new_agent_token(HOST)[1])
    panel.agents.seen(HOST, "0123456789ab", "0123456789abcdef")
    agent = panel.agents.set_token(HOST, new_agent_token(HOST)[1])

    assert (agent.version, agent.boot) == ("0123456789ab", "0123456789abcdef")
    assert agent.last_seen is not None


def test_a_word_of_an_agent_that_is_not_known_leaves_nothing(panel: Panel) -> None:
    unknown = new_id("host")
    panel.agents.seen(unknown, "0123456789ab", "0123456789abcdef")
    panel.agents.connected(unknown, "one")
    panel.agents.disconnected(unknown, "one")
    panel.agents.revoke(unknown)

    assert panel.agents.get(unknown) is None

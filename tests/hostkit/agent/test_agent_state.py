"""What an agent asks before anything else: what the control plane remembers of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chalicelib.hostkit.agent.lanes import LONGEST_PAUSE_S, LONGEST_REVOKED_S, REVOKED_PAUSE_S
from chalicelib.hostkit.agent.running import Agent
from tests.hostkit.agent.control import Control


@pytest.fixture
def plane() -> Iterator[Control]:
    with Control() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> "Pauses":
    pauses = Pauses()
    monkeypatch.setattr("chalicelib.hostkit.agent.running.time.sleep", pauses)
    return pauses


class Pauses(list[float]):
    """Those that were made, in seconds, none of which takes any; after so many of them something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.then: dict[int, Callable[[], None]] = {}

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        assert len(self) < 50, "it never ends"
        self.then.get(len(self), lambda: None)()


def configured(folder: Path, plane: Control, **changes: str) -> None:
    (folder / "config.json").write_text(json.dumps({**plane.config(), **changes}))


def test_a_revoked_agent_asks_seldom_and_with_the_token_that_it_was_given_meanwhile(
    tmp_path: Path, plane: Control, pauses: Pauses
) -> None:
    configured(tmp_path, plane, token="revoked")
    pauses.then[6] = lambda: configured(tmp_path, plane)

    Agent(str(tmp_path), "v")._compare()

    longest = [min(REVOKED_PAUSE_S * 2**number, LONGEST_REVOKED_S) for number in range(6)]
    assert len(pauses) == len(longest)
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


def test_an_agent_that_is_not_answered_asks_soon_again(tmp_path: Path, plane: Control, pauses: Pauses) -> None:
    configured(tmp_path, plane, url=f"{plane.url}/elsewhere")
    pauses.then[10] = lambda: configured(tmp_path, plane)

    Agent(str(tmp_path), "v")._compare()

    assert len(pauses) == 10
    assert max(pauses) <= LONGEST_PAUSE_S


def test_pauses_for_a_revoked_token_do_not_become_those_of_a_control_plane_that_is_away(
    tmp_path: Path, plane: Control, pauses: Pauses
) -> None:
    configured(tmp_path, plane, token="revoked")
    pauses.then[1] = lambda: configured(tmp_path, plane, url=f"{plane.url}/elsewhere")
    pauses.then[2] = lambda: configured(tmp_path, plane)

    Agent(str(tmp_path), "v")._compare()

    revoked, away = pauses
    assert revoked >= REVOKED_PAUSE_S / 2
    assert away <= LONGEST_PAUSE_S


def test_an_agent_that_the_control_plane_is_ahead_of_begins_anew(
    tmp_path: Path, plane: Control, pauses: Pauses
) -> None:
    configured(tmp_path, plane)
    agent = Agent(str(tmp_path), "v")
    boot = agent._state.boot
    agent._compare()
    assert agent._state.boot == boot
    plane._lanes["live"] = {"boot": boot, "sequence": 7, "ended": True, "behind": []}

    agent._compare()

    assert agent._state.boot != boot
    assert not pauses

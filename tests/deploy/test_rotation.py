"""Rotating a host's SSH key, against a server that reads `~/.ssh/authorized_keys`; cut off, and overtaken, anywhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chalicelib.deploy.rotation import rotate_key
from chalicelib.domain.errors import (
    Changed,
    CommandFailed,
    Conflict,
    HostRefused,
    HostUnreachable,
    StaleFence,
    ValidationFailed,
)
from chalicelib.domain.panel import Host
from chalicelib.ssh import RemoteHost, close_all, generate_key
from chalicelib.store.hosts import HostStore
from tests.emulator import Panel
from tests.ssh.server import USER, SshServer

OTHERS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOthers ann"


class Crash(BaseException):
    """The process dies here."""


class Points(threading.local):
    """Every point before and behind what a rotation does outside of its process; at one of a thread's some happens."""

    passed = 0
    _at = 0
    _happens: Callable[[], Any] = bool

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, name in ((HostStore, "change"), (RemoteHost, "kit"), (Panel, "log_in")):
            monkeypatch.setattr(owner, name, self._around(getattr(owner, name)))

    def at(self, point: int, happens: Callable[[], Any]) -> None:
        self.passed, self._at, self._happens = 0, point, happens

    def _around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def surrounded(*given: Any, **more: Any) -> Any:
            self._pass()
            result = act(*given, **more)
            self._pass()
            return result

        return surrounded

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self._at:
            self._happens()


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Points:
    watched = Points()
    watched.watch(monkeypatch)
    return watched


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with SshServer(tmp_path) as running:
        running.authorized_keys = tmp_path / ".ssh" / "authorized_keys"
        running.authorized_keys.parent.mkdir()
        yield running
        close_all()


@pytest.fixture
def host(panel: Panel, server: SshServer) -> Host:
    return registered(panel, server)


def registered(panel: Panel, server: SshServer) -> Host:
    """A host that is entered by the server's own key, and whose user's file has it and somebody else's."""
    host = panel.a_host()
    file(server).write_text(f"{OTHERS}\n{server.client_public}\n")
    sealed = panel.sealer.seal(server.client_key.encode(), host.id)
    place = {"address": "127.0.0.1", "port": server.port, "user": USER, "host_key": server.host_key}
    return panel.hosts.change(host, public_key=server.client_public, sealed_private_key=sealed, **place)


def file(server: SshServer) -> Path:
    assert server.authorized_keys
    return server.authorized_keys


def lines(server: SshServer) -> list[str]:
    return file(server).read_text().splitlines()


def enters(panel: Panel, host_id: str) -> bool:
    """Whether the stored key logs in."""
    host = panel.hosts.get(host_id)
    try:
        panel.log_in(host, host.sealed_private_key)
    except HostRefused:
        return False
    return True


def is_settled(panel: Panel, server: SshServer, host_id: str) -> bool:
    """Whether the stored key is the one key of ours, there and here."""
    host = panel.hosts.get(host_id)
    return (lines(server), host.next_key, host.retired_keys) == ([OTHERS, host.public_key], None, ())


def test_a_new_key_takes_the_place_of_the_old_one(panel: Panel, server: SshServer, host: Host) -> None:
    old = server.client_public

    answer = rotate_key(host.id, None, None)

    after = panel.hosts.get(host.id)
    assert answer == {"public_key": after.public_key, "left": []}
    assert after.public_key != old
    assert enters(panel, host.id)
    assert is_settled(panel, server, host.id)


def test_a_given_key_is_taken(panel: Panel, server: SshServer, host: Host) -> None:
    private, public = generate_key()

    rotate_key(host.id, private, None)

    assert panel.hosts.get(host.id).public_key == public
    assert enters(panel, host.id)
    assert is_settled(panel, server, host.id)


def test_a_key_can_be_turned_back(panel: Panel, server: SshServer, host: Host) -> None:
    rotate_key(host.id, None, None)

    rotate_key(host.id, server.client_key, None)

    assert panel.hosts.get(host.id).public_key == server.client_public
    assert is_settled(panel, server, host.id)


def test_the_connection_of_before_goes_on_and_others_go_by_the_new_key(
    panel: Panel, server: SshServer, host: Host
) -> None:
    remote = panel.connected(host)
    rotate_key(host.id, None, None)

    assert panel.connected(host) is remote
    server.cut()
    assert panel.connected(host) is remote  # the record of before tells it the old key
    close_all()
    assert panel.connected(host).host.private_key != server.client_key  # as a process that knew nothing else would


@pytest.mark.parametrize("private_key", ["", "no key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"])
def test_what_is_no_key_is_refused_before_anything_is_done(
    panel: Panel, server: SshServer, host: Host, private_key: str
) -> None:
    with pytest.raises(ValidationFailed):
        rotate_key(host.id, private_key, None)

    assert panel.hosts.get(host.id) == host
    assert server.connections == 0


def test_the_present_key_is_refused(panel: Panel, server: SshServer, host: Host) -> None:
    with pytest.raises(ValidationFailed, match="already"):
        rotate_key(host.id, server.client_key, None)

    assert panel.hosts.get(host.id) == host


def test_a_host_that_cannot_be_reached_changes_nothing(panel: Panel, server: SshServer, host: Host) -> None:
    away = panel.hosts.change(host, port=1)

    with pytest.raises(HostUnreachable):
        rotate_key(host.id, None, None)

    assert panel.hosts.get(host.id) == away


def test_another_version_than_the_one_seen_changes_nothing(panel: Panel, server: SshServer, host: Host) -> None:
    with pytest.raises(Changed):
        rotate_key(host.id, None, host.version - 1)

    assert panel.hosts.get(host.id) == host
    assert lines(server) == [OTHERS, server.client_public]


@pytest.mark.parametrize("was_there", [False, True])
def test_where_sshd_reads_keys_elsewhere_the_line_is_taken_away_and_the_old_key_stays(
    panel: Panel, server: SshServer, host: Host, was_there: bool
) -> None:
    private, public = generate_key()
    read_by_nobody = file(server)
    if was_there:
        read_by_nobody.write_text(f"{read_by_nobody.read_text()}{public}\n")
    before = read_by_nobody.read_text()
    server.authorized_keys = server.home / "elsewhere"
    server.authorized_keys.write_text(server.client_public)

    with pytest.raises(HostRefused, match="AuthorizedKeysFile"):
        rotate_key(host.id, private, None)

    after = panel.hosts.get(host.id)
    assert read_by_nobody.read_text() == before
    assert (after.public_key, after.next_key, after.retired_keys) == (server.client_public, None, ())
    assert enters(panel, host.id)


def test_a_file_that_cannot_be_changed_leaves_all_as_it_was(panel: Panel, server: SshServer, host: Host) -> None:
    full = file(server).with_name("authorized_keys.slipway")
    full.mkdir()  # where the new file would be written

    with pytest.raises(CommandFailed, match="cannot be changed"):
        rotate_key(host.id, None, None)

    after = panel.hosts.get(host.id)
    assert (after.public_key, after.next_key, after.retired_keys) == (server.client_public, None, ())
    assert lines(server) == [OTHERS, server.client_public]
    full.rmdir()
    rotate_key(host.id, None, None)
    assert is_settled(panel, server, host.id)


def test_an_old_key_that_sshd_reads_elsewhere_too_is_told_of(panel: Panel, server: SshServer, host: Host) -> None:
    old = server.client_public
    file(server).write_text(f"{OTHERS}\n")
    always = server.lets_in
    server.lets_in = lambda key: key == old or always(key)  # type: ignore[method-assign]

    assert rotate_key(host.id, None, None)["left"] == [old]
    (kept,) = panel.hosts.get(host.id).retired_keys
    assert "AuthorizedKeysFile" in kept.problem

    server.lets_in = always  # type: ignore[method-assign]
    new = panel.hosts.get(host.id).public_key
    assert rotate_key(host.id, None, None) == {"public_key": new, "left": []}
    assert is_settled(panel, server, host.id)


def test_an_old_key_that_cannot_be_taken_away_is_told_of_and_a_repeat_takes_it(
    panel: Panel, server: SshServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = generate_key()
    real = RemoteHost.kit

    def full(remote: RemoteHost, command: Any, timeout: float) -> Any:
        if b'"remove": ["' in command.stdin:
            raise CommandFailed("no space left on device")
        return real(remote, command, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteHost, "kit", full)
        assert rotate_key(host.id, private, None) == {"public_key": public, "left": [server.client_public]}
    (kept,) = panel.hosts.get(host.id).retired_keys
    assert kept.problem == "no space left on device"
    assert enters(panel, host.id)

    assert rotate_key(host.id, private, None) == {"public_key": public, "left": []}
    assert is_settled(panel, server, host.id)


def test_a_host_that_was_moved_meanwhile_keeps_its_key(
    panel: Panel, server: SshServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Panel.log_in

    def move(panel: Panel, host: Host, sealed_private_key: bytes) -> None:
        real(panel, host, sealed_private_key)
        panel.hosts.change(panel.hosts.get(host.id), address="localhost")

    with monkeypatch.context() as patch:
        patch.setattr(Panel, "log_in", move)
        with pytest.raises(Conflict, match="address"):
            rotate_key(host.id, None, None)

    assert panel.hosts.get(host.id).public_key == server.client_public
    assert enters(panel, host.id)
    rotate_key(host.id, None, None)
    assert is_settled(panel, server, host.id)


@pytest.mark.parametrize("given", [False, True])
def test_whatever_it_is_cut_off_at_the_stored_key_logs_in_and_a_repeat_ends_it(
    panel: Panel, server: SshServer, points: Points, given: bool
) -> None:
    def die() -> None:
        raise Crash

    point, ended = 0, False
    while not ended:
        point += 1
        host, private = registered(panel, server), generate_key()[0] if given else None
        points.at(point, die)
        try:
            rotate_key(host.id, private, None)
            ended = True
        except Crash:
            close_all()
        points.at(0, die)
        assert enters(panel, host.id), f"at {point}"

        changed = panel.hosts.get(host.id).public_key != server.client_public
        done = changed and is_settled(panel, server, host.id)
        if not done:
            rotate_key(host.id, private, None)
        assert enters(panel, host.id), f"at {point}"
        assert is_settled(panel, server, host.id), f"at {point}"
    assert point > 10


@pytest.mark.parametrize("given", [False, True])
def test_wherever_it_is_overtaken_one_key_wins_and_logs_in(
    panel: Panel, server: SshServer, points: Points, given: bool
) -> None:
    def overtake(host_id: str) -> Callable[[], None]:
        def rotate() -> None:
            rotate_key(host_id, generate_key()[0] if given else None, None)
            assert enters(panel, host_id)

        return rotate

    point, was_overtaken = 0, True
    while was_overtaken:
        point += 1
        host = registered(panel, server)
        points.at(point, overtake(host.id))
        with suppress(Conflict, StaleFence):
            rotate_key(host.id, None, None)
        was_overtaken = points.passed >= point
        points.at(0, bool)
        assert enters(panel, host.id), f"at {point}"

        if not is_settled(panel, server, host.id):
            rotate_key(host.id, None, None)
        assert enters(panel, host.id), f"at {point}"
        assert is_settled(panel, server, host.id), f"at {point}"
    assert point > 10


def test_wherever_another_is_when_it_looks_and_however_that_ends_before_it_claims_one_key_wins(
    panel: Panel, server: SshServer, points: Points
) -> None:
    point, is_there = 0, True
    while is_there:
        point += 1
        host = registered(panel, server)
        reached, go_on = threading.Event(), threading.Event()

        def pause(reached: threading.Event = reached, go_on: threading.Event = go_on) -> None:
            reached.set()
            go_on.wait(10)

        def earlier(point: int = point, host_id: str = host.id, pause: Callable[[], None] = pause) -> None:
            points.at(point, pause)
            with suppress(Conflict, StaleFence):
                rotate_key(host_id, None, None)

        thread = threading.Thread(target=earlier)
        thread.start()
        while not (is_there := reached.wait(0.01)) and thread.is_alive():
            pass

        def let_it_end(go_on: threading.Event = go_on, thread: threading.Thread = thread) -> None:
            go_on.set()
            thread.join()

        points.at(1, let_it_end)
        with suppress(Conflict, StaleFence):
            rotate_key(host.id, None, None)
        points.at(0, bool)
        let_it_end()
        assert enters(panel, host.id), f"at {point}"

        if not is_settled(panel, server, host.id):
            rotate_key(host.id, None, None)
        assert is_settled(panel, server, host.id), f"at {point}"
    assert point > 10

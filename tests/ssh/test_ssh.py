"""Our manners as an SSH client, against a server in this process."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from chalicelib.commands import Command, kit
from chalicelib.domain.errors import (
    CommandFailed,
    HostKeyMismatch,
    HostNotReady,
    HostRefused,
    HostTimeout,
    HostUnreachable,
    StaleFence,
    ValidationFailed,
)
from chalicelib.ssh import (
    HostAddress,
    close_all,
    connected,
    generate_key,
    log_in,
    public_of,
    scan_host_key,
    transport,
)
from chalicelib.ssh.serving import NotBegun
from tests.ssh.server import SshServer

SERVICE = "svc_abcdefgh12345678"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with SshServer(tmp_path) as running:
        yield running
        close_all()


def sh(program: str, stdin: bytes = b"") -> Command:
    return Command(("sh", "-c", program), stdin)


def test_a_command_gets_its_words_and_stdin_and_gives_its_output(server: SshServer) -> None:
    host = connected(server.address())

    assert host.run(sh('cat; echo "$0"; echo noise >&2', b"from stdin "), 5) == "from stdin sh\n"


def test_many_steps_share_one_connection(server: SshServer) -> None:
    for _ in range(3):
        connected(server.address()).run(sh("true"), 5)

    assert server.connections == 1


def test_a_failed_command_says_its_code_and_last_words(server: SshServer) -> None:
    with pytest.raises(CommandFailed, match="exit code 4: it broke") as failure:
        connected(server.address()).run(sh("echo it broke >&2; exit 4"), 5)

    assert failure.value.details == {"rc": 4, "output": "it broke"}


def test_a_command_that_fills_both_streams_does_not_deadlock(server: SshServer) -> None:
    both = "head -c 6000000 /dev/zero >&2; head -c 6000000 /dev/zero"

    assert len(connected(server.address()).run(sh(both), 20)) == 6_000_000


def test_a_connection_that_ends_before_the_exit_status_leaves_the_outcome_unknown(server: SshServer) -> None:
    with pytest.raises(HostUnreachable, match="unknown"):
        connected(server.address()).run(Command(("vanish",)), 5)


def test_a_command_that_takes_too_long_is_a_timeout(server: SshServer) -> None:
    with pytest.raises(HostTimeout):
        connected(server.address()).run(sh("sleep 3"), 0.2)


def test_a_host_with_another_key_is_never_spoken_to(server: SshServer) -> None:
    other = generate_key()[1]

    with pytest.raises(HostKeyMismatch) as failure:
        connected(server.address(host_key=other))

    assert failure.value.details["pinned"] != failure.value.details["shown"]
    assert server.commands == []


def test_a_host_without_a_key_of_the_pinned_type_is_a_mismatch(server: SshServer) -> None:
    ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA=="

    with pytest.raises(HostKeyMismatch, match="ecdsa-sha2-nistp256"):
        connected(server.address(host_key=ecdsa))


@pytest.mark.parametrize("wrong", [{"user": "somebody"}, {"private_key": generate_key()[0]}])
def test_a_wrong_user_or_key_is_refused(server: SshServer, wrong: dict[str, str]) -> None:
    with pytest.raises(HostRefused):
        connected(server.address(**wrong))


def test_a_connection_goes_on_when_its_key_is_replaced_and_the_next_is_opened_by_the_new_one(server: SshServer) -> None:
    host = connected(server.address())
    host.run(sh("true"), 5)
    server.client_key, server.client_public = generate_key()

    again = connected(server.address(version=2))

    assert (again is host, again.run(sh("echo on"), 5), server.connections) == (True, "on\n", 1)
    server.cut()
    assert again.run(sh("echo anew"), 5) == "anew\n"
    assert server.connections == 2


def test_who_holds_an_older_address_goes_by_the_newest_that_is_known(server: SshServer) -> None:
    old = server.address()
    server.client_key, server.client_public = generate_key()
    connected(server.address(version=2))

    assert connected(old).run(sh("echo in"), 5) == "in\n"


def test_one_that_is_not_let_in_asks_for_the_newest_address_and_goes_by_it(server: SshServer) -> None:
    old, told = server.address(), []

    def newest() -> HostAddress:
        told.append(server.client_public)
        return server.address(version=2)

    host = connected(old, newest)
    server.client_key, server.client_public = generate_key()
    server.cut()

    assert host.run(sh("echo in"), 5) == "in\n"
    assert told == [server.client_public]


def test_one_that_is_not_let_in_by_the_newest_address_either_says_so(server: SshServer) -> None:
    wrong = server.address(private_key=generate_key()[0])

    with pytest.raises(HostRefused):
        connected(wrong, lambda: wrong)


def test_a_host_that_moved_is_reached_where_it_is_now(
    server: SshServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host = connected(server.address())
    command = kit.job("job_abcdefgh12345678.up.1", wait_s=0)
    host.kit(command, 10)

    with SshServer(tmp_path_factory.mktemp("there")) as there:
        moved = there.address(version=2)
        assert connected(moved) is host
        host.kit(command, 10)
        assert (there.home / ".slipway").is_dir()
        close_all()


def test_logging_in_says_whether_a_key_is_taken_and_leaves_the_connection_alone(server: SshServer) -> None:
    host = connected(server.address())

    log_in(server.address())
    with pytest.raises(HostRefused):
        log_in(server.address(private_key=generate_key()[0]))

    assert host.run(sh("echo still"), 5) == "still\n"
    assert server.connections == 3


def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(HostUnreachable):
        scan_host_key("127.0.0.1", port)


def test_a_server_that_accepts_and_says_nothing_is_given_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_S", 0.5)
    monkeypatch.setattr(transport, "BUSY_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(HostUnreachable):
        scan_host_key("127.0.0.1", silent.getsockname()[1])


def test_a_server_that_turns_connections_away_is_asked_again(tmp_path: Path) -> None:
    with SshServer(tmp_path, drop_first=2) as busy:
        assert connected(busy.address()).run(sh("echo in"), 5) == "in\n"
        close_all()

    assert busy.connections == 3


def test_a_connection_that_died_is_replaced_before_anything_is_asked_of_it(server: SshServer) -> None:
    host = connected(server.address())
    host.run(sh("true"), 5)
    server.cut()

    assert host.run(sh("echo again"), 5) == "again\n"
    assert server.connections == 2


def test_more_commands_than_channels_wait_for_their_turn(server: SshServer) -> None:
    host = connected(server.address())

    with ThreadPoolExecutor(20) as threads:
        said = list(threads.map(lambda number: host.run(sh(f"sleep 0.05; echo {number}"), 20), range(20)))

    assert [int(line) for line in said] == list(range(20))
    assert server.most_sessions <= 8


def test_a_host_with_fewer_sessions_than_we_ask_is_tried_again(tmp_path: Path) -> None:
    with SshServer(tmp_path, sessions=1) as narrow:
        host = connected(narrow.address())
        with ThreadPoolExecutor(2) as threads:
            said = list(threads.map(lambda _: host.run(sh("sleep 0.05; echo yes"), 20), range(2)))
        close_all()

    assert said == ["yes\n", "yes\n"]


def test_a_host_without_the_kit_gets_it_and_then_answers(server: SshServer) -> None:
    host = connected(server.address())
    command = kit.job("job_abcdefgh12345678.up.1", wait_s=0)

    assert host.kit(command, 10)["state"] == "none"
    assert (server.home / ".slipway" / f"kit-{kit.kit_version()}").is_dir()
    assert host.kit(command, 10)["state"] == "none"
    assert len(server.commands) == 3  # started in vain, installed, started


def test_an_older_kit_on_the_host_is_left_alone_and_not_used(server: SshServer) -> None:
    old = server.home / ".slipway" / "kit-000000000000" / "hostkit"
    old.mkdir(parents=True)
    (old / "main.py").write_text("raise SystemExit('old')")

    assert connected(server.address()).kit(kit.job("job_abcdefgh12345678.up.1", wait_s=0), 10)["state"] == "none"


def test_a_refusal_of_the_kit_is_raised_as_our_error(server: SshServer) -> None:
    locks = server.home / ".slipway" / "services"
    locks.mkdir(parents=True)
    (locks / f"{SERVICE}.lock").write_text("900")

    with pytest.raises(StaleFence) as refusal:
        connected(server.address()).kit(kit.unroute(SERVICE, 899), 10)

    assert refusal.value.details == {"fence": 899, "newest": 900}


def test_a_host_without_python_is_not_ready(server: SshServer) -> None:
    server.before = "PATH=/nowhere; "

    with pytest.raises(HostNotReady, match="python3"):
        connected(server.address()).kit(kit.job("job_abcdefgh12345678.up.1", wait_s=0), 5)


def test_a_bug_of_the_kit_is_a_failed_command_with_its_traceback(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(kit.job("job_abcdefgh12345678.up.1", wait_s=0), 10)
    words = kit.job("job_abcdefgh12345678.up.1").argv

    with pytest.raises(CommandFailed, match="JSONDecodeError"):
        host.kit(Command(words, b"not json"), 5)


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(418 if self.headers["Host"] == "app.example.com" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        return


@pytest.fixture
def web() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answering) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


def test_http_is_asked_from_the_host_itself(server: SshServer, web: int) -> None:
    host = connected(server.address())

    assert host.http_status("127.0.0.1", web, "/health", "app.example.com", 5) == 418
    assert host.tcp_open("127.0.0.1", web, 5)


def test_a_closed_port_on_the_host_is_an_answer_not_an_error(server: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    host = connected(server.address())

    assert host.http_status("127.0.0.1", port, "/", "x", 5) is None
    assert not host.tcp_open("127.0.0.1", port, 5)
    assert host.forwarding_allowed()


def test_an_sshd_that_forbids_forwarding_is_noticed(tmp_path: Path) -> None:
    with SshServer(tmp_path, forwarding=False) as strict:
        host = connected(strict.address())
        assert not host.forwarding_allowed()
        with pytest.raises(HostNotReady, match="AllowTcpForwarding"):
            host.tcp_open("127.0.0.1", strict.port, 5)
        close_all()


def test_an_idle_connection_is_tried_before_it_is_trusted(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.ssh.remote.IDLE_S", 0.0)
    connected(server.address())
    time.sleep(0.01)

    assert connected(server.address()).run(sh("echo here"), 5) == "here\n"
    assert server.connections == 1


def test_a_generated_key_opens_the_host_and_its_public_half_is_read_back() -> None:
    private, public = generate_key()

    assert public.startswith("ssh-ed25519 ")
    assert public_of(private) == public


def test_the_first_key_a_host_shows_can_be_scanned(server: SshServer) -> None:
    assert scan_host_key("127.0.0.1", server.port) == server.host_key


@pytest.mark.parametrize(
    "text", ["", "not a key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"]
)
def test_an_unreadable_key_is_a_wrong_field(text: str) -> None:
    with pytest.raises(ValidationFailed) as failure:
        public_of(text)

    assert failure.value.details[0]["path"] == "private_key"


def test_an_address_in_an_error_shows_neither_key_nor_place(server: SshServer) -> None:
    assert "PRIVATE" not in repr(server.address())
    assert str(server.address()) == server.address().id


ASKED = kit.job("job_abcdefgh12345678", wait_s=0)


def test_many_verbs_are_answered_by_one_process(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    before = len(server.commands)

    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: host.kit(ASKED, 10)["state"], range(60)))

    assert answers == ["none"] * 60
    assert len(server.commands) == before


def test_a_refusal_is_raised_as_our_error_and_the_next_verb_is_answered(server: SshServer) -> None:
    host = connected(server.address())

    with pytest.raises(CommandFailed, match="is not a job name"):
        host.kit(kit.job("nonsense", wait_s=0), 10)
    assert host.kit(ASKED, 10)["state"] == "none"


def test_a_verb_that_takes_its_time_holds_no_other_up(server: SshServer) -> None:
    host = connected(server.address())
    folder = server.home / ".slipway/jobs/job_abcdefgh12345679"
    host.kit(ASKED, 10)
    folder.mkdir(parents=True)  # a job that is just being started, as far as the kit can see

    with ThreadPoolExecutor(1) as waiter:
        slow = waiter.submit(host.kit, kit.job("job_abcdefgh12345679", wait_s=3), 10)
        quick = [host.kit(ASKED, 10)["state"] for _ in range(3)]
        was_at_work = not slow.done()

    assert (quick, was_at_work, slow.result()["state"]) == (["none"] * 3, True, "running")


def test_a_verb_out_of_time_is_given_up_and_the_process_goes_on(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    (server.home / ".slipway/jobs/job_abcdefgh12345679").mkdir(parents=True)
    before = len(server.commands)

    with pytest.raises(HostTimeout):
        host.kit(kit.job("job_abcdefgh12345679", wait_s=3), 0.2)
    assert host.kit(ASKED, 10)["state"] == "none"
    assert len(server.commands) == before


def test_a_connection_lost_under_the_kit_costs_one_call_at_most(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    server.cut()

    with suppress(HostUnreachable):  # as soon as the loss is known, none
        host.kit(ASKED, 10)
    answer = host.kit(ASKED, 10)

    assert answer["state"] == "none"
    assert server.connections == 2


def test_a_process_that_was_killed_is_an_unknown_outcome_and_is_replaced(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    (server.home / ".slipway/jobs/job_abcdefgh12345679").mkdir(parents=True)

    with ThreadPoolExecutor(1) as waiter:
        asked = waiter.submit(host.kit, kit.job("job_abcdefgh12345679", wait_s=3), 10)
        time.sleep(0.2)  # it is on its way, and will not be answered for longer
        for pid, process in server.running.items():
            if process.poll() is None:
                os.killpg(pid, signal.SIGKILL)
        with pytest.raises(HostUnreachable, match="outcome is unknown"):
            asked.result()

    assert host.kit(ASKED, 10)["state"] == "none"


def test_a_process_that_ended_in_peace_is_replaced_without_a_word(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    serving = host._serving
    assert serving is not None
    serving._channel.shutdown_write()  # as when nobody asked for a long time
    deadline = time.monotonic() + 10
    while serving.is_usable and time.monotonic() < deadline:
        time.sleep(0.01)

    with pytest.raises(NotBegun):
        serving.ask(ASKED, time.monotonic() + 5)
    assert host.kit(ASKED, 10)["state"] == "none"


def test_a_process_unasked_for_a_while_is_given_up(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    before = len(server.commands)
    monkeypatch.setattr("chalicelib.ssh.serving.KEPT_S", 0.0)

    assert host.kit(ASKED, 10)["state"] == "none"
    assert len(server.commands) == before + 1


def test_a_kit_removed_under_its_process_is_installed_again(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    shutil.rmtree(server.home / ".slipway")

    assert host.kit(ASKED, 10)["state"] == "none"
    assert (server.home / f".slipway/kit-{kit.kit_version()}").is_dir()


def test_a_login_shell_that_prints_is_told_of(server: SshServer) -> None:
    host = connected(server.address())
    host.kit(ASKED, 10)
    server.before = "echo welcome; "

    host._serving = None
    with pytest.raises(CommandFailed, match="prints something of its own: welcome"):
        host.kit(ASKED, 10)


# files


def test_a_file_arrives_whole_with_its_mode_and_its_folders(server: SshServer, tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    host = connected(server.address())

    host.put(".slipway/agent/agent.pyz", data, 10)
    host.put(".slipway/agent/agent.pyz", data[::-1], 10, mode=0o640)

    path = tmp_path / ".slipway/agent/agent.pyz"
    assert path.read_bytes() == data[::-1]
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["agent.pyz"]


def test_a_file_that_cannot_be_written_leaves_the_one_before(server: SshServer, tmp_path: Path) -> None:
    host = connected(server.address())
    host.put("kept/file", b"before", 10)
    server.disk_is_full = True

    with pytest.raises(CommandFailed, match="kept/file cannot be written"):
        host.put("kept/file", b"after", 10)

    assert (tmp_path / "kept/file").read_bytes() == b"before"
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["file"]


def test_a_place_that_is_no_folder_is_a_failed_command(server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CommandFailed, match="cannot be written"):
        connected(server.address()).put("file/inside", b"", 10)


def test_a_host_without_sftp_is_not_ready(tmp_path: Path) -> None:
    with SshServer(tmp_path, sftp=False) as server:
        with pytest.raises(HostNotReady, match="Subsystem sftp"):
            connected(server.address()).put("file", b"", 10)
        close_all()


def test_a_connection_that_breaks_while_a_file_is_written_is_an_unreachable_host(
    server: SshServer, tmp_path: Path
) -> None:
    host, data = connected(server.address()), b"x" * 200_000_000

    def cut() -> None:
        while not any(tmp_path.iterdir()):
            time.sleep(0.01)
        server.cut()

    cutting = threading.Thread(target=cut)
    cutting.start()
    with pytest.raises(HostUnreachable):
        host.put("large", data, 60)
    cutting.join()
    assert not (tmp_path / "large").exists()

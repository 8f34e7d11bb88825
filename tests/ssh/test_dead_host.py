"""A host that takes a connection and says nothing costs those who ask for it one time-out, not one after another."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.domain.errors import HostUnreachable
from chalicelib.ssh import HostAddress, connected, generate_key, transport
from chalicelib.ssh.pool import close_all

_CALLERS = 6


class Mute:
    """A listener that never says a word; how often it was tried."""

    def __init__(self, listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        self.taken: list[socket.socket] = []
        self._listener = listener
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                self.taken.append(self._listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in self.taken:
            connection.close()


@pytest.fixture
def mute() -> Iterator[Mute]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Mute(listener)
        yield server
        server.close()
    close_all()


def test_callers_that_come_together_fail_together(mute: Mute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_S", 1.0)
    monkeypatch.setattr(transport, "BUSY_S", 0.1)
    private, public = generate_key()
    host = HostAddress("host_abcdefgh12345678", "127.0.0.1", mute.port, "deploy", private, public)
    together = threading.Barrier(_CALLERS)

    def ask() -> str:
        together.wait()
        with pytest.raises(HostUnreachable) as refused:
            connected(host)
        return refused.value.message

    with ThreadPoolExecutor(_CALLERS) as callers:
        said = {future.result() for future in [callers.submit(ask) for _ in range(_CALLERS)]}

    assert len(mute.taken) == 1
    assert len(said) == 1

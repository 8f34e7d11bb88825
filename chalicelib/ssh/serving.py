"""The kit's long-lived process on a host, and the verbs it is asked over one channel.

Any number of threads ask at once: requests are numbered, and one thread hears the answers and hands each to who waits
for it. `hostkit/serve.py` says how requests and answers are framed.
"""

import threading
import time
from contextlib import suppress

import paramiko

from chalicelib.commands import Command
from chalicelib.domain.errors import HostTimeout, HostUnreachable
from chalicelib.ssh.execution import CHUNK, Finished

KEPT_S = 60.0  # unasked for longer, it is given up: it ends by itself after five minutes
SEND_S = 10.0
STATUS_S = 2.0
GONE = 76  # the exit code of a verb that was not begun: the kit's folder was removed under its process
LINE = 200  # bytes of what is no answer that are told


class NotBegun(Exception):
    """It had ended, in peace, before it read the request."""


class Serving:
    """One process that serves. It ends with its channel, and is then replaced, never mended."""

    def __init__(self, channel: paramiko.Channel, command: Command, where: str) -> None:
        self._channel = channel
        self._where = where
        self._turn = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: dict[int, _Reply] = {}
        self._asked = 0
        self._used = time.monotonic()
        self._ended: Finished | None = None
        self._is_gone = False
        channel.settimeout(SEND_S)
        channel.exec_command(str(command))
        threading.Thread(target=self._hear, daemon=True, name=f"kit-{where}").start()

    @property
    def is_usable(self) -> bool:
        return (
            self._ended is None
            and not self._is_gone
            and (bool(self._waiting) or time.monotonic() - self._used < KEPT_S)
        )

    def ask(self, command: Command, deadline: float) -> Finished:
        """How the verb ended; how the process itself did, where it never was one of the kit's.

        Raise `HostUnreachable` if the connection ended first: the outcome is unknown. `NotBegun` if it ended before.
        """
        verb, reply = command.argv[-1], _Reply()
        with self._turn:
            self._asked += 1
            number = self._asked
            self._waiting[number] = reply
            self._used = time.monotonic()
        try:
            if self._ended is None:
                self._send(f"{number} {verb} {len(command.stdin)}\n".encode() + command.stdin)
            if self._ended is None and not reply.came.wait(max(0.0, deadline - time.monotonic())):
                raise HostTimeout(f"{self._where}: {verb} did not finish in time")
        finally:
            with self._turn:
                self._waiting.pop(number, None)
                self._used = time.monotonic()
        return reply.finished or self._how_it_ended()

    def close(self) -> None:
        with suppress(EOFError, OSError):  # the connection was gone first
            self._channel.close()

    def _send(self, frame: bytes) -> None:
        try:
            with self._sending:
                self._channel.sendall(frame)
        except TimeoutError as error:
            self.close()  # half a frame is there
            raise HostUnreachable(f"{self._where}: the host takes no more; the outcome is unknown") from error
        except (paramiko.SSHException, EOFError, OSError):
            self.close()  # it ended: how, is heard by the other thread

    def _hear(self) -> None:
        heard = b""
        while part := self._part():
            heard += part
            try:
                while (frame := _frame(heard)) is not None:
                    number, finished, size = frame
                    heard = heard[size:]
                    self._hand_over(number, finished)
            except ValueError:
                self._end(Finished(1, b"", b"its login shell prints something of its own: " + heard[:LINE]))
                return
        self._end(None)

    def _hand_over(self, number: int, finished: Finished) -> None:
        with self._turn:
            self._is_gone = self._is_gone or finished.code == GONE
            reply = self._waiting.get(number)
        if reply:  # whoever gave up in between needs no answer
            reply.finished = finished
            reply.came.set()

    def _part(self) -> bytes:
        """What came; nothing at the end."""
        while True:
            try:
                return self._channel.recv(CHUNK)
            except TimeoutError:
                continue
            except (paramiko.SSHException, EOFError, OSError):
                return b""

    def _end(self, how: Finished | None) -> None:
        ended = how or self._status()
        self.close()
        with self._turn:
            self._ended = ended
            waiting = list(self._waiting.values())
        for reply in waiting:
            reply.came.set()

    def _status(self) -> Finished:
        said = b""
        with suppress(TimeoutError, EOFError, OSError):
            while part := self._channel.recv_stderr(CHUNK):
                said += part
        self._channel.status_event.wait(STATUS_S)
        return Finished(self._channel.exit_status, b"", said)

    def _how_it_ended(self) -> Finished:
        ended = self._ended
        if ended is None or ended.code == -1:
            raise HostUnreachable(f"{self._where}: the connection ended before the command did; the outcome is unknown")
        if ended.code == 0:
            raise NotBegun
        return ended


class _Reply:
    def __init__(self) -> None:
        self.came = threading.Event()
        self.finished: Finished | None = None


def _frame(heard: bytes) -> tuple[int, Finished, int] | None:
    """The first answer in what was heard, and how many bytes it takes; None while it is not whole."""
    head, newline, rest = heard.partition(b"\n")
    if not newline:
        return None
    number, code, output, errors = map(int, head.split(b" "))
    if len(rest) < output + errors:
        return None
    finished = Finished(code, rest[:output], rest[output : output + errors])
    return number, finished, len(head) + 1 + output + errors

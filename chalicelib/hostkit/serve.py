"""Many verbs over one channel, each in a process of its own, forked from one that has its imports behind it.

Python takes 20 to 40 ms of a host's CPU to start and a fork two, and a deploy asks for eight verbs. A verb still ends
as it does alone: with its exit code, what it printed and what it complained of. Requests are numbered, and their
answers come in the order in which they are ready:

    <number> <verb> <bytes>\n            and so many bytes of JSON
    <number> <code> <bytes> <bytes>\n    and so many bytes of its stdout and its stderr

It ends when its stdin does, or when nobody asked for a while; what is at work goes on, as it does when a connection
breaks. Exit 0 means that nothing was begun that was not answered.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import traceback
from collections.abc import Callable
from importlib import import_module

from .version import FOLDER

IDLE_S = 300.0
CHUNK = 1 << 16
GONE = 76  # the kit's own folder was removed, and this process is all that is left of it
EXPECTED = ("upload", "preflight", "jobs", "runner", "observe", "routes")  # the modules of a deploy's verbs

Verb = Callable[[str, bytes], int]


def serve(verb: Verb) -> None:
    """Until stdin ends. `verb` carries one out and says its exit code."""
    _Server(verb).run()


class _Server:
    def __init__(self, verb: Verb) -> None:
        self._verb = verb
        self._asked = b""
        self._children: dict[int, _Child] = {}  # by each descriptor that it is heard on
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._prepared = False

    def run(self) -> None:
        while True:
            # Who asked first need not wait for imports that are for those to come.
            ready = self._poll.poll(IDLE_S * 1000 if self._prepared else 0)
            if not ready and not self._prepared:
                self._prepare()
            elif not ready and not self._children:
                return
            for descriptor, _ in ready:
                if descriptor != 0:
                    self._hear(descriptor)
                elif not self._read():
                    return

    def _prepare(self) -> None:
        for module in EXPECTED:
            import_module("." + module, __package__)
        gc.freeze()  # a collection in a child would copy what both share
        self._prepared = True

    def _read(self) -> bool:
        part = os.read(0, CHUNK)
        self._asked += part
        while self._take_one():
            pass
        return part != b""

    def _take_one(self) -> bool:
        head, newline, rest = self._asked.partition(b"\n")
        if not newline:
            return False
        number, verb, size = head.decode().split(" ")
        if len(rest) < int(size):
            return False
        self._asked = rest[int(size) :]
        self._begin(number, verb, rest[: int(size)])
        return True

    def _begin(self, number: str, verb: str, request: bytes) -> None:
        if not os.path.isdir(FOLDER):
            _answer(number, GONE, b"", b"")
            return
        child = _Child(number, lambda: self._verb(verb, request))
        for descriptor in child.heard:
            self._children[descriptor] = child
            self._poll.register(descriptor, select.POLLIN)

    def _hear(self, descriptor: int) -> None:
        child = self._children[descriptor]
        part = os.read(descriptor, CHUNK)
        if part:
            child.heard[descriptor].append(part)
            return
        self._poll.unregister(descriptor)
        os.close(descriptor)
        del self._children[descriptor]
        if child not in self._children.values():
            _answer(child.number, child.ended(), *(b"".join(parts) for parts in child.heard.values()))


class _Child:
    """One verb at work. `heard` is what it printed and what it complained of, by the descriptors it comes from."""

    def __init__(self, number: str, work: Callable[[], int]) -> None:
        self.number = number
        output, its_output = os.pipe()
        errors, its_errors = os.pipe()
        self.heard: dict[int, list[bytes]] = {output: [], errors: []}
        self._pid = os.fork()
        if self._pid == 0:
            _become(its_output, its_errors, work)
        os.close(its_output)
        os.close(its_errors)

    def ended(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _become(output: int, errors: int, work: Callable[[], int]) -> None:
    """The forked process: nothing of the connection's but its own two pipes, and it never returns."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
        code = work()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # a fault of the kit: its traceback is the answer
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _answer(number: str, code: int, output: bytes, errors: bytes) -> None:
    frame = memoryview(b"%s %d %d %d\n" % (number.encode(), code, len(output), len(errors)) + output + errors)
    while frame:
        frame = frame[os.write(1, frame) :]

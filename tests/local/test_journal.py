"""The journal's promise: what `append` took is there after a kill, wherever the kill fell."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.journal import Journal

# Appends, compacts and appends again, saying each record it was promised; kills itself at the n-th step on the disk.
_WRITER = """
import os, pathlib, signal, sys
from infra.local import journal

folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])

def counted(step):
    def do(*given, **named):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*given, **named)
    return do

steps_on_disk = [(os, "fsync"), (os, "ftruncate"), (os, "close"), (pathlib.Path, "rename"), (pathlib.Path, "unlink")]
for owner, name in steps_on_disk:
    setattr(owner, name, counted(getattr(owner, name)))

kept = journal.Journal(folder)
state = [record["n"] for record in kept.replay()]

def append(n):
    kept.append({"n": n})
    state.append(n)
    print(n, flush=True)

first = len(state)
for n in range(first, first + 3):
    append(n)
for _ in range(2):
    snapshot = list(state)
    generation = kept.turn()
    append(len(state))
    kept.compact(generation, ({"n": n} for n in snapshot))
    append(len(state))
kept.close()
"""


def _write(folder: Path, steps: int) -> tuple[list[int], int]:
    ended = subprocess.run(
        [sys.executable, "-c", _WRITER, str(folder), str(steps)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return [int(line) for line in ended.stdout.split()], ended.returncode


def _read(folder: Path) -> list[int]:
    journal = Journal(folder)
    found = [record["n"] for record in journal.replay()]
    journal.close()
    return found


def test_a_kill_at_any_step_on_the_disk_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    promised: list[int] = []
    steps, code = 1, -9
    while code == -9:
        said, code = _write(tmp_path, steps)
        promised += said
        found = _read(tmp_path)
        assert found == list(range(len(found)))
        assert found[: len(promised)] == promised
        steps += 1
    assert code == 0
    assert steps > 10


def test_a_torn_last_record_is_dropped_and_the_next_one_follows_cleanly(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert list(journal.replay()) == []
    journal.append({"n": 0})
    journal.close()
    with (tmp_path / "log.0").open("ab") as log:
        log.write(b'{"n": 1, "tor')

    journal = Journal(tmp_path)
    assert [record["n"] for record in journal.replay()] == [0]
    journal.append({"n": 1})
    journal.close()

    assert _read(tmp_path) == [0, 1]


def test_compaction_leaves_one_snapshot_and_one_log(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    list(journal.replay())
    journal.append({"n": 0})
    for _ in range(3):
        journal.compact(journal.turn(), [{"n": 0}])
    journal.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.3", "snapshot.3"]


def test_a_full_disk_refuses_the_record_and_keeps_the_log_whole(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    program = (
        "import pathlib, resource, signal, sys\n"
        "from infra.local.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal(pathlib.Path(sys.argv[1])); list(journal.replay())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "journal.append({'n': 0})\n"
        "try:\n    journal.append({'n': 'x' * 200})\nexcept OSError as error:\n    print(error)\n"
        "journal.append({'n': 1})\n"
    )
    assert resource
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    assert "took" in ended.stdout
    assert _read(tmp_path) == [0, 1]

"""What of a folder the engine's builder is sent."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from chalicelib.hostkit import context


def sent(folder: Path, files: dict[str, str], root: Path | None = None) -> dict[str, tarfile.TarInfo]:
    with (folder.parent / "context.tar").open("w+b") as tar:
        context.write(str(folder), str(root or folder), files, tar)
        tar.seek(0)
        with tarfile.open(fileobj=io.BytesIO(tar.read())) as archive:
            return {entry.name: entry for entry in archive.getmembers()}


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("", ["a.txt", "node_modules/x.js", "src/b.txt", "src/deep/c.txt"]),
        ("node_modules", ["a.txt", "src/b.txt", "src/deep/c.txt"]),
        ("# words\n\n/src/\n", ["a.txt", "node_modules/x.js"]),
        ("*.txt", ["node_modules/x.js", "src/b.txt", "src/deep/c.txt"]),
        ("**/*.txt", ["node_modules/x.js"]),
        ("**/*.txt\n!src/deep/c.txt", ["node_modules/x.js", "src/deep/c.txt"]),
        ("src\n!src/deep", ["a.txt", "node_modules/x.js", "src/deep/c.txt"]),
        ("*\n!a.txt", ["a.txt"]),
        ("src/?.txt", ["a.txt", "node_modules/x.js", "src/deep/c.txt"]),
        ("src/[a-b].txt", ["a.txt", "node_modules/x.js", "src/deep/c.txt"]),
        ("src/**", ["a.txt", "node_modules/x.js"]),
        ("./a.txt", ["node_modules/x.js", "src/b.txt", "src/deep/c.txt"]),
    ],
)
def test_dockerignore_is_read_as_docker_reads_it(tmp_path: Path, rules: str, left: list[str]) -> None:
    folder = tmp_path / "repository"
    for name in ("a.txt", "node_modules/x.js", "src/b.txt", "src/deep/c.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)

    found = sent(folder, {".dockerignore": rules, "Dockerfile": "FROM x"})

    files = sorted(name for name, entry in found.items() if entry.isreg())
    assert files == sorted([*left, ".dockerignore", "Dockerfile"])


def test_owners_times_and_odd_modes_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "run").write_text("x")
    (folder / "run").chmod(0o700)
    (folder / "read").write_text("x")
    (folder / "read").chmod(0o600)
    os.mkfifo(folder / "pipe")

    found = sent(folder, {})

    assert {name: oct(entry.mode) for name, entry in found.items()} == {"run": "0o755", "read": "0o644"}
    assert {(entry.uid, entry.mtime) for entry in found.values()} == {(0, 0)}


def test_links_are_sent_as_links_and_the_dockerfile_is_the_one_given(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "Dockerfile").symlink_to("/etc/passwd")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / ".dockerignore").symlink_to("/etc/passwd")

    found = sent(folder, {"Dockerfile": "FROM scratch\n"})

    assert found["Dockerfile"].isreg()
    assert found["Dockerfile"].size == len("FROM scratch\n")
    assert found["out"].issym()

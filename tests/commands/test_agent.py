"""The agent as one file: the same bytes from the same sources, and nothing but what it needs."""

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

from chalicelib.commands import agent, kit
from chalicelib.hostkit import version


def test_it_is_packed_the_same_each_time_and_known_by_its_hash() -> None:
    first = agent.package()
    agent.package.cache_clear()

    assert agent.package() == first
    assert agent.sha256() == hashlib.sha256(first).hexdigest()


def test_it_says_its_version_where_nothing_else_of_ours_is(tmp_path: Path) -> None:
    program = tmp_path / "agent.pyz"
    program.write_bytes(agent.package())

    said = subprocess.run(
        ["python3", "-I", "-S", str(program), "version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert said.stdout.strip() == agent.version()


def test_it_holds_the_kit_the_agent_and_one_library_with_its_licence() -> None:
    names = zipfile.ZipFile(io.BytesIO(agent.package())).namelist()

    assert {name.split("/")[0] for name in names} == {"__main__.py", "hostkit", "websocket"}
    assert "websocket/LICENSE" in names
    assert "websocket/_core.py" in names
    assert not [name for name in names if "test" in name or name.endswith(".pyc")]


def test_the_kit_is_the_same_whatever_becomes_of_the_agent() -> None:
    assert not [name for name in version.files() if "/" in name or name == "running.py"]
    assert kit.kit_version() != agent.version()

"""What the release's folder holds, without the packages, which the acceptance run downloads."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.deploy import release
from infra.deploy.errors import DeployError
from infra.deploy.release import Wanted
from infra.deploy.stages import PROJECT

NAMES = {
    "App": "slipway",
    "Stage": "prod",
    "Region": "eu-central-1",
    "AccountId": "123456789012",
    "Partition": "aws",
    "Table": "slipway-prod",
    "KeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1",
}


def test_each_name_is_filled_in_and_a_missing_one_is_told() -> None:
    assert release.filled("${App}-${Stage}", NAMES) == "slipway-prod"
    with pytest.raises(DeployError, match=r"\$\{Colour\}"):
        release.filled("${App}-${Colour}", NAMES)


def test_a_network_is_given_to_the_functions_that_speak_ssh_alone() -> None:
    network = {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}

    config = release._config(Wanted("prod", NAMES, {"SLIPWAY_BASE_DOMAIN": "example.com"}, network))

    mine = config["stages"]["prod"]
    plugged = {name for name, function in mine["lambda_functions"].items() if "subnet_ids" in function}
    assert plugged == set(release.SPEAK_SSH)
    assert mine["environment_variables"]["SLIPWAY_BASE_DOMAIN"] == "example.com"
    assert mine["environment_variables"]["SLIPWAY_TABLE"] == "slipway-prod"
    assert "${" not in json.dumps(config)
    assert mine["lambda_architecture"] == "arm64"


def test_a_stage_that_chalice_does_not_know_is_told_with_those_it_does() -> None:
    with pytest.raises(DeployError, match=r"no stage 'test'.*local, prod"):
        release._config(Wanted("test", NAMES))


def test_a_stage_that_was_copied_from_another_answers_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    written = release._written()
    written["stages"]["staging"] = written["stages"]["prod"]
    monkeypatch.setattr(release, "_written", lambda: written)

    config = release._config(Wanted("staging", {**NAMES, "Stage": "staging"}))

    assert config["stages"]["staging"]["api_gateway_stage"] == "staging"


def test_the_packages_are_those_of_the_requirements_without_what_chalice_adds_itself() -> None:
    given = (PROJECT / "requirements.txt").read_text()

    wanted = release._requirements(given)

    names = {line.partition("==")[0] for line in wanted}
    assert {"botocore", "pydantic", "paramiko", "cryptography"} <= names
    assert not names & {"boto3", "chalice"}


def test_what_the_packages_need_is_named_and_held_too() -> None:
    """At the versions that these tests run with; nothing is in the layer that nothing asks for."""
    held = dict(line.split("==") for line in release._requirements((PROJECT / "requirements.txt").read_text()))
    text = (PROJECT / "requirements.txt").read_text()
    chosen = {line.partition("==")[0] for line in text.partition("# What those bring along")[0].splitlines()}
    needed: set[str] = {canonicalize_name(name) for name in (held.keys() & chosen) | {"botocore"}}
    while more := {each for name in needed for each in _needs(name)} - needed:
        needed |= more

    assert {canonicalize_name(name): version for name, version in held.items()} == {
        name: metadata.version(name) for name in needed
    }


def _needs(name: str) -> Iterator[str]:
    """What the installed package asks for, but for its extras."""
    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield canonicalize_name(wanted.name)


def test_what_is_shipped_is_compiled_so_that_a_disk_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "module.py").write_text("x = 1\n")

    release._compile(tmp_path / "lib")

    (made,) = (tmp_path / "lib" / "__pycache__").glob("*.pyc")
    flags = int.from_bytes(made.read_bytes()[4:8], "little")
    assert flags == 0b01  # by hash, and not looked up in the source


def test_ours_is_shipped_as_bytecode_and_what_hosts_get_as_source(tmp_path: Path) -> None:
    (tmp_path / "chalicelib" / "hostkit").mkdir(parents=True)
    (tmp_path / "chalicelib" / "module.py").write_text("x = 1\n")
    for name in ("main", "version"):
        (tmp_path / "chalicelib" / "hostkit" / f"{name}.py").write_text("x = 1\n")

    release._compile_ours(tmp_path / "chalicelib")

    files = {str(path.relative_to(tmp_path / "chalicelib")) for path in tmp_path.rglob("*") if path.is_file()}
    version = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    kit = {"hostkit/main.py", "hostkit/version.py", f"hostkit/__pycache__/version.{version}.pyc"}
    assert files == {"module.pyc", *kit}


def test_what_functions_import_of_the_kit_is_compiled() -> None:
    """Each module that anything but the kit imports of it, with what that brings with it."""
    imports: set[str] = set()
    for path in (PROJECT / "chalicelib").rglob("*.py"):
        if PROJECT / "chalicelib" / "hostkit" not in path.parents:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chalicelib.hostkit"):
                    imports |= {f"from {node.module} import {name.name}" for name in node.names}
    program = "\n".join([*sorted(imports), "import sys", "print(*(name for name in sys.modules if 'hostkit' in name))"])

    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)

    modules = {name.partition("chalicelib.hostkit")[2].lstrip(".") or "__init__" for name in done.stdout.split()}
    assert imports
    assert modules == set(release.KIT_IMPORTED)


def test_every_service_that_the_functions_ask_is_packed() -> None:
    asked = set()
    for path in (PROJECT / "chalicelib").rglob("*.py"):
        asked |= {word.split('"')[1] for word in path.read_text().split("_client(")[1:] if word.startswith('"')}

    assert asked
    assert asked <= set(release.SERVICES)

"""The release: a folder that `chalice deploy` or `chalice package` takes as its project, small and quick to import.

Three things are done that Chalice does not do. Wheels are put into `vendor/` for the functions' processor, without
what the functions never import (boto3, S3's transfers, 400 services of botocore, tests). Everything is compiled, with
bytecode that is not checked against its source, since Lambda's disk cannot be written and its files have one date;
our own goes without its source, but for the host kit, which hosts get as source. And what is `${…}` in config.json and
the policies is filled in.
"""

import compileall
import json
import os
import platform
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from infra.deploy.errors import DeployError
from infra.deploy.stages import PROJECT

# The services that the functions ask; botocore's data of the others is left out.
FUNCTION_LIMIT = 1_000_000
LAYER_LIMIT = 20_000_000
SERVICES = ("apigatewaymanagementapi", "bedrock-runtime", "dynamodb", "kms", "lambda", "s3", "stepfunctions")
# The functions that hold SSH keys, and stand in a network where there is one.
SPEAK_SSH = ("host_step", "host_call")
_WHEELS = {"arm64": "aarch64", "x86_64": "x86_64"}
_NOT_SHIPPED = ("boto3", "chalice")
_PRUNED = ("bin", "*.dist-info", "**/tests", "**/testing", "**/*.pyi", "**/__pycache__")
# By which the agent that is put on hosts finds what goes into it, and its licence.
_NEEDED = "websocket_client-*.dist-info"
# What the functions themselves import of it; the rest is only sent to hosts, as source, and needs no bytecode.
KIT_IMPORTED = ("__init__", "engine", "pull", "refusals", "remotes", "version")
_UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


@dataclass(frozen=True)
class Sizes:
    function: int
    layer: int


def own_architecture() -> str:
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"


@dataclass(frozen=True)
class Wanted:
    """What a release is made for: `names` fill in `${…}`, `network` is where the functions that speak SSH stand."""

    stage: str
    names: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    network: Mapping[str, list[str]] = field(default_factory=dict)
    architecture: str | None = None  # None: what config.json says


def build(wanted: Wanted, folder: Path) -> Path:
    """Make `folder` the project of this release."""
    names = wanted.names
    config = _config(wanted)
    (folder / ".chalice").mkdir(parents=True, exist_ok=True)
    for name in ("chalicelib", ".chalice/policies"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copy(PROJECT / "app.py", folder)
    shutil.copytree(PROJECT / "chalicelib", folder / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
    _compile_ours(folder / "chalicelib")
    (folder / ".chalice" / "config.json").write_text(json.dumps(config, indent=2))
    for policy in sorted((PROJECT / ".chalice" / "policies").glob("*.json")):
        _write(folder / ".chalice" / "policies" / policy.name, filled(policy.read_text(), names))
    _vendor(folder, config["stages"][wanted.stage].get("lambda_architecture", "x86_64"))
    (folder / "requirements.txt").write_text("")  # all is in vendor/
    return folder


def filled(text: str, names: Mapping[str, str]) -> str:
    """The text with each `${Name}`. Raise `DeployError` for one that nobody gave."""
    try:
        return Template(text).substitute(names)
    except KeyError as error:
        raise DeployError(f"${{{error.args[0]}}} stands in the configuration and nobody says what it is") from None


def package(project: Path, stage: str, region: str) -> Sizes:
    """Have Chalice make its archives, as it does at a deploy, and measure them."""
    chalice(project, {"AWS_DEFAULT_REGION": region}, "package", "--stage", stage, str(project / "packaged"))
    archives = {path.name.split("-")[0]: path for path in (project / ".chalice" / "deployments").glob("*.zip")}
    if not {"appcode", "managed"} <= archives.keys():
        raise DeployError(f"Chalice left other archives than expected: {sorted(archives)}")
    return Sizes(archives["appcode"].stat().st_size, archives["managed"].stat().st_size)


def chalice(project: Path, environment: Mapping[str, str], *words: str) -> None:
    """Run Chalice on this project. Raise `DeployError` with the end of what it said."""
    shutil.rmtree(project / ".chalice" / "deployments", ignore_errors=True)
    program = "import sys; from chalice.cli import main; sys.exit(main())"
    done = subprocess.run(  # noqa: S603  our own words
        [sys.executable, "-c", program, "--project-dir", str(project), *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(f"chalice {words[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def functions(stage: str) -> dict[str, dict[str, Any]]:
    """What config.json says of each function of this stage, by its name."""
    found: dict[str, dict[str, Any]] = _stage(_written(), stage)["lambda_functions"]
    return found


def processor(stage: str) -> str:
    """The one that config.json says, or Lambda's own choice."""
    return str(_stage(_written(), stage).get("lambda_architecture", "x86_64"))


def days_of_logs(stage: str) -> int:
    return int(_stage(_written(), stage)["log_retention_in_days"])


def _written() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    return config


def _stage(config: dict[str, Any], stage: str) -> dict[str, Any]:
    found: dict[str, Any] | None = config["stages"].get(stage)
    if found is None:
        there = ", ".join(config["stages"])
        raise DeployError(f"there is no stage {stage!r} in .chalice/config.json (there: {there})")
    return found


def _config(wanted: Wanted) -> dict[str, Any]:
    """config.json with this one stage, as it is for this account.

    API Gateway's stage is called as ours, whatever a part that was copied says: every address is made of that name.
    """
    config = _written()
    mine: dict[str, Any] = json.loads(filled(json.dumps(_stage(config, wanted.stage)), wanted.names))
    mine["api_gateway_stage"] = wanted.stage
    mine["environment_variables"] = {**mine.get("environment_variables", {}), **wanted.environment}
    for name in SPEAK_SSH:
        mine["lambda_functions"][name].update(wanted.network)
    if wanted.architecture:
        mine["lambda_architecture"] = wanted.architecture
    return {**config, "stages": {wanted.stage: mine}}


def _vendor(folder: Path, architecture: str) -> None:
    """Downloaded once for what is asked; compiled and pruned in place."""
    requirements = _requirements((PROJECT / "requirements.txt").read_text())
    wanted = json.dumps([requirements, architecture, sys.version_info[:2], SERVICES, _PRUNED, _NEEDED])
    vendor, stamp = folder / "vendor", folder / "vendor.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(vendor, ignore_errors=True)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    machine = _WHEELS[architecture]
    # Without dependencies: requirements.txt names them all.
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--only-binary=:all:"]
    options += ["--target", str(vendor)]
    tags = [f"--platform={tag}_{machine}" for tag in ("manylinux_2_26", "manylinux_2_17", "manylinux2014")]
    done = subprocess.run(  # noqa: S603  our own words
        [sys.executable, "-m", "pip", "install", *options, *tags, f"--python-version={version}", *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(f"the packages of requirements.txt for {architecture} could not be had:\n{done.stderr}")
    _prune(vendor)
    _compile(vendor)
    stamp.write_text(wanted)


def _requirements(text: str) -> list[str]:
    """requirements.txt as the functions need it: of boto3 its botocore, of Chalice what Chalice itself adds."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and line.partition("==")[0] not in _NOT_SHIPPED]


def _prune(vendor: Path) -> None:
    for pattern in _PRUNED:
        for path in [*vendor.glob(pattern)]:
            if path.match(_NEEDED):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    data = vendor / "botocore" / "data"
    for path in data.iterdir():
        if path.is_dir() and path.name not in SERVICES:
            shutil.rmtree(path)


def _compile_ours(folder: Path) -> None:
    """In the source's place. A traceback still names file and line, and does not quote them."""
    _compile(folder, legacy=True)
    kit = folder / "hostkit"
    for source in folder.rglob("*.py"):
        if kit in source.parents:
            source.with_suffix(".pyc").unlink()
        else:
            source.unlink()
    _compile(kit)
    for bytecode in kit.rglob("*.pyc"):
        if bytecode.parent.parent != kit or bytecode.name.split(".")[0] not in KIT_IMPORTED:
            bytecode.unlink()


def _compile(folder: Path, *, legacy: bool = False) -> None:
    done = compileall.compile_dir(
        folder,
        quiet=2,
        force=True,
        legacy=legacy,
        invalidation_mode=_UNCHECKED,
        stripdir=str(folder.parent),
        prependdir="/var/task",
    )
    if not done:
        raise DeployError(f"{folder.name} does not compile")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

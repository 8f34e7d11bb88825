"""What these tests share: a short way to plan, and the real Compose binary, run so that it can do no harm."""

import json
import os
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from chalicelib.domain.compose import Defaults, Plan, plan
from chalicelib.domain.errors import ValidationFailed

SERVICE_ID = "svc_abcdefghij012345"
Planned = Callable[..., Plan]
Refused = Callable[..., list[dict[str, str]]]
Resolved = Callable[..., dict[str, Any]]

_PLUGIN_FOLDERS = (
    "/usr/libexec/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    str(Path.home() / ".docker/cli-plugins"),
)
_ADDRESS_SPACE = 3 * 2**30


@pytest.fixture(scope="session")
def planned() -> Planned:
    def run(text: str, variables: Mapping[str, str] | None = None, **options: Any) -> Plan:
        chosen: dict[str, Any] = {"release": 3, "publish_ports": False, "defaults": Defaults(500, 256, 128)} | options
        return plan(text, variables or {}, service_id=SERVICE_ID, **chosen)

    return run


@pytest.fixture(scope="session")
def refused(planned: Planned) -> Refused:
    def run(text: str, variables: Mapping[str, str] | None = None, **options: Any) -> list[dict[str, str]]:
        with pytest.raises(ValidationFailed) as caught:
            planned(text, variables, **options)
        details: list[dict[str, str]] = caught.value.details
        return details

    return run


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    """`docker compose config` on a text: what it resolved, or {"error": …}. Never to be given a bomb."""
    binary = next((path for folder in _PLUGIN_FOLDERS if (path := Path(folder, "docker-compose")).exists()), None)
    if binary is None:
        pytest.skip("NOT TESTED: no docker-compose plugin on this machine, so nothing is compared with the real one")
    folder = tmp_path_factory.mktemp("compose")

    def run(text: str, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
        done = subprocess.run(
            ["timeout", "-k", "1", "20", binary, "-p", SERVICE_ID, "-f", "-", "config", "--format", "json"],
            input=text,
            env={"PATH": os.defpath, "HOME": str(folder), **(variables or {})},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE)),
            capture_output=True,
            check=False,
            cwd=folder,
            text=True,
        )
        return {"error": done.stderr} if done.returncode else dict(json.loads(done.stdout))

    return run

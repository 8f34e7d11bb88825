"""Secrets go to the containers that need them, and are in the clear nowhere else."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Client, Plane

NAMED = "canary-named-8fk2vq0zj4"
LOOKING = "canary-looking-x7c1mw93pd"
COMPOSE = """\
services:
  web:
    image: busybox:1
    environment:
      LICENSE: ${LICENSE}
      DB_PASSWORD: ${DB_PASSWORD}
      DSN: postgres://app:${DB_PASSWORD}@db/app
    command: ["sh", "-c", "%s"]
    expose: ["8000"]
    stop_signal: SIGKILL
"""
SERVES = COMPOSE % "mkdir /www; echo $$DSN $$LICENSE >/www/index.html; exec httpd -f -p 8000 -h /www"
TELLS = COMPOSE % "echo cannot reach $$DSN with $$LICENSE; echo $$DB_PASSWORD | base64; exit 3"
VARIABLES = {"LICENSE": NAMED, "DB_PASSWORD": LOOKING}


def test_secrets_reach_the_container_and_are_nowhere_else_in_the_clear(
    admin: Client, plane: Plane, host: DockerHost
) -> None:
    told: list[Any] = []
    with _watched() as command_lines:
        good = admin.create("sealed", SERVES, variables=VARIABLES, secret_variables=["LICENSE"], host_id=host.id)
        told += [good, admin.succeeded(good["deploy_job_id"])]
        bad = admin.create("talkative", TELLS, variables=VARIABLES, secret_variables=["LICENSE"], host_id=host.id)
        failed = admin.failed(bad["deploy_job_id"])
        told += [bad, failed]

    assert host.visit(good["url"]).text == f"postgres://app:{LOOKING}@db/app {NAMED}\n"
    assert any("cannot reach postgres://app:[redacted]@db/app" in line for line in failed["error"]["details"]["logs"])
    for made in (good, bad):
        service = admin.get(f"services/{made['id']}")
        assert service["variables"] == dict.fromkeys(VARIABLES, "********")
        told += [service, admin.get(f"services/{made['id']}/events")]
    told.append(admin.get("services"))
    assert _shown_in(json.dumps(told).encode()) == []
    assert _shown_in(b"\n".join(command_lines)) == []
    assert any(b"talkative" in file.read_bytes() for file in _kept_by(plane)), "its state is kept elsewhere"
    assert {str(file): _shown_in(file.read_bytes()) for file in _kept_by(plane) if _shown_in(file.read_bytes())} == {}
    assert _files_on(host) == [
        f".slipway/services/{made['id']}/releases/1/compose.json deploy 600" for made in sorted((good, bad), key=_id)
    ]


def _id(made: dict[str, Any]) -> str:
    return str(made["id"])


@contextmanager
def _watched() -> Iterator[set[bytes]]:
    """Every command line seen meanwhile, the hosts' among them: this machine sees their processes too."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.update(map(_command_line, Path("/proc").glob("[0-9]*")))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()
    assert any(b"hostkit" in line for line in seen), "nothing of Slipway was seen at work"
    assert any(b"docker-compose" in line for line in seen), "Compose was not seen at work"


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it ended while we looked


def _shown_in(text: bytes) -> list[str]:
    """The secrets that stand in this text, as they are or in base64."""
    forms = {secret: (secret.encode(), base64.b64encode(secret.encode())[:-4]) for secret in VARIABLES.values()}
    return [secret for secret, written in forms.items() if any(form in text for form in written)]


def _kept_by(plane: Plane) -> list[Path]:
    return [plane.output, *(file for file in plane.state.rglob("*") if file.is_file())]


def _files_on(host: DockerHost) -> list[str]:
    """Files of the SSH user that hold a secret: where, whose, and who may read them."""
    looking = 'cd "/home/$0" && { grep -rlE "$1" . || true; } | sed s,^./,, | sort | xargs -r stat -c "%n %U %a"'
    return host.lab.exec("sh", "-c", looking, host.lab.user, "|".join(VARIABLES.values())).splitlines()

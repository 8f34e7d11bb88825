"""Secrets go to the containers that need them, and are in the clear nowhere else."""

import json
from typing import Any

from tests.journeys.canaries import command_lines, files_on, kept_by, shown_by, shown_in
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
    with command_lines() as seen:
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
    secrets = VARIABLES.values()
    assert shown_in(json.dumps(told).encode(), secrets) == []
    assert shown_in(b"\n".join(seen), secrets) == []
    assert any(b"talkative" in file.read_bytes() for file in kept_by(plane)), "its state is kept elsewhere"
    assert shown_by(plane, secrets) == {}
    assert files_on(host, secrets) == [
        f".slipway/services/{made['id']}/releases/1/compose.json deploy 600" for made in sorted((good, bad), key=_id)
    ]


def _id(made: dict[str, Any]) -> str:
    return str(made["id"])

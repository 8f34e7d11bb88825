"""`up --no-host`: a panel alone, for those who have Docker hosts; it touches nothing of the machine it runs on."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.journeys.plane import PROJECT, Plane


def test_a_panel_without_a_host_has_a_token_and_a_customer_and_takes_hosts(tmp_path: Path) -> None:
    with Plane(tmp_path, {"PATH": str(tmp_path), "DOCKER_HOST": "unix:///nowhere"}) as plane:
        told = json.loads((tmp_path / "ready.json").read_text())
        admin = plane.client()

        host = admin.post("hosts", {"name": "far", "address": "192.0.2.1", "user": "deploy", "host_key": _KEY})

        assert told["host_id"] is None
        assert host["public_key"].startswith("ssh-ed25519 ")
        assert [customer["id"] for customer in admin.get("customers")["data"]] == [told["customer_id"]]
        assert [one["name"] for one in admin.get("hosts")["data"]] == ["far"]
    assert not (tmp_path / "state" / "machine").exists()


def test_a_setting_that_is_no_number_is_refused_in_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "infra.local", "up", "--no-host", "--port", "0", "--state", str(tmp_path)]
    environment = {**os.environ, "SLIPWAY_EDGE_HTTP_PORT": "eighty"}

    ended = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (ended.returncode, ended.stderr) == (
        1,
        "slipway: SLIPWAY_EDGE_HTTP_PORT must be a whole number, not 'eighty'\n",
    )


_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

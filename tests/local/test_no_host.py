"""`up --no-host`: a panel alone, for those who have Docker hosts; it touches nothing of the machine it runs on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from infra.local.runner import urls
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


def test_it_answers_on_every_address_it_is_given_and_tells_others_the_one_they_reach(tmp_path: Path) -> None:
    with Plane(tmp_path, {}, ("127.0.0.1", "127.0.0.2")) as plane:
        port = plane.api.rpartition(":")[2]
        for address in ("127.0.0.1", "127.0.0.2"):
            assert requests.get(f"http://{address}:{port}/api/health", timeout=10).ok
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.3:{port}/api/health", timeout=10)


@pytest.mark.parametrize(
    ("addresses", "place"),
    [
        (["127.0.0.1"], "127.0.0.1:80"),
        (["127.0.0.1", "10.0.0.5", "10.0.0.6"], "10.0.0.5:80"),
    ],
)
def test_others_reach_it_by_the_first_address_that_is_not_loopback(addresses: list[str], place: str) -> None:
    assert urls(addresses, 80) == {
        "SLIPWAY_PUBLIC_URL": f"http://{place}",
        "SLIPWAY_WEBSOCKET_URL": f"ws://{place}",
    }


def test_an_address_that_is_not_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    assert _refusal(tmp_path, "--address", "192.0.2.1") == (
        1,
        "slipway: cannot listen on 192.0.2.1 port 0: Cannot assign requested address\n",
    )
    assert "an address is like 10.0.0.5, not here" in _refusal(tmp_path, "--address", "here")[1]


def test_a_setting_that_is_no_number_is_refused_in_one_line(tmp_path: Path) -> None:
    assert _refusal(tmp_path, SLIPWAY_EDGE_HTTP_PORT="eighty") == (
        1,
        "slipway: SLIPWAY_EDGE_HTTP_PORT must be a whole number, not 'eighty'\n",
    )
    assert _refusal(tmp_path, SLIPWAY_LOCAL_SOCKET_IDLE_SECONDS="0") == (
        1,
        "slipway: SLIPWAY_LOCAL_SOCKET_IDLE_SECONDS must be a number of seconds, not '0'\n",
    )


def _refusal(state: Path, *more: str, **settings: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "infra.local", "up", "--no-host", "--port", "0", "--state", str(state), *more]
    environment = {**os.environ, **settings}
    ended = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return ended.returncode, ended.stderr


_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

"""The first admin token, customer, host and demo template of a one-machine installation, made through the API.

Each is made once and found again at the next start. Only the first token cannot come from the API, which asks for one:
it is put straight into the table, and its text is kept beside the state, readable by its owner alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from chalicelib.domain.errors import NotFound
from chalicelib.domain.panel import new_token, parse_token
from chalicelib.domain.words import now
from chalicelib.wiring import adapters
from infra.local.machine import Machine

CUSTOMER = "Local customer"
HOST = "local"
DEMO = "demo"

_DEMO_COMPOSE = """\
services:
  web:
    image: {image}
    environment:
      SERVICE_NAME: ${{SERVICE_NAME}}
    volumes:
      - data:/data
    expose:
      - "8000"
volumes:
  data: {{}}
"""


class BootstrapError(Exception):
    """The API refused something that a first start needs."""


@dataclass(frozen=True)
class Ready:
    """`problems` say why the host cannot take services yet."""

    token: str
    host_id: str | None
    customer_id: str
    problems: tuple[str, ...]


def warm_up() -> None:
    """Import what the first deploy needs, so that it is as quick as the second."""
    import chalicelib.deploy.calls  # noqa: PLC0415
    import chalicelib.deploy.steps  # noqa: PLC0415
    import chalicelib.ssh  # noqa: F401, PLC0415


def run(api: str, machine: Machine | None, token_file: Path) -> Ready:
    """Make or find them; no host and no demo without machine. Raise `BootstrapError` with the API's own words."""
    token = _admin_token(token_file)
    panel = _Panel(api, token)
    customer = panel.find("customers", CUSTOMER) or panel.post("customers", {"name": CUSTOMER})
    if machine is None:
        return Ready(token, None, customer["id"], ())
    host = _host(panel, machine)
    _demo(panel, machine.demo_image)
    problems = () if host["status"] == "ready" else tuple(problem["message"] for problem in host["problems"])
    return Ready(token, host["id"], customer["id"], problems)


def _admin_token(file: Path) -> str:
    if file.exists():
        text = file.read_text().strip()
        parsed = parse_token(text)
        try:
            if parsed and adapters().tokens.get(parsed[0]).revoked_at is None:
                return text
        except NotFound:  # the state beside it was thrown away
            pass
    token, text = new_token("local admin", "admin", None, None, now())
    file.touch(mode=0o600)
    file.write_text(text + "\n")
    adapters().tokens.add(token)
    return text


def _host(panel: "_Panel", machine: Machine) -> dict[str, Any]:
    host = panel.find("hosts", HOST)
    offered = {"address": machine.address, "port": machine.port, "user": machine.user}
    if host and {name: host[name] for name in offered} != offered:
        # Its sshd had to take another port: the same machine with the same key, so no new host.
        adapters().hosts.change(adapters().hosts.get(host["id"]), **offered)
    if host is None:
        wanted = {
            "name": HOST,
            "address": machine.address,
            "port": machine.port,
            "user": machine.user,
            "private_key": machine.private_key,
            "host_key": machine.host_key,
        }
        host = panel.post("hosts", wanted)
    return panel.post(f"hosts/{host['id']}/check", None)


def _demo(panel: "_Panel", image: str) -> None:
    wanted = {
        "id": DEMO,
        "name": "Demo",
        "description": "Says hello over HTTP, from an image built on this machine.",
        "category": "webapps",
        "compose": _DEMO_COMPOSE.format(image=image),
        "variables": [{"name": "SERVICE_NAME", "label": "Name", "description": "Whom the greeting comes from."}],
        "expose": {"service": "web", "port": 8000},
        "healthcheck": {"path": "/healthz", "timeout_seconds": 60},
        "min_resources": {"cpu": 0.1, "memory_mb": 32},
    }
    present = panel.get(f"templates/{DEMO}")
    if present and present["compose"] == wanted["compose"]:
        return
    if present:
        panel.delete(f"templates/{DEMO}")
    panel.post("templates", wanted)


class _Panel:
    def __init__(self, api: str, token: str) -> None:
        self._api = api
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        listed = self._told(self._session.get(f"{self._api}/api/{kind}", timeout=30))
        return next((one for one in listed["data"] if one["name"] == name), None)

    def get(self, path: str) -> dict[str, Any] | None:
        response = self._session.get(f"{self._api}/api/{path}", timeout=30)
        return None if response.status_code == requests.codes.not_found else self._told(response)

    def post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        return self._told(self._session.post(f"{self._api}/api/{path}", json=body, timeout=60))

    def delete(self, path: str) -> None:
        self._told(self._session.delete(f"{self._api}/api/{path}", timeout=30))

    def _told(self, response: requests.Response) -> dict[str, Any]:
        if not response.ok:
            raise BootstrapError(f"{response.request.method} {response.request.path_url}: {response.text}")
        body: dict[str, Any] = response.json() if response.content else {}
        return body

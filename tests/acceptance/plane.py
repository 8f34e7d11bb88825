"""The control plane as it is released: packaged, deployed into an emulated AWS account, behind its API Gateway."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import requests

from chalicelib.domain.panel import hash_of
from chalicelib.settings import Settings
from tests.acceptance.cloud import ACCOUNT, REGION, Account, account
from tests.acceptance.edge import EDGE_KEY, Edge
from tests.journeys.plane import SETTINGS, Plane

_STAGE = """\
account = "{account}"
region = "{region}"
deletion_protection = false

[network]
mode = "none"

[edge]
enabled = false

[settings]
{settings}
"""


def _addresses(address: str, port: int) -> dict[str, str]:
    """Where the release is told that it answers, of the settings that it has."""
    at = {
        "SLIPWAY_PUBLIC_URL": f"http://{address}:{port}",
        "SLIPWAY_WEBSOCKET_URL": f"ws://{address}:{port}",
        "SLIPWAY_EDGE_KEY_SHA256": hash_of(EDGE_KEY),
    }
    known = {f"SLIPWAY_{name.upper()}" for name in Settings.__dataclass_fields__}
    return {name: value for name, value in at.items() if name in known}


def stage_text(**more: str) -> str:
    """The stage that journeys run on: what they change of the settings, the local runner changes too."""
    settings = {**SETTINGS, "SLIPWAY_REQUESTS_PER_MINUTE": "60000", **more}
    lines = (f'{name.removeprefix("SLIPWAY_").lower()} = "{value}"' for name, value in settings.items())
    return _STAGE.format(account=ACCOUNT, region=REGION, settings="\n".join(lines))


class Packaged(Plane):
    """Deployed when made. What only a process knows, to be killed, is skipped loudly: Lambda has none."""

    def __init__(self, folder: Path, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        """`addresses`: where it answers; the last of them is the one that hosts are told."""
        self._folder = folder
        self.output = folder / "emulator"  # what functions log is in it
        with ExitStack() as starting:
            self.account: Account = starting.enter_context(account(folder))
            emulator = self.account.emulator
            edge = starting.enter_context(Edge(emulator.url, emulator.client, addresses))
            self.port = edge.port
            settings = _addresses(addresses[-1], edge.port)
            self._deploy(settings)
            if sockets := self.account.deployed().get("websocket_api"):
                # Signed for the address that is asked, so it must be the emulator's own, with the id that it just gave.
                endpoint = f"{emulator.url}/_aws/execute-api/{sockets['websocket_api_id']}/prod"
                self._deploy({**settings, "SLIPWAY_WEBSOCKET_ENDPOINT": endpoint})
            # It refuses what comes without TLS, as it should, and the emulator has none.
            emulator.client("s3").delete_bucket_policy(Bucket=f"slipway-prod-output-{ACCOUNT}")
            self.api, self.token = f"http://127.0.0.1:{edge.port}", self.account.admin_token()
            self.websocket = f"ws://127.0.0.1:{edge.port}"
            self.customer_id = self._customer()
            self._started = starting.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def _deploy(self, settings: Mapping[str, str]) -> None:
        self.account.write_stage(stage_text(**settings))
        done = self.account.run("up", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr

    def restart(self, *_: Any) -> None:
        pytest.skip("Lambda has no process to restart")

    def kill(self, meanwhile: Any = None) -> None:
        pytest.skip("Lambda has no process to kill")

    @property
    def state(self) -> Path:  # type: ignore[override]  # written anew whenever it is asked for
        """All that the table holds, as it holds it."""
        folder = self._folder / "state"
        folder.mkdir(exist_ok=True)
        pages = self.account.emulator.client("dynamodb").get_paginator("scan").paginate(TableName="slipway-prod")
        (folder / "table").write_text(repr([item for page in pages for item in page["Items"]]))
        return folder

    def _customer(self) -> str:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                f"{self.api}/api/customers",
                json={"name": "Local customer"},  # as the one-machine runner calls its first
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=60,
            )
        assert answer.ok, answer.text
        return str(answer.json()["id"])

"""The control plane as it is released: packaged, deployed into an emulated AWS account, behind its API Gateway."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import requests

from tests.acceptance.cloud import ACCOUNT, REGION, Account, account
from tests.journeys.plane import SETTINGS, Plane

_STAGE = """\
account = "{account}"
region = "{region}"
deletion_protection = false

[network]
mode = "none"

[settings]
{settings}
"""


def stage_text(**more: str) -> str:
    """The stage that journeys run on: what they change of the settings, the local runner changes too."""
    settings = {**SETTINGS, "SLIPWAY_REQUESTS_PER_MINUTE": "60000", **more}
    lines = (f'{name.removeprefix("SLIPWAY_").lower()} = "{value}"' for name, value in settings.items())
    return _STAGE.format(account=ACCOUNT, region=REGION, settings="\n".join(lines))


class Packaged(Plane):
    """Deployed when made. What only a process knows, to be killed, is skipped loudly: Lambda has none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.output = folder / "emulator"  # what functions log is in it
        with ExitStack() as starting:
            self.account: Account = starting.enter_context(account(folder))
            self.account.write_stage(stage_text())
            done = self.account.run("up", "--yes")
            assert done.returncode == 0, done.stdout + done.stderr
            self.api, self.token = self.account.api, self.account.admin_token()
            self.customer_id = self._customer()
            self._started = starting.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def restart(self) -> None:
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

"""An AWS emulator in a process of its own, and Slipway deployed into it by the very command that an operator types.

The emulator checks IAM (`AUTH=true`): a function whose policy lacks an action fails here. Its Lambda workers run what
was packaged: the functions' archive and the layer, unpacked, in processes of their own.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import botocore

from infra.deploy.release import own_architecture
from tests.acceptance.imports import Imports

PROJECT = Path(__file__).resolve().parents[2]
ACCOUNT, REGION, STAGE = "123456789012", "eu-central-1", "prod"
_READY_S = 30.0
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Emulator:
    """Up when made."""

    def __init__(self, folder: Path) -> None:
        self._output = folder / "emulator"
        self._noted = folder / "noted"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            **_CREDENTIALS,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",  # it would open other ports
            "SFTP_ENABLED": "0",
            "AUTH": "true",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "PYTHONWARNINGS": "ignore",
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.emulator", str(self._noted)],
                cwd=folder,
                env={**environment, "PYTHONPATH": str(PROJECT)},
                stdout=output,
                stderr=output,
            )
        try:
            self._wait()
        except BaseException:
            self._process.kill()
            self._process.wait(10)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait(10)

    @property
    def environment(self) -> dict[str, str]:
        return {**_CREDENTIALS, "AWS_ENDPOINT_URL": self.url}

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def used(self, function: str) -> set[str]:
        """The actions that this function asked for, in its role."""
        told = self.client("lambda").get_function_configuration(FunctionName=function)
        return self.asked(told["Role"].rpartition("/")[2])

    def asked(self, role: str) -> set[str]:
        """The actions, as IAM calls them, that sessions of this role asked for."""
        noted = (json.loads(line) for line in self._noted.read_text().splitlines())
        return {action for by, action in noted if by == role}

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, self.said()
                assert time.monotonic() < deadline, f"not ready: {self.said()}"
                time.sleep(0.1)


class Account:
    """The emulator as an operator's account, with a stage file and a folder for the release."""

    def __init__(self, emulator: Emulator, folder: Path, imports: Imports) -> None:
        self.emulator = emulator
        self.stages = folder / "stages"
        self.folder = folder / "release"
        self.imports = imports
        self._data = _quicker_waiters(folder / "botocore")
        self.stages.mkdir()

    def write_stage(self, text: str, name: str = STAGE) -> None:
        (self.stages / f"{name}.toml").write_text(text)

    def run(self, verb: str, *words: str, stage: str = STAGE, **environment: str) -> subprocess.CompletedProcess[str]:
        """`python -m infra.deploy`, as in an operator's shell."""
        where = ["--stage", stage, "--stages", str(self.stages), "--folder", str(self.folder)]
        where += ["--architecture", own_architecture()]
        return subprocess.run(
            [sys.executable, "-m", "infra.deploy", verb, *where, *words],
            cwd=PROJECT,
            env={**os.environ, **self.environment(), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )

    def environment(self) -> dict[str, str]:
        """What leads an operator's commands here."""
        return {
            **self.emulator.environment,
            "AWS_ENDPOINT_URL_API_GATEWAY": self.imports.url,
            "AWS_ENDPOINT_URL_APIGATEWAYV2": self.imports.url,
            "AWS_DATA_PATH": str(self._data),
        }

    def deployed(self) -> dict[str, dict[str, Any]]:
        """Chalice's state as the deposit has it, by name."""
        told = self.emulator.client("s3").get_object(
            Bucket=f"slipway-{STAGE}-deploys-{ACCOUNT}", Key=f"deployed/{STAGE}.json"
        )
        return {each["name"]: each for each in json.loads(told["Body"].read())["resources"]}

    @property
    def api(self) -> str:
        """What stands before /api/… in this emulator's URLs."""
        return f"{self.emulator.url}/_aws/execute-api/{self.deployed()['rest_api']['rest_api_id']}/{STAGE}"

    def admin_token(self) -> str:
        secret = self.emulator.client("secretsmanager").get_secret_value(SecretId=f"slipway-{STAGE}-admin-token")
        return str(json.loads(secret["SecretString"])["token"])


@contextmanager
def account(folder: Path) -> Iterator[Account]:
    with Emulator(folder) as emulator, Imports(emulator.url, emulator.client("apigateway")) as imports:
        yield Account(emulator, folder, imports)


def _quicker_waiters(folder: Path) -> Path:
    """botocore's data, where a look whether a function is active comes after 0.2 s and not after five."""
    of_lambda = Path("lambda", "2015-03-31", "waiters-2.json")
    waiters = json.loads((Path(botocore.__file__).parent / "data" / of_lambda).read_text())
    for waiter in waiters["waiters"].values():
        waiter["delay"] = min(waiter["delay"], 0.2)
    (folder / of_lambda.parent).mkdir(parents=True)
    (folder / of_lambda).write_text(json.dumps(waiters))
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""What the runner's tests share: boto3 clients that are closed, a network of their own, a folder that all may pass."""

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from infra.local.facade import Facade
from infra.local.wire import REGION
from tests.lab import ground

_NEW_NETWORK = 0x40000000


@contextmanager
def client_of(facade: Facade, service: str) -> Iterator[Any]:
    client = boto3.session.Session().client(
        service,
        endpoint_url=facade.url,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def own_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network namespace for this test, so that Docker's firewall rules and bridges never meet the machine's own."""
    reason = ground.missing()
    if reason:
        pytest.skip(f"no Docker engine can be started here: {reason}")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")  # an engine of our own, even where one runs
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(_NEW_NETWORK) != 0:
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
        assert libc.setns(before.fileno(), _NEW_NETWORK) == 0


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A folder everyone may pass through: pytest's own are closed to the login user."""
    with tempfile.TemporaryDirectory(prefix="slipway-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "state")

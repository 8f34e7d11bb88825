"""boto3 clients for the local AWS, closed when done with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from infra.local.facade import Facade
from infra.local.wire import REGION


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

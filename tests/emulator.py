"""DynamoDB, KMS and S3 for tests: the one-machine runner's own, behind real boto3 clients, anew for each test."""

import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib import wiring
from chalicelib.aws.objects import Objects
from chalicelib.aws.sealing import Sealer
from chalicelib.domain.job import Job
from chalicelib.domain.panel import Customer, Host, new_token
from chalicelib.domain.words import new_id, now
from chalicelib.settings import Settings
from chalicelib.store.table import Table, definition
from infra.local.dynamodb import DynamoDB
from infra.local.facade import Facade
from infra.local.keys import Keys
from infra.local.objects import Objects as LocalObjects
from tests.live.fakes import Gateway


class Workflow:
    """Notes which jobs were started; Step Functions itself is tested with the runner."""

    def __init__(self) -> None:
        self.started: list[Job] = []

    def start(self, job: Job) -> None:
        self.started.append(job)


class HostCalls:
    """Answers calls on hosts with what a test put in `answers`: a value, an error to raise, or a function."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"measure": {"measured": []}, "reconcile": {"corrected": []}}
        self.told: list[tuple[str, dict[str, Any]]] = []

    def ask(self, call: str, **arguments: Any) -> Any:
        self.told.append((call, arguments))
        answer = self.answers[call]
        if isinstance(answer, Exception):
            raise answer
        return answer(**arguments) if callable(answer) else answer

    def tell(self, call: str, **arguments: Any) -> None:
        self.told.append((call, arguments))


class Panel(wiring.Adapters):
    """The real stores on an empty table; what would leave the machine is noted."""

    def __init__(self, url: str) -> None:
        self._url = url

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._url,
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @cached_property
    def settings(self) -> Settings:
        # Tests ask faster than people; those about the limit give a token one of its own.
        own = f"t{uuid.uuid4().hex}"
        return Settings(table=own, bucket=own, requests_per_minute=0)

    @cached_property
    def table(self) -> Table:
        client = self.client("dynamodb")
        client.create_table(**definition(self.settings.table))
        return Table(client, self.settings.table)

    @cached_property
    def sealer(self) -> Sealer:
        return Sealer(self.client("kms"), self.settings.kms_key_id)

    @cached_property
    def objects(self) -> Objects:
        client = self.client("s3")
        client.create_bucket(Bucket=self.settings.bucket)
        return Objects(client, self.settings.bucket)

    @cached_property
    def workflow(self) -> Any:
        return Workflow()

    @cached_property
    def gateway(self) -> Any:
        return Gateway()

    @cached_property
    def host_calls(self) -> Any:
        return HostCalls()

    @cached_property
    def host_calls_quick(self) -> Any:
        return self.host_calls

    def a_customer(self, name: str = "Acme Corp") -> Customer:
        customer = Customer(id=new_id("cust"), name=name, created_at=now(), updated_at=now())
        self.customers.add(customer)
        return customer

    def a_host(self, name: str = "one") -> Host:
        host_id = new_id("host")
        host = Host(
            id=host_id,
            name=name,
            address="192.0.2.1",
            port=22,
            user="deploy",
            host_key="ssh-ed25519 AAAA",
            public_key="ssh-ed25519 BBBB",
            sealed_private_key=self.sealer.seal(b"key", host_id),
            status="ready",
            facts={"cpus": 8, "memory_mb": 100_000, "disk_total_mb": 1_000_000},
            created_at=now(),
            updated_at=now(),
        )
        self.hosts.add(host)
        return host

    def a_token(
        self,
        role: Any = "admin",
        customer_id: str | None = None,
        expires_at: str | None = None,
        requests_per_minute: int | None = None,
    ) -> str:
        token, text = new_token("test", role, customer_id, expires_at, now(), requests_per_minute)
        self.tokens.add(token)
        return text


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an AWS that has DynamoDB, KMS and S3."""
    folder: Path = tmp_path_factory.mktemp("aws")
    dynamodb, keys = DynamoDB(folder), Keys(folder / "kms.json")
    with Facade() as facade:
        facade.offer("DynamoDB_20120810", dynamodb.answer)
        facade.offer("TrentService", keys.answer)
        facade.offer_signed("s3", LocalObjects(folder / "s3").answer)
        yield facade.url
    dynamodb.close()


@pytest.fixture
def panel(local_aws: str) -> Iterator[Panel]:
    adapters = Panel(local_aws)
    wiring.use(adapters)
    yield adapters
    wiring.use(None)

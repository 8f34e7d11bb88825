"""Builds each adapter once, when it is first needed; tests put their own in with `use`."""

from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib.aws.functions import HostCalls
from chalicelib.aws.gateway import Gateway
from chalicelib.aws.objects import Objects
from chalicelib.aws.sealing import Sealer
from chalicelib.aws.workflow import Workflow
from chalicelib.domain.errors import NotFound
from chalicelib.domain.panel import Customer, Host, Token
from chalicelib.settings import Settings
from chalicelib.store.agents import AgentStore
from chalicelib.store.audit import AuditStore
from chalicelib.store.followers import FollowerStore
from chalicelib.store.hosts import HostStore
from chalicelib.store.installation import InstallationStore
from chalicelib.store.jobs import JobStore
from chalicelib.store.lanes import LaneStore
from chalicelib.store.promises import Promises
from chalicelib.store.rates import RateStore
from chalicelib.store.records import Records
from chalicelib.store.registries import RegistryStore
from chalicelib.store.replies import ReplyStore
from chalicelib.store.services import ServiceStore
from chalicelib.store.slots import Slots
from chalicelib.store.table import Table
from chalicelib.store.templates import TemplateStore
from chalicelib.store.tickets import TicketStore
from chalicelib.store.webhooks import WebhookStore

if TYPE_CHECKING:
    from chalicelib.ssh import HostAddress, RemoteHost

# A call to a host must answer before API Gateway gives up at 29 s.
HOST_CALL_SECONDS = 25
QUICK_CALL_SECONDS = 4
# A message to a follower that is not answered by then may have arrived or not.
POST_SECONDS = 4


class Adapters:
    """Everything outside the process that the doors talk to."""

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_environment()

    @cached_property
    def table(self) -> Table:
        return Table(_client("dynamodb"), self.settings.table)

    @cached_property
    def services(self) -> ServiceStore:
        return ServiceStore(self.table)

    @cached_property
    def jobs(self) -> JobStore:
        return JobStore(self.table)

    @cached_property
    def promises(self) -> Promises:
        return Promises(self.table)

    @cached_property
    def slots(self) -> Slots:
        return Slots(self.table, self.settings.jobs_at_once_per_host)

    @cached_property
    def hosts(self) -> HostStore:
        return HostStore(self.table)

    @cached_property
    def installation(self) -> InstallationStore:
        return InstallationStore(self.table)

    @cached_property
    def agents(self) -> AgentStore:
        return AgentStore(self.table)

    @cached_property
    def customers(self) -> Records[Customer]:
        return Records(self.table, "CUSTOMERS", Customer, "customer")

    @cached_property
    def tokens(self) -> Records[Token]:
        return Records(self.table, "TOKENS", Token, "token")

    @cached_property
    def registries(self) -> RegistryStore:
        return RegistryStore(self.table)

    @cached_property
    def webhooks(self) -> WebhookStore:
        return WebhookStore(self.table)

    @cached_property
    def templates(self) -> TemplateStore:
        return TemplateStore(self.table)

    @cached_property
    def replies(self) -> ReplyStore:
        return ReplyStore(self.table)

    @cached_property
    def rates(self) -> RateStore:
        return RateStore(self.table)

    @cached_property
    def audit(self) -> AuditStore:
        return AuditStore(self.table, self.settings.audit_days)

    @cached_property
    def followers(self) -> FollowerStore:
        return FollowerStore(self.table)

    @cached_property
    def tickets(self) -> TicketStore:
        return TicketStore(self.table)

    @cached_property
    def lanes(self) -> LaneStore:
        return LaneStore(self.table)

    @cached_property
    def gateway(self) -> Gateway:
        return Gateway(
            _client(
                "apigatewaymanagementapi",
                read_timeout=POST_SECONDS,
                endpoint_url=self.settings.websocket_endpoint or None,
            )
        )

    @cached_property
    def sealer(self) -> Sealer:
        return Sealer(_client("kms"), self.settings.kms_key_id)

    @cached_property
    def objects(self) -> Objects:
        return Objects(_client("s3"), self.settings.bucket)

    @cached_property
    def workflow(self) -> Workflow:
        return Workflow(_client("stepfunctions"), self.settings.state_machine_arn)

    @cached_property
    def host_calls(self) -> HostCalls:
        return HostCalls(_client("lambda", read_timeout=HOST_CALL_SECONDS), self.settings.host_call_function)

    @cached_property
    def host_calls_quick(self) -> HostCalls:
        """For reads that would rather show older figures than wait."""
        return HostCalls(_client("lambda", read_timeout=QUICK_CALL_SECONDS), self.settings.host_call_function)

    def connected(self, host: Host) -> "RemoteHost":
        """The host over SSH, by this process's one connection to it."""
        # paramiko costs a cold start 80 ms: only the two functions that speak SSH import it.
        from chalicelib.ssh import connected  # noqa: PLC0415

        return connected(self._address_of(host), lambda: self._newest_address_of(host))

    def log_in(self, host: Host, sealed_private_key: bytes) -> None:
        """Log in with this key, beside that connection, and out again. Raise `HostRefused` if the host lets it not."""
        from chalicelib.ssh import log_in  # noqa: PLC0415

        log_in(self._address_of(host.model_copy(update={"sealed_private_key": sealed_private_key})))

    def _newest_address_of(self, host: Host) -> "HostAddress":
        try:
            return self._address_of(self.hosts.get(host.id))
        except NotFound:  # it was removed meanwhile: what is known of it is the newest there was
            return self._address_of(host)

    def _address_of(self, host: Host) -> "HostAddress":
        from chalicelib.ssh import HostAddress  # noqa: PLC0415

        return HostAddress(
            id=host.id,
            address=host.address,
            port=host.port,
            user=host.user,
            private_key=_private_key(self.sealer, host.sealed_private_key, host.id),
            host_key=host.host_key,
            version=host.version,
        )


class _Process:
    adapters: Adapters | None = None


def adapters() -> Adapters:
    if _Process.adapters is None:
        _Process.adapters = Adapters()
    return _Process.adapters


def use(replacement: Adapters | None) -> None:
    """Replace the adapters of this process; None has them built anew."""
    _Process.adapters = replacement


# The open connection has the key in memory anyway; asking KMS for it at every step would cost a round trip and money.
@lru_cache(maxsize=64)
def _private_key(sealer: Sealer, sealed: bytes, host_id: str) -> str:
    return sealer.unseal(sealed, host_id).decode()


@cache
def _session() -> Any:
    # botocore, which boto3 stands on: importing boto3 itself brings S3's transfers: 60 ms of CPU at a cold start.
    import botocore.session  # noqa: PLC0415

    return botocore.session.get_session()


def _client(service: str, read_timeout: int = 10, endpoint_url: str | None = None) -> Any:
    from botocore.config import Config  # noqa: PLC0415

    # What must not happen twice is tried once.
    retries = {"total_max_attempts": 1 if service in ("lambda", "apigatewaymanagementapi") else 4, "mode": "standard"}
    return _session().create_client(
        service,
        endpoint_url=endpoint_url,
        # Without a name of ours botocore describes itself anew in every call, which is a twentieth of what one costs.
        config=Config(
            retries=retries,
            connect_timeout=3,
            read_timeout=read_timeout,
            max_pool_connections=64,
            user_agent="slipway",
        ),
    )

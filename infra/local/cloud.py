"""The AWS of this machine, put together: engines behind one facade, and the environment by which the app finds it."""

import importlib
import os
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from chalice.app import Chalice
from chalice.cli.factory import CLIFactory
from chalice.config import Config

from infra.local import lambdas, schedules
from infra.local.connections import CONNECTIONS_PATH, Connections
from infra.local.dynamodb import DynamoDB
from infra.local.facade import Facade
from infra.local.keys import ALIAS, Keys
from infra.local.lambdas import Functions
from infra.local.objects import Objects
from infra.local.schedules import Clockwork
from infra.local.sockets import Limits, Sockets
from infra.local.stepfunctions import StepFunctions
from infra.local.wire import ACCOUNT, REGION

PROJECT = Path(__file__).resolve().parents[2]
STAGE = "local"
TABLE = "slipway-local"
BUCKET = "slipway-local"
MACHINE = "slipway-local-deploy"
_AS_API_GATEWAY = Limits()

_OURS_ONLY = re.compile(r"AWS_(ENDPOINT_URL.*|PROFILE|DEFAULT_PROFILE|SESSION_TOKEN|IGNORE_CONFIGURED_ENDPOINT_URLS)")


class Cloud:
    """Up when made; `close` leaves the state on disk."""

    def __init__(self, state: Path, environment: Mapping[str, str], limits: Limits = _AS_API_GATEWAY) -> None:
        with ExitStack() as starting:
            database = DynamoDB(state / "dynamodb")
            starting.callback(database.close)
            keys = Keys(state / "kms.json")
            facade = starting.enter_context(Facade())
            facade.offer("DynamoDB_20120810", database.answer)
            facade.offer("TrentService", keys.answer)
            facade.offer_signed("s3", Objects(state / "s3").answer)
            self.url = facade.url
            _set_environment({**_aws(facade.url), **environment})
            self.app, self.config = _app()
            functions = Functions(lambdas.of_app(self.app, self.config), f"{self.app.app_name}-{STAGE}-")
            facade.offer_path(lambdas.FUNCTIONS_PATH, functions.answer)
            connections = Connections()
            facade.offer_path(CONNECTIONS_PATH, connections.answer)
            self.sockets = Sockets(functions, connections, limits, self.config.api_gateway_stage)
            states = StepFunctions(functions)
            facade.offer("AWSStepFunctions", states.answer)
            states.define(MACHINE, (PROJECT / "infra" / "deploy.asl.json").read_text(), _arns(self.app, self.config))
            _make_table()
            _make_bucket()
            _make_clients()
            self._clockwork = (schedules.of_app(self.app), functions)
            self._started = starting.pop_all()

    def start_clock(self) -> None:
        """Begin to run what is scheduled: once the rest serves."""
        self._started.callback(Clockwork(*self._clockwork).close)

    def close(self) -> None:
        self._started.close()


def _aws(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SLIPWAY_TABLE": TABLE,
        "SLIPWAY_BUCKET": BUCKET,
        "SLIPWAY_WEBSOCKET_ENDPOINT": url,
        "SLIPWAY_KMS_KEY_ID": ALIAS,
        "SLIPWAY_STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{MACHINE}",
        "SLIPWAY_HOST_CALL_FUNCTION": "host_call",
        "SLIPWAY_STAGE": STAGE,
    }


def _set_environment(environment: Mapping[str, str]) -> None:
    """Before the app is imported, and without what the user's own AWS account left in the environment."""
    for name in [name for name in os.environ if _OURS_ONLY.fullmatch(name)]:
        del os.environ[name]
    os.environ.update(environment)
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name, "")
        os.environ[name] = f"127.0.0.1,localhost,{others}".rstrip(",")


def _app() -> tuple[Chalice, Config]:
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    config = CLIFactory(str(PROJECT)).create_config_obj(STAGE)
    return importlib.import_module("app").app, config


def _arns(app: Chalice, config: Config) -> dict[str, str]:
    """`host_step` is `${HostStepArn}` in the definition, as Chalice names its resource in a template."""
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{app.app_name}-{STAGE}-"
    names = lambdas.of_app(app, config)
    return {"".join(word.capitalize() for word in name.split("_")) + "Arn": arn + name for name in names}


def _make_table() -> None:
    import boto3  # noqa: PLC0415  the environment must be set first

    from chalicelib.store.table import definition  # noqa: PLC0415

    client: Any = boto3.client("dynamodb")
    if TABLE not in client.list_tables()["TableNames"]:
        client.create_table(**definition(TABLE))
    lives = {"Enabled": True, "AttributeName": "expires"}
    if client.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED":
        client.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=lives)


def _make_bucket() -> None:
    import boto3  # noqa: PLC0415  the environment must be set first

    from chalicelib.aws.objects import lifecycle  # noqa: PLC0415

    client: Any = boto3.client("s3")
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=lifecycle())


def _make_clients() -> None:
    """boto3 cannot make clients in several threads at once, and the first requests come together."""
    from chalicelib.wiring import adapters  # noqa: PLC0415  the environment must be set first

    panel = adapters()
    for name in ("table", "objects", "sealer", "workflow", "host_calls", "host_calls_quick"):
        getattr(panel, name)

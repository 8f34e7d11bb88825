"""A deploy, in order: look, lock, show the plan, resources, table, functions and APIs, what is left, edge.

Each part can be repeated, and a deploy that was cut off is gone on with by the next. Nothing is changed before the
plan was shown and taken, but for the bucket that remembers (infra/deposit.yaml), which the plan itself needs.
"""

import getpass
import hashlib
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from chalicelib.domain.panel import hash_of
from chalicelib.store.table import Table
from infra import migrate
from infra.deploy import apis, edge, finish, preflight, release, roles
from infra.deploy.deposit import Deposit, Lock
from infra.deploy.errors import DeployError
from infra.deploy.stack import Change, Stacks
from infra.deploy.stages import APP, PROJECT, Stage

INFRA = PROJECT / "infra"
Tell = Callable[[str], None]
_FIRST_DEPLOYS = 2  # functions are told their own addresses, which only a first deploy makes known


class NotAgreed(DeployError):
    """The plan was shown and not taken."""


@dataclass(frozen=True)
class Options:
    """`architecture` other than config.json's is for whoever deploys to something that only resembles AWS."""

    folder: Path
    agreed: Callable[[], bool]
    tell: Tell
    architecture: str | None = None


def clients_of(stage: Stage) -> Any:
    """A client by service, made once; of the stage's region, unless another is asked for."""

    @cache
    def client(service: str, region: str = stage.region) -> Any:
        return boto3.client(service, region_name=region)

    return client


def up(stage: Stage, options: Options) -> None:
    """Raise `DeployError`, having changed nothing or only whole parts."""
    _Deploy(stage, options, clients_of(stage)).run()


class _Deploy:
    def __init__(self, stage: Stage, options: Options, clients: Any) -> None:
        self._stage, self._options, self._clients = stage, options, clients
        self._tell = options.tell
        self._stacks = Stacks(clients("cloudformation"))
        self._deposit = Deposit(clients("s3"), stage)

    def run(self) -> None:
        self._look()
        if not self._deposit.exists():
            self._tell("making the bucket that remembers between deploys")
            self._make_deposit()
        with self._deposit.locked(f"{getpass.getuser()}@{socket.gethostname()}") as lock:
            if lock.taken_over:
                self._tell(f"warning  lock: {lock.taken_over}")
            self._stacks = Stacks(self._clients("cloudformation"), while_waiting=lock.renew_in_time)
            self._locked(lock)

    def _make_deposit(self) -> None:
        name = f"{self._stage.prefix}-deposit"
        change = self._stacks.change(name, INFRA / "deposit.yaml", self._names())
        if change is None:
            raise DeployError(
                f"stack {name} stands and its bucket {self._stage.deposit} is gone: delete the stack, then deploy "
                "again. APIs that are there are found and adopted"
            )
        self._stacks.carry_out(change)

    def _locked(self, lock: Lock) -> None:
        state, adopted = apis.adopted(self._stage, self._deposit.state(), self._clients)
        changes = self._changes()
        with ExitStack() as not_taken:  # nobody there to ask, and Ctrl-C at the question, too
            not_taken.callback(self._forget, changes)
            migrations = self._migrations(changes)
            self._show([*changes, *self._changes_of_edge(state)], adopted, migrations, state)
            if not self._options.agreed():
                raise NotAgreed("nothing was changed")
            not_taken.pop_all()
        for change in changes:
            lock.renew()
            self._tell(f"stack {change.stack}")
            self._carry_out(change)
        lock.renew()
        if reached := migrate.migrate(self._table()):
            self._tell(f"table: migrated to version {reached[-1]}")
        addresses = self._functions(state, lock)
        lock.renew()
        finish.parameters(self._clients("ssm"), self._stage, addresses)
        if missing := apis.without_a_stage(self._stage, self._deposit.state() or {}, self._clients):
            raise DeployError(f"{'; '.join(missing)}: deploy again, or delete the API and deploy again")
        self._tell(f"done: {addresses['SLIPWAY_PUBLIC_URL']}/api/health")

    def _look(self) -> None:
        findings = preflight.look(self._stage, self._clients)
        for finding in findings:
            self._tell(str(finding))
        failed = [finding for finding in findings if finding.level == "failure"]
        if failed:
            raise DeployError(f"{len(failed)} of the checks failed; nothing was touched")

    def _changes(self) -> list[Change]:
        stage = self._stage
        wanted = []
        if stage.network.mode == "own":
            wanted.append((f"{stage.prefix}-network", "network.yaml", {**self._names(), "Range": stage.network.range}))
        parameters = {
            **self._names(),
            "DefinitionBucket": self._deposit.bucket,
            **self._workflow(),
            "AlarmEmail": stage.alarm_email,
            "DeletionProtection": str(stage.deletion_protection).lower(),
            "Boundary": self._boundary,
        }
        wanted.append((f"{stage.prefix}-resources", "resources.yaml", parameters))
        changes: list[Change] = []
        with ExitStack() as not_all:
            not_all.callback(self._forget, changes)
            for name, template, given in wanted:
                if change := self._stacks.change(name, INFRA / template, given):
                    changes.append(change)
            not_all.pop_all()
        return changes

    def _forget(self, changes: list[Change]) -> None:
        for change in changes:
            self._stacks.forget(change)

    def _changes_of_edge(self, state: dict[str, Any] | None) -> list[Change]:
        """To be shown; forgotten at once, for they are made again when the APIs are as they will be."""
        if not self._stage.edge.enabled:
            return []
        found = edge.changes(self._stage, self._stacks, self._clients, self._hosts(state))
        for stacks, change in found:
            stacks.forget(change)
        return [change for _, change in found]

    @cached_property
    def _boundary(self) -> str:
        partition = self._clients("sts").get_caller_identity()["Arn"].split(":")[1]
        return roles.boundary(self._stage, partition, self._clients("iam"))

    def _workflow(self) -> dict[str, str]:
        """Where the workflow's definition lies, named by its content; without its blanks, which count for its limit."""
        text = json.dumps(json.loads((INFRA / "deploy.asl.json").read_text()), separators=(",", ":")).encode()
        key = f"workflow/{hashlib.sha256(text).hexdigest()[:16]}.json"
        return {"DefinitionKey": key, "DefinitionVersion": self._deposit.pinned(key, text)}

    def _migrations(self, changes: list[Change]) -> list[migrate.Migration]:
        stage, resources = self._stage, f"{self._stage.prefix}-resources"
        try:
            self._clients("dynamodb").describe_table(TableName=stage.table)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            if stage.table == stage.prefix and any(change.stack == resources and change.first for change in changes):
                return []  # which makes it
            raise DeployError(
                f"there is no table {stage.table} in {stage.region}, and stack {resources} does not make it now: is "
                "settings.table right? A table that was deleted can be restored: docs/operations.md"
            ) from error
        try:
            return migrate.pending(self._table())
        except migrate.TooNew as error:
            raise DeployError(str(error)) from error

    def _show(self, changes: list[Change], adopted: list[str], migrations: list[migrate.Migration], state: Any) -> None:
        self._tell("\nThe plan:")
        for change in changes:
            self._tell(f"  stack {change.stack}, {'new' if change.first else 'changed'}")
            for line in change.lines:
                self._tell(f"    {line}")
        if not changes:
            self._tell("  no stack changes")
        for line in adopted:
            self._tell(f"  {line}")
        for migration in migrations:
            self._tell(f"  table to version {migration.to}: {migration.why}")
        self._tell("  functions and APIs: " + ("made" if state is None else "brought to this release"))
        if self._stage.edge.enabled:
            self._tell(f"  edge: {self._stage.edge.domain or 'at the name that CloudFront gives'}")

    def _carry_out(self, change: Change | None) -> None:
        if change:
            self._stacks.carry_out(change)

    def _functions(self, state: dict[str, Any] | None, lock: Lock) -> dict[str, str]:
        """`chalice deploy`, a second time where it was the first to learn the addresses; they are answered."""
        roles.within(self._boundary, self._stage, release.functions(self._stage.name), self._clients("iam"))
        folder = self._options.folder
        told = self._told(state)
        for _ in range(_FIRST_DEPLOYS):
            self._tell("functions and APIs: chalice deploy")
            self._build(folder, told)
            lock.renew()
            deployed = folder / ".chalice" / "deployed" / f"{self._stage.name}.json"
            deployed.parent.mkdir(parents=True, exist_ok=True)
            deployed.unlink(missing_ok=True)
            if state:
                deployed.write_text(json.dumps(state))
            release.chalice(folder, {"AWS_DEFAULT_REGION": self._stage.region}, "deploy", "--stage", self._stage.name)
            state = json.loads(deployed.read_text())
            self._deposit.keep(state)
            lock.renew()
            self._give_sockets_a_stage(state)
            self._finish(state)
            if self._stage.edge.enabled:
                key = self._deposit.edge_key() or self._deposit.make_edge_key()
                edge.up(self._stage, self._stacks, self._clients, self._hosts(state), key, self._tell)
            made = self._told(state)
            if made == told:
                break
            told = made
        return self._addresses(state)

    def _give_sockets_a_stage(self, state: dict[str, Any]) -> None:
        for each in state["resources"]:
            if each["name"] == apis.SOCKETS:
                api_id = each["websocket_api_id"]
                if apis.give_sockets_a_stage(self._clients("apigatewayv2"), api_id, self._stage.name):
                    self._tell(f"websocket_api {api_id} had no stage {self._stage.name}; it has one now")

    def _build(self, folder: Path, addresses: dict[str, str]) -> None:
        wanted = release.Wanted(
            self._stage.name,
            {**self._names(), **self._places()},
            {**addresses, **self._stage.settings},
            self._network(),
            self._options.architecture,
        )
        release.build(wanted, folder)

    def _network(self) -> dict[str, list[str]]:
        """What the functions that speak SSH get beside their own configuration."""
        network = self._stage.network
        if network.mode == "own":
            told = self._stacks.outputs(f"{self._stage.prefix}-network")
            return {
                "subnet_ids": told["Subnets"].split(","),
                "security_group_ids": told["SecurityGroups"].split(","),
            }
        if network.mode == "given":
            return {"subnet_ids": [*network.subnet_ids], "security_group_ids": [*network.security_group_ids]}
        return {}

    def _told(self, state: dict[str, Any] | None) -> dict[str, str]:
        """What functions are told of their addresses: those at which agents and followers can do all they must.

        Beside them by what hash they know the edge's key.
        """
        found = self._addresses(state)
        if self._stage.edge.enabled and "Host" in self._stacks.outputs(f"{self._stage.prefix}-edge"):
            key = self._deposit.edge_key()
            return {**found, **({"SLIPWAY_EDGE_KEY_SHA256": hash_of(key)} if key else {})}
        return {name: value for name, value in found.items() if name == "SLIPWAY_WEBSOCKET_ENDPOINT"}

    def _addresses(self, state: dict[str, Any] | None) -> dict[str, str]:
        """Where we answer: at the edge, or at API Gateway's own names where there is none."""
        hosts, name = self._hosts(state), self._stage.name
        at = self._stacks.outputs(f"{self._stage.prefix}-edge").get("Host") if self._stage.edge.enabled else None
        found = {}
        if rest := hosts.get("rest"):
            found["SLIPWAY_PUBLIC_URL"] = f"https://{at}" if at else f"https://{rest}/{name}"
        if sockets := hosts.get("sockets"):
            found["SLIPWAY_WEBSOCKET_URL"] = f"wss://{at}" if at else f"wss://{sockets}/{name}"
            found["SLIPWAY_WEBSOCKET_ENDPOINT"] = f"https://{sockets}/{name}"
        return found

    def _hosts(self, state: dict[str, Any] | None) -> dict[str, str]:
        """The APIs' own host names, of those that there are."""
        known = {each["name"]: each for each in (state or {}).get("resources", [])}
        ids = {
            "rest": known.get(apis.REST, {}).get("rest_api_id"),
            "sockets": known.get(apis.SOCKETS, {}).get("websocket_api_id"),
        }
        return {
            name: f"{api_id}.execute-api.{self._stage.region}.amazonaws.com" for name, api_id in ids.items() if api_id
        }

    def _finish(self, state: dict[str, Any]) -> None:
        """All that needs no edge, and before it: where CloudFront fails, the rest is whole."""
        stage = self._stage
        rest = next(each["rest_api_id"] for each in state["resources"] if each["name"] == apis.REST)
        finish.api_answers(self._clients("apigateway"), rest, stage.name)
        pages = self._clients("lambda").get_paginator("list_functions").paginate()
        functions = {each["FunctionName"] for page in pages for each in page["Functions"]}
        finish.dead_letters(self._clients("lambda"), stage, functions, self._places()["Partition"])
        finish.api_log(self._clients("logs"), stage, release.days_of_logs(stage.name))
        finish.counted_lines(self._clients("logs"), stage)
        finish.parameters(self._clients("ssm"), stage, self._addresses(state))
        secret = f"{stage.prefix}-admin-token"
        if finish.admin_token(self._clients("secretsmanager"), self._table(), secret):
            self._tell(f"the first admin's token is in Secrets Manager: {secret}")

    def _table(self) -> Table:
        return Table(self._clients("dynamodb"), self._stage.table)

    def _names(self) -> dict[str, str]:
        return {"App": APP, "Stage": self._stage.name}

    def _places(self) -> dict[str, str]:
        key = self._clients("kms").describe_key(KeyId=f"alias/{self._stage.prefix}")["KeyMetadata"]["Arn"]
        partition = key.split(":")[1]
        return {
            "Region": self._stage.region,
            "AccountId": self._stage.account,
            "Partition": partition,
            "KeyArn": key,
            "Table": self._stage.table,
        }

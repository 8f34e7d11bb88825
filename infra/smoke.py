"""`python -m infra.smoke --stage prod`: what no emulator proves, asked of the stage as it is deployed in AWS.

It makes nothing but reads, and asks for upgrades that must be refused, or with a token for one that is given up at
once, so it may be run at any time.
Each line says what was seen; the end is 1 if one of them failed.
"""

import argparse
import base64
import contextlib
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.panel import hash_of
from infra.deploy import apis, release, stages
from infra.deploy.deposit import Deposit
from infra.deploy.errors import DeployError
from infra.deploy.stack import Stacks
from infra.deploy.stages import PROJECT, Stage
from infra.deploy.up import clients_of

_TIMEOUT_S = 30
Outcome = tuple[bool, str]


@dataclass(frozen=True)
class Expected:
    """What is asked with, and what differs from what the stage's files say."""

    token: str | None = None
    url: str | None = None  # in place of the stage's own address: of its edge, where it has one
    architecture: str | None = None  # other than config.json's, as for a deploy


class Smoke:
    def __init__(self, stage: Stage, clients: Any, expected: Expected) -> None:
        self._stage, self._clients, self._token = stage, clients, expected.token
        self._processor = expected.architecture or release.processor(stage.name)
        self._made_edge = Stacks(clients("cloudformation")).outputs(f"{stage.prefix}-edge")
        self._edge = self._made_edge.get("Host", "")
        self._api = (expected.url or self._address()).rstrip("/")

    def checks(self) -> Iterator[tuple[str, Callable[[], Outcome]]]:
        yield "the API answers", self.health
        yield "an unknown route is a 404 of our shape", self.unknown_route
        yield "a request without a token is a 401", self.without_token
        yield "a body over API Gateway's limit is a 413 of our shape", self.too_large
        yield "functions have the processor, memory, time and reserve that was asked for", self.functions
        yield "only the functions that speak SSH stand in the network", self.network
        yield "IAM's own simulator allows what a policy allows and nothing else", self.policies
        yield "the workflow's definition is the one of this release", self.workflow
        yield "the table has backups and forgets what expired", self.table
        yield "the alarms are there and none is on", self.alarms
        if self._edge:
            yield "the edge adds the security headers", self.headers
            yield "CloudFront shows the key by which functions know it", self.edge_key
            yield "an upgrade elsewhere is refused at the edge", self.refused_upgrade
        if apis.socket_apis(self._stage, self._clients):
            yield "the WebSocket API has its stage", self.sockets_stage
            yield "an upgrade without a token is refused by $connect", self.unknown_socket
            if self._token:
                yield "an upgrade with the token is accepted", self.followed

    def health(self) -> Outcome:
        began = time.monotonic()
        answer = self._get("/api/health")
        return (
            answer.status_code == requests.codes.ok,
            f"{answer.status_code} in {time.monotonic() - began:.2f} s at {self._api}",
        )

    def unknown_route(self) -> Outcome:
        answer = self._get("/api/there/is/no/such/route")
        return answer.status_code == requests.codes.not_found and _ours(answer), answer.text[:120]

    def without_token(self) -> Outcome:
        answer = self._get("/api/hosts")
        return answer.status_code == requests.codes.unauthorized and _ours(answer), answer.text[:120]

    def too_large(self) -> Outcome:
        body = b'"' + b"x" * 11_000_000 + b'"'
        answer = requests.post(
            f"{self._api}/api/services", data=body, headers={"Content-Type": "application/json"}, timeout=_TIMEOUT_S
        )
        fine = answer.status_code == requests.codes.request_entity_too_large and _ours(answer)
        return fine, f"{answer.status_code} {answer.text[:120]}"

    def functions(self) -> Outcome:
        wrong = []
        for name, wanted in release.functions(self._stage.name).items():
            told = self._function(name)
            reserve = self._clients("lambda").get_function_concurrency(FunctionName=self._stage.function(name))
            seen = {
                "processor": told["Architectures"][0],
                "memory": told["MemorySize"],
                "time": told["Timeout"],
                "reserve": reserve.get("ReservedConcurrentExecutions"),
                "state": told["State"],
            }
            asked = {
                "processor": self._processor,
                "memory": wanted["lambda_memory_size"],
                "time": wanted["lambda_timeout"],
                "reserve": wanted.get("reserved_concurrency"),
                "state": "Active",
            }
            wrong += [f"{name}: {what} {seen[what]}, not {asked[what]}" for what in asked if seen[what] != asked[what]]
        return not wrong, "; ".join(wrong) or f"{len(release.functions(self._stage.name))} functions, {self._processor}"

    def network(self) -> Outcome:
        plugged = {
            name
            for name in release.functions(self._stage.name)
            if self._function(name).get("VpcConfig", {}).get("SubnetIds")
        }
        wanted = set(release.SPEAK_SSH) if self._stage.network.mode != "none" else set()
        return plugged == wanted, f"in it: {', '.join(sorted(plugged)) or 'none'}"

    def policies(self) -> Outcome:
        """The API must not open a host's key, and must open a service's variables."""
        role = self._function("api_handler")["Role"]
        key = self._key()
        decisions = {}
        for owner in ("host_1", "svc_1"):
            context = {
                "ContextKeyName": "kms:EncryptionContext:owner",
                "ContextKeyValues": [owner],
                "ContextKeyType": "string",
            }
            told = self._clients("iam").simulate_principal_policy(
                PolicySourceArn=role, ActionNames=["kms:Decrypt"], ResourceArns=[key], ContextEntries=[context]
            )
            decisions[owner] = told["EvaluationResults"][0]["EvalDecision"]
        return decisions == {"host_1": "implicitDeny", "svc_1": "allowed"}, str(decisions)

    def workflow(self) -> Outcome:
        place = f"{self._stage.region}:{self._stage.account}"
        partition = self._key().split(":")[1]
        arn = f"arn:{partition}:states:{place}:stateMachine:{self._stage.prefix}-deploy"
        told = self._clients("stepfunctions").describe_state_machine(stateMachineArn=arn)
        step = f"arn:{partition}:lambda:{place}:function:{self._stage.function('host_step')}"
        ours = (PROJECT / "infra" / "deploy.asl.json").read_text().replace("${HostStepArn}", step)
        same = json.loads(told["definition"]) == json.loads(ours)
        return same and told["status"] == "ACTIVE", f"{told['status']}, {'the same' if same else 'another definition'}"

    def table(self) -> Outcome:
        client = self._clients("dynamodb")
        backups = client.describe_continuous_backups(TableName=self._stage.table)["ContinuousBackupsDescription"]
        point = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
        lives = client.describe_time_to_live(TableName=self._stage.table)["TimeToLiveDescription"]["TimeToLiveStatus"]
        return (point, lives) == ("ENABLED", "ENABLED"), f"point in time {point}, time to live {lives}"

    def alarms(self) -> Outcome:
        told = self._clients("cloudwatch").describe_alarms(AlarmNamePrefix=f"{self._stage.prefix}-")["MetricAlarms"]
        on = [alarm["AlarmName"] for alarm in told if alarm["StateValue"] == "ALARM"]
        return bool(told) and not on, f"{len(told)} alarms, on: {', '.join(on) or 'none'}"

    def headers(self) -> Outcome:
        wanted = {"strict-transport-security", "x-content-type-options", "content-security-policy"}
        missing = wanted - {name.lower() for name in self._get("/api/health").headers}
        return not missing, f"missing: {', '.join(sorted(missing)) or 'none'}"

    def edge_key(self) -> Outcome:
        """Else the audit trail names CloudFront's addresses, or whatever a caller says."""
        known = self._function("api_handler")["Environment"]["Variables"].get("SLIPWAY_EDGE_KEY_SHA256")
        client, distribution = self._clients("cloudfront"), self._made_edge["Distribution"]
        origins = client.get_distribution_config(Id=distribution)["DistributionConfig"]["Origins"]["Items"]
        (rest,) = [each for each in origins if each["Id"] == "rest"]
        shown = [each["HeaderValue"] for each in rest.get("CustomHeaders", {}).get("Items", [])]
        return [hash_of(key) for key in shown] == [known], f"shown: {len(shown)}, known: {'one' if known else 'none'}"

    def refused_upgrade(self) -> Outcome:
        status = _upgrade(f"{self._api}/api/services/a/b/logs")
        return status == requests.codes.forbidden, f"HTTP {status}"

    def sockets_stage(self) -> Outcome:
        (api_id,) = apis.socket_apis(self._stage, self._clients)
        found = apis.sockets_stage(self._clients("apigatewayv2"), api_id, self._stage.name)
        deployment = (found or {}).get("DeploymentId")
        return bool(deployment), f"{api_id}/{self._stage.name}: {f'deployment {deployment}' if deployment else 'none'}"

    def unknown_socket(self) -> Outcome:
        """401 is `$connect`'s own; a stage that is not there, a firewall and the edge refuse with 403."""
        status = _upgrade(self._socket("svc_smoke"))
        return status == requests.codes.unauthorized, f"HTTP {status}"

    def followed(self) -> Outcome:
        services = self._get("/api/services?per_page=1").json()["data"]
        if not services:
            return True, "not asked for: there is no service whose logs could be followed"
        status = _upgrade(self._socket(services[0]["id"]), self._token)
        return status == requests.codes.switching_protocols, f"HTTP {status} for {services[0]['id']}"

    def _socket(self, service_id: str) -> str:
        """Through the edge where there is one: that an upgrade reaches the WebSocket API is what this shows."""
        if self._edge:
            return f"{self._api}/api/services/{service_id}/logs?follow=true"
        (api_id,) = apis.socket_apis(self._stage, self._clients)
        host = f"{api_id}.execute-api.{self._stage.region}.amazonaws.com"
        return f"https://{host}/{self._stage.name}?service_id={service_id}"

    def _get(self, path: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token and path != "/api/hosts" else {}
        return requests.get(f"{self._api}{path}", headers=headers, timeout=_TIMEOUT_S)

    def _function(self, name: str) -> Any:
        return self._clients("lambda").get_function_configuration(FunctionName=self._stage.function(name))

    def _key(self) -> str:
        told = self._clients("kms").describe_key(KeyId=f"alias/{self._stage.prefix}")
        return str(told["KeyMetadata"]["Arn"])

    def _address(self) -> str:
        if self._edge:
            return f"https://{self._edge}"
        state = Deposit(self._clients("s3"), self._stage).state()
        for each in (state or {}).get("resources", []):
            if each["name"] == apis.REST:
                host = f"{each['rest_api_id']}.execute-api.{self._stage.region}.amazonaws.com"
                return f"https://{host}/{self._stage.name}"
        raise DeployError(f"{self._stage.name} is not deployed")


def _ours(answer: requests.Response) -> bool:
    try:
        return set(answer.json()["error"]) == {"code", "message", "details", "request_id"}
    except (ValueError, KeyError, TypeError):
        return False


def _upgrade(url: str, token: str | None = None) -> int:
    """The HTTP status that a WebSocket handshake is answered with."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    key = base64.b64encode(os.urandom(16)).decode()
    query = f"?{parts.query}" if parts.query else ""
    lines = [
        f"GET {parts.path}{query} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    with contextlib.ExitStack() as opened:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = opened.enter_context(socket.create_connection((host, port), timeout=_TIMEOUT_S))
        if parts.scheme == "https":
            secured = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
            connection = opened.enter_context(secured)
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(connection.recv(64).split()[1])


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    asked.add_argument("--stage", required=True)
    asked.add_argument("--stages", type=Path, default=stages.STAGES, help="the folder of the stages (infra/stages)")
    asked.add_argument("--token-file", type=Path, help="a file with a token's text, which is then used")
    asked.add_argument("--url", help="where to ask, if not at the stage's own address: of its edge, if it has one")
    asked.add_argument("--architecture", choices=["arm64", "x86_64"], help="what was deployed, if not config.json's")
    arguments = asked.parse_args()
    try:
        stage = stages.read(arguments.stage, arguments.stages)
        token = arguments.token_file.read_text().strip() if arguments.token_file else None
        smoke = Smoke(stage, clients_of(stage), Expected(token, arguments.url, arguments.architecture))
        outcomes = [_told(name, check) for name, check in smoke.checks()]
    except (DeployError, ClientError, BotoCoreError) as error:
        print(f"slipway: {error}", file=sys.stderr)
        return 1
    return 0 if all(outcomes) else 1


def _told(name: str, check: Callable[[], Outcome]) -> bool:
    try:
        fine, seen = check()
    except (OSError, requests.RequestException, ClientError, BotoCoreError, LookupError, ValueError) as error:
        fine, seen = False, f"{type(error).__name__}: {error}"
    print(f"{'ok  ' if fine else 'FAIL'} {name}: {seen}", flush=True)
    return fine


if __name__ == "__main__":
    sys.exit(main())

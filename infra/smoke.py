"""`python -m infra.smoke --stage prod`: what no emulator proves, asked of the stage as it is deployed in AWS.

It makes nothing but reads, and asks for upgrades that must be refused, so it may be run at any time.
Each line says what was seen; the end is 1 if one of them failed.
"""

import argparse
import base64
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from infra.deploy import apis, stages
from infra.deploy.deposit import Deposit
from infra.deploy.errors import DeployError
from infra.deploy.stack import Stacks
from infra.deploy.stages import Stage
from infra.deploy.up import clients_of

_TIMEOUT_S = 30
Outcome = tuple[bool, str]


class Smoke:
    def __init__(self, stage: Stage, clients: Any, token: str | None) -> None:
        self._stage, self._clients, self._token = stage, clients, token
        self._edge = Stacks(clients("cloudformation")).outputs(f"{stage.prefix}-edge").get("Host", "")
        self._api = self._address()

    def checks(self) -> Iterator[tuple[str, Callable[[], Outcome]]]:
        yield "the API answers over TLS", self.health
        yield "an unknown route is a 404 of our shape", self.unknown_route
        yield "a request without a token is a 401", self.without_token
        yield "a body over API Gateway's limit is a 413 of our shape", self.too_large
        yield "functions run on the processor and with the memory that was asked for", self.functions
        yield "only the functions that speak SSH stand in the network", self.network
        yield "IAM's own simulator allows what a policy allows and nothing else", self.policies
        yield "the workflow's definition is the one of this release", self.workflow
        yield "the table has backups and forgets what expired", self.table
        yield "the alarms are there and none is on", self.alarms
        if self._edge:
            yield "the edge adds the security headers", self.headers
            yield "an upgrade elsewhere is refused at the edge", self.refused_upgrade
        if apis.socket_apis(self._stage, self._clients):
            yield "an upgrade without a token is refused by $connect", self.unknown_socket

    def health(self) -> Outcome:
        began = time.monotonic()
        answer = self._get("/api/health")
        return answer.status_code == requests.codes.ok, f"{answer.status_code} in {time.monotonic() - began:.2f} s"

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
        told = self._function("host_step")
        return (
            told["Architectures"] == ["arm64"] and told["State"] == "Active",
            f"{told['Architectures'][0]}, {told['MemorySize']} MB, {told['Timeout']} s, {told['Runtime']}",
        )

    def network(self) -> Outcome:
        plugged = {
            name: bool(self._function(name).get("VpcConfig", {}).get("SubnetIds"))
            for name in ("", "host_step", "host_call")
        }
        wanted = self._stage.network.mode != "none"
        return plugged == {"": False, "host_step": wanted, "host_call": wanted}, str(plugged)

    def policies(self) -> Outcome:
        """The API must not open a host's key, and must open a service's variables."""
        role = self._function("")["Role"]
        key = self._clients("kms").describe_key(KeyId=f"alias/{self._stage.prefix}")["KeyMetadata"]["Arn"]
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
        arn = f"arn:aws:states:{self._stage.region}:{self._stage.account}:stateMachine:{self._stage.prefix}-deploy"
        told = self._clients("stepfunctions").describe_state_machine(stateMachineArn=arn)
        fine = f":function:{self._stage.prefix}-host_step" in told["definition"] and "${" not in told["definition"]
        return fine and told["status"] == "ACTIVE", told["status"]

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

    def refused_upgrade(self) -> Outcome:
        status = _upgrade(f"https://{self._edge}/api/services/a/b/logs")
        return status == requests.codes.forbidden, f"HTTP {status}"

    def unknown_socket(self) -> Outcome:
        """Through the edge where there is one: that an upgrade reaches the WebSocket API is what this shows."""
        if self._edge:
            status = _upgrade(f"https://{self._edge}/api/services/svc_smoke/logs?follow=true")
        else:
            (api_id,) = apis.socket_apis(self._stage, self._clients)
            host = f"{api_id}.execute-api.{self._stage.region}.amazonaws.com"
            status = _upgrade(f"https://{host}/{self._stage.name}?service_id=svc_smoke")
        return status in {requests.codes.unauthorized, requests.codes.forbidden}, f"HTTP {status}"

    def _get(self, path: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token and path != "/api/hosts" else {}
        return requests.get(f"{self._api}{path}", headers=headers, timeout=_TIMEOUT_S)

    def _function(self, name: str) -> Any:
        full = f"{self._stage.prefix}-{name}" if name else self._stage.prefix
        return self._clients("lambda").get_function_configuration(FunctionName=full)

    def _address(self) -> str:
        if self._edge:
            return f"https://{self._edge}"
        state = Deposit(self._clients("s3"), self._stage.deposit, self._stage.name).state()
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


def _upgrade(url: str) -> int:
    """The HTTP status that a WebSocket handshake is answered with."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    key = base64.b64encode(os.urandom(16)).decode()
    query = f"?{parts.query}" if parts.query else ""
    lines = [
        f"GET {parts.path}{query} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    with (
        socket.create_connection((host, parts.port or 443), timeout=_TIMEOUT_S) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
    ):
        secured.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(secured.recv(64).split()[1])


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    asked.add_argument("--stage", required=True)
    asked.add_argument("--stages", type=Path, default=stages.STAGES, help="the folder of the stages (infra/stages)")
    asked.add_argument("--token-file", type=Path, help="a file with a token's text, which is then used")
    arguments = asked.parse_args()
    try:
        stage = stages.read(arguments.stage, arguments.stages)
        token = arguments.token_file.read_text().strip() if arguments.token_file else None
        smoke = Smoke(stage, clients_of(stage), token)
        outcomes = [_told(name, check) for name, check in smoke.checks()]
    except DeployError as error:
        print(f"slipway: {error}", file=sys.stderr)
        return 1
    return 0 if all(outcomes) else 1


def _told(name: str, check: Callable[[], Outcome]) -> bool:
    try:
        fine, seen = check()
    except (OSError, requests.RequestException, KeyError, ValueError) as error:
        fine, seen = False, f"{type(error).__name__}: {error}"
    print(f"{'ok  ' if fine else 'FAIL'} {name}: {seen}", flush=True)
    return fine


if __name__ == "__main__":
    sys.exit(main())

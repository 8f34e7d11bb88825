"""Everything that can be known to go wrong, looked at before anything is touched."""

import socket
import sys
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.deploy import release
from infra.deploy.stages import Stage

# Lambda refuses a reservation that leaves fewer than this to all other functions of the account.
_UNRESERVED = 100
_HOST_S = 5
_OVER = {"EXPIRED", "FAILED", "INACTIVE", "REVOKED", "VALIDATION_TIMED_OUT"}  # statuses that no certificate leaves


@dataclass(frozen=True)
class Finding:
    """`level`: ok; warning, with which a deploy goes on; failure, with which it does not."""

    level: str
    what: str
    message: str

    def __str__(self) -> str:
        return f"{self.level:8} {self.what}: {self.message}"


def look(stage: Stage, clients: Any) -> list[Finding]:
    """The first two decide whether the rest can be asked at all."""
    findings = [_account(stage, clients)]
    if findings[0].level == "failure":
        return findings
    findings += [_runtime(), _concurrency(stage, clients)]
    if stage.edge.domain:
        findings += _edge(stage, clients)
    findings += [_host(address) for address in stage.hosts]
    return findings


def _account(stage: Stage, clients: Any) -> Finding:
    try:
        who = clients("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return Finding("failure", "credentials", f"AWS does not know who asks in {stage.region}: {error}")
    if who["Account"] != stage.account:
        message = f"these are for account {who['Account']}; {stage.name} belongs to {stage.account}"
        return Finding("failure", "credentials", message)
    return Finding("ok", "credentials", f"{who['Arn']}, region {stage.region}")


def _runtime() -> Finding:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info[:2] not in {(3, 11), (3, 12), (3, 13)}:
        return Finding("failure", "runtime", f"{name} runs this deploy and would run the functions: use 3.11 to 3.13")
    return Finding("ok", "runtime", f"{name}, as the Python that runs this deploy")


def _concurrency(stage: Stage, clients: Any) -> Finding:
    """What other functions of the account reserve is not ours to have; what ours reserve already, is."""
    functions = release.functions(stage.name)
    wanted = sum(each.get("reserved_concurrency", 0) for each in functions.values())
    client = clients("lambda")
    limits = client.get_account_settings()["AccountLimit"]
    free = limits["UnreservedConcurrentExecutions"] + sum(_reserved(client, stage, name) for name in functions)
    if wanted + _UNRESERVED > free:
        message = (
            f"the functions reserve {wanted} and Lambda keeps {_UNRESERVED} for others, but of this account's "
            f"{limits['ConcurrentExecutions']} other functions leave {free}: "
            "ask AWS for more (Service Quotas, Lambda, Concurrent executions), or lower reserved_concurrency in "
            ".chalice/config.json"
        )
        return Finding("failure", "concurrency", message)
    return Finding("ok", "concurrency", f"{wanted} of {free} reserved")


def _reserved(client: Any, stage: Stage, function: str) -> int:
    """Nothing for a function that is yet to be made."""
    try:
        told = client.get_function_concurrency(FunctionName=stage.function(function))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return 0
        raise
    return int(told.get("ReservedConcurrentExecutions", 0))


def _edge(stage: Stage, clients: Any) -> list[Finding]:
    try:
        zone = clients("route53").get_hosted_zone(Id=stage.edge.hosted_zone_id)["HostedZone"]["Name"].rstrip(".")
    except ClientError as error:
        message = f"Route 53 does not give hosted zone {stage.edge.hosted_zone_id}: {error.response['Error']['Code']}"
        return [Finding("failure", "domain", message)]
    domain = stage.edge.domain
    if domain != zone and not domain.endswith(f".{zone}"):
        return [Finding("failure", "domain", f"{domain} is not in the hosted zone {zone}")]
    return [Finding("ok", "domain", f"{domain} in {zone}"), _certificate(stage, clients)]


def _certificate(stage: Stage, clients: Any) -> Finding:
    """CloudFront takes certificates from us-east-1 alone, whatever the stage's region."""
    pages = clients("acm", "us-east-1").get_paginator("list_certificates").paginate()
    listed = [each for page in pages for each in page["CertificateSummaryList"]]
    mine = [each for each in listed if each["DomainName"] == stage.edge.domain]
    states = {each.get("Status", "ISSUED") for each in mine}
    if "ISSUED" in states:
        return Finding("ok", "certificate", f"issued for {stage.edge.domain}")
    # One that came to nothing is in nobody's way, unless the edge stands on it.
    barring = states - _OVER | {each["Status"] for each in mine if each.get("InUse") and each.get("Status") in _OVER}
    if barring:
        message = f"{stage.edge.domain} in us-east-1 is {', '.join(sorted(barring))}: is its CNAME in the hosted zone?"
        return Finding("failure", "certificate", message)
    message = f"none for {stage.edge.domain} in us-east-1 yet: the edge's first deploy asks for it and waits for DNS"
    return Finding("warning", "certificate", message)


def _host(address: str) -> Finding:
    """Only a warning: its firewall may rightly let in nothing but the functions' own address."""
    name, _, port = address.rpartition(":")
    try:
        with socket.create_connection((name, int(port)), timeout=_HOST_S) as connection:
            connection.settimeout(_HOST_S)
            banner = connection.recv(64)
    except (OSError, ValueError) as error:
        return Finding("warning", "host", f"{address} does not answer from here: {error}")
    if not banner.startswith(b"SSH-"):
        return Finding("warning", "host", f"{address} answers, but not as an SSH server")
    return Finding("ok", "host", f"{address} answers as {banner.decode(errors='replace').strip()}")

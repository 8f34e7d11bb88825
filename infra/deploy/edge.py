"""The edge: certificate and firewall in us-east-1, the distribution, and the log page's files."""

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.deploy.stack import Change, Stacks
from infra.deploy.stages import APP, PROJECT, Stage

PAGE = PROJECT / "infra" / "page"
_TO_BE_MADE = "0" * 64  # in a plan before there is a key


def changes(stage: Stage, stacks: Stacks, clients: Any, hosts: dict[str, str]) -> list[tuple[Stacks, Change]]:
    """What the edge's stacks would change, with whom to ask to forget it: to be shown, `up` asks again.

    Before a first deploy the firewall and the APIs have no names yet, and of the distribution nothing can be told.
    """
    everywhere = stacks.of(clients("cloudformation", "us-east-1"))
    found = [(everywhere, _change_of_global(stage, everywhere))]
    told = everywhere.outputs(_global(stage))
    if "Firewall" in told and "rest" in hosts:
        # Who plans does not know the key: it stays what it is, or will be made.
        key = None if "EdgeKey" in stacks.parameters(f"{stage.prefix}-edge") else _TO_BE_MADE
        found.append((stacks, _change_of_edge(stage, stacks, told, hosts, key)))
    return [(where, change) for where, change in found if change]


def up(stage: Stage, stacks: Stacks, clients: Any, hosts: dict[str, str], key: str, tell: Callable[[str], None]) -> str:
    """Answer the edge's host name; `hosts` are the APIs' own, and by `key` the API knows its edge.

    The first time takes up to half an hour: the certificate, CloudFront.
    """
    everywhere = stacks.of(clients("cloudformation", "us-east-1"))
    _apply(everywhere, _change_of_global(stage, everywhere), tell)
    _apply(stacks, _change_of_edge(stage, stacks, everywhere.outputs(_global(stage)), hosts, key), tell)
    made = stacks.outputs(f"{stage.prefix}-edge")
    if _publish(clients("s3"), made["Pages"]):
        clients("cloudfront").create_invalidation(
            DistributionId=made["Distribution"],
            InvalidationBatch={"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": _reference()},
        )
    return made["Host"]


def _global(stage: Stage) -> str:
    return f"{stage.prefix}-edge-global"


def _change_of_global(stage: Stage, everywhere: Stacks) -> Change | None:
    rate = str(stage.edge.requests_per_five_minutes)
    parameters = {**_domain(stage), "RequestsPerFiveMinutes": rate}
    return everywhere.change(_global(stage), PROJECT / "infra" / "edge-global.yaml", parameters)


def _change_of_edge(
    stage: Stage, stacks: Stacks, told: dict[str, str], hosts: dict[str, str], key: str | None
) -> Change | None:
    """`told` by the global stack; `key` None: what it is by now."""
    parameters: dict[str, str | None] = {
        **_domain(stage),
        "CertificateArn": told.get("Certificate", ""),
        "FirewallArn": told["Firewall"],
        "EdgeKey": key,
        "RestHost": hosts["rest"],
        "SocketsHost": hosts.get("sockets", ""),
    }
    return stacks.change(f"{stage.prefix}-edge", PROJECT / "infra" / "edge.yaml", parameters)


def _domain(stage: Stage) -> dict[str, str]:
    return {"App": APP, "Stage": stage.name, "Domain": stage.edge.domain, "HostedZoneId": stage.edge.hosted_zone_id}


def _apply(stacks: Stacks, change: Change | None, tell: Callable[[str], None]) -> None:
    if change:
        tell(f"stack {change.stack}")
        stacks.carry_out(change)


def _publish(s3: Any, bucket: str) -> int:
    """How many files; none while there is no page."""
    files: list[Path] = sorted(path for path in PAGE.rglob("*") if path.is_file())
    for path in files:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        s3.put_object(
            Bucket=bucket,
            Key=str(path.relative_to(PAGE)),
            Body=path.read_bytes(),
            ContentType=f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
            CacheControl="public, max-age=300",
        )
    return len(files)


def _reference() -> str:
    from chalicelib.domain.words import now  # noqa: PLC0415

    return f"deploy-{now()}"

"""The edge: certificate and firewall in us-east-1, the distribution, and the log page's files."""

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.deploy.stack import Stacks
from infra.deploy.stages import APP, PROJECT, Stage

PAGE = PROJECT / "infra" / "page"


def up(stage: Stage, stacks: Stacks, clients: Any, hosts: dict[str, str], tell: Callable[[str], None]) -> str:
    """Answer the edge's host name; `hosts` are the APIs' own.

    The first time takes up to half an hour: the certificate, CloudFront.
    """
    name = f"{stage.prefix}-edge-global"
    everywhere = stacks.of(clients("cloudformation", "us-east-1"))
    domain = {"App": APP, "Stage": stage.name, "Domain": stage.edge.domain, "HostedZoneId": stage.edge.hosted_zone_id}
    rate = str(stage.edge.requests_per_five_minutes)
    _apply(everywhere, name, "edge-global.yaml", {**domain, "RequestsPerFiveMinutes": rate}, tell)
    told = everywhere.outputs(name)
    parameters = {
        **domain,
        "CertificateArn": told.get("Certificate", ""),
        "FirewallArn": told["Firewall"],
        "RestHost": hosts["rest"],
        "SocketsHost": hosts.get("sockets", ""),
    }
    _apply(stacks, f"{stage.prefix}-edge", "edge.yaml", parameters, tell)
    made = stacks.outputs(f"{stage.prefix}-edge")
    if _publish(clients("s3"), made["Pages"]):
        clients("cloudfront").create_invalidation(
            DistributionId=made["Distribution"],
            InvalidationBatch={"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": _reference()},
        )
    return made["Host"]


def _apply(stacks: Stacks, name: str, template: str, parameters: dict[str, str], tell: Callable[[str], None]) -> None:
    change = stacks.change(name, PROJECT / "infra" / template, parameters)
    if change:
        tell(f"stack {name}")
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

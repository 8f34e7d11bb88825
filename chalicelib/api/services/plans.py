"""What a draft is told as: its plan, how it differs from what runs, and what its author should know."""

import json
from difflib import unified_diff
from typing import Any

from chalicelib.api import views
from chalicelib.deploy import drafting
from chalicelib.domain.redaction import Redactor, secret_values
from chalicelib.wiring import adapters


def plan_of(drafted: drafting.Draft) -> views.Plan:
    """What would run, and how it differs from what does, without secrets."""
    service, plan, source = drafted.service, drafted.plan, drafted.source
    after = Redactor(secret_values(source.variables, source.secret_names)).clean(plan.document)
    before: dict[str, Any] = {}
    if service.release:
        running = drafting.source_of(service.id, service.release)
        before = Redactor(secret_values(running.variables, running.secret_names)).clean(running.document)
    return views.Plan(
        name=drafted.name,
        url=url_of(drafted.name, has_url=plan.routed is not None),
        host_id=service.host_id,
        placement=drafted.place.reason if drafted.place else None,
        compose=after,
        images=list(plan.images),
        published_ports=[
            views.PublishedPort(ip=port.ip, port=port.port, protocol=port.protocol) for port in plan.published
        ],
        limits=views.PlanLimits(cpu=plan.cpu_millis / 1000, memory_mb=plan.memory_mb),
        diff=list(unified_diff(_lines(before), _lines(after), "running", "planned", lineterm="")),
        warnings=warnings_of(drafted),
    )


def warnings_of(drafted: drafting.Draft) -> list[views.Finding]:
    return [
        views.Finding(path=warning.path, rule=warning.rule, message=warning.message) for warning in drafted.warnings
    ]


def url_of(name: str, *, has_url: bool) -> str | None:
    return adapters().settings.url_of(name) if has_url else None


def _lines(document: dict[str, Any]) -> list[str]:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if document else []

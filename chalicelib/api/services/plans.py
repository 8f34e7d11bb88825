"""What a draft is told as: its plan, how it differs from what runs, and what its author should know."""

import json
from collections.abc import Collection
from difflib import unified_diff
from typing import Any

from chalicelib.api import views
from chalicelib.api.http import Answer
from chalicelib.deploy import drafting
from chalicelib.domain.job import Job
from chalicelib.domain.redaction import SHOWN, Redactor, secret_values
from chalicelib.domain.service import Source
from chalicelib.wiring import adapters


def plan_of(drafted: drafting.Draft) -> views.Plan:
    """What would run, and how it differs from what does, without secrets."""
    service, plan, source = drafted.service, drafted.plan, drafted.source
    after = _without_secrets(plan.document, source)
    diff: list[str] = []
    if service.release:
        running = drafting.source_of(service.id, service.release)
        diff = [*_diff(_without_secrets(running.document, running), after), *_changed_secrets(running, source)]
    else:
        diff = _diff({}, after)
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
        diff=diff,
        warnings=warnings_of(drafted),
    )


def planning_of(drafted: drafting.Draft, job: Job) -> Answer:
    """For a repository: it must be fetched first, so the job has the plan once it is over."""
    message = (
        "The repository is being fetched and planned; nothing will be deployed. The job has the plan once it is over"
    )
    return Answer(views.Planning(name=drafted.name, deploy_job_id=job.id, message=message), 202, {"X-Job-Id": job.id})


def warnings_of(drafted: drafting.Draft) -> list[views.Finding]:
    return [
        views.Finding(path=warning.path, rule=warning.rule, message=warning.message) for warning in drafted.warnings
    ]


def url_of(name: str, *, has_url: bool) -> str | None:
    return adapters().settings.url_of(name) if has_url else None


def _without_secrets(document: dict[str, Any], source: Source) -> dict[str, Any]:
    """The document as anyone may see it: by place where a place is known, for secrets too short to be looked for."""
    from chalicelib.domain import compose  # noqa: PLC0415  a cold start that plans nothing need not pay for it

    secrets = secret_values(source.variables, source.secret_names)
    in_document = {compose.escaped(value) for value in secrets if value}
    services = {
        name: {**service, "environment": _hidden(service["environment"], source.secret_names, in_document)}
        if service.get("environment")
        else service
        for name, service in document["services"].items()
    }
    cleaned: dict[str, Any] = Redactor([*secrets, *in_document]).clean({**document, "services": services})
    return cleaned


def _hidden(environment: dict[str, Any], names: Collection[str], values: Collection[str]) -> dict[str, Any]:
    return {
        name: SHOWN if value in values or (value and name in names) else value for name, value in environment.items()
    }


def _diff(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return list(unified_diff(_lines(before), _lines(after), "running", "planned", lineterm=""))


def _changed_secrets(before: Source, after: Source) -> list[str]:
    """What the diff of documents cannot show: that a secret is another one."""
    secret = {*before.secret_names, *after.secret_names}
    names = sorted(secret & {*before.variables, *after.variables})
    found = ((name, before.variables.get(name), after.variables.get(name)) for name in names)
    return [f"variables.{name}: {_how(old, new)}" for name, old, new in found if old != new]


def _how(old: str | None, new: str | None) -> str:
    return "added" if old is None else "removed" if new is None else "changed"


def _lines(document: dict[str, Any]) -> list[str]:
    """Without the release's number, which differs in each."""
    if not document:
        return []
    from chalicelib.domain import compose  # noqa: PLC0415  as above

    services = {name: compose.unlabelled(service) for name, service in document["services"].items()}
    return json.dumps({**document, "services": services}, indent=2, sort_keys=True, ensure_ascii=False).splitlines()

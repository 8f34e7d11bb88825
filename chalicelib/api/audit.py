"""/audit: who asked for which change, when, and from where."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field

from chalicelib.api import views
from chalicelib.api.http import Request, Routes
from chalicelib.api.pages import Paged
from chalicelib.domain.audit import AuditEntry
from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.words import Time, finding, parse_time
from chalicelib.wiring import adapters

routes = Routes(__name__)

_SHOWN_DAYS = 7


class ListAudit(Paged):
    token_id: str | None = Field(None, min_length=1, max_length=100)
    object_id: str | None = Field(None, min_length=1, max_length=300)
    method: Literal["POST", "PATCH", "PUT", "DELETE"] | None = None
    since: Time | None = None
    until: Time | None = None


@routes.on("GET", "/audit", role="admin", query=ListAudit, answers={200: views.AuditPage})
def list_audit(request: Request) -> views.AuditPage:
    """Newest first; without `since`, the seven days before `until` (now)."""
    wanted = request.parameters(ListAudit)
    until = min(parse_time(wanted.until), datetime.now(UTC)) if wanted.until else datetime.now(UTC)
    since = parse_time(wanted.since) if wanted.since else until - timedelta(days=_SHOWN_DAYS)
    if wanted.since and wanted.until and since > parse_time(wanted.until):
        raise ValidationFailed("since is after until", [finding("since", "after-until", "must not be after until")])
    given = {"token_id": wanted.token_id, "object_id": wanted.object_id, "method": wanted.method}
    equal = {name: value for name, value in given.items() if value is not None}
    entries, total = adapters().audit.page(since, until, wanted.page, wanted.per_page, **equal)
    return views.AuditPage(
        data=[_view(entry) for entry in entries], total=total, page=wanted.page, per_page=wanted.per_page
    )


def _view(entry: AuditEntry) -> views.AuditLine:
    return views.AuditLine(
        id=entry.id,
        timestamp=entry.at,
        token_id=entry.token_id,
        token_name=entry.token_name,
        role=entry.role,
        method=entry.method,
        path=entry.path,
        object_id=entry.object_id,
        dry_run=entry.dry_run,
        status=entry.status,
        code=entry.code,
        job_id=entry.job_id,
        replayed=entry.replayed,
        source_ip=entry.source_ip,
        request_id=entry.request_id,
    )

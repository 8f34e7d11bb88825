"""One line of the audit trail: who asked for which change, when, from where, and what became of it."""

from chalicelib.domain.panel import Role
from chalicelib.domain.words import Noun


class AuditEntry(Noun):
    """No body and no query is kept, so nothing secret is. `status` None: begun, and how it ended was never told."""

    id: str
    at: str
    token_id: str
    token_name: str
    role: Role
    method: str
    path: str
    object_id: str | None = None
    dry_run: bool = False
    source_ip: str
    request_id: str
    status: int | None = None
    code: str | None = None
    job_id: str | None = None
    replayed: bool = False

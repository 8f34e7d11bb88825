"""The door's part of the audit trail: what a request is noted as, before it is carried out and after.

Requests over the rate limit are not noted: they would cost what the limit is there to save.
"""

import hmac
import ipaddress
import logging

from chalice.app import Request as ChaliceRequest

from chalicelib.domain.audit import AuditEntry
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.panel import Caller, hash_of
from chalicelib.domain.reply import Reply
from chalicelib.domain.words import new_id, now
from chalicelib.wiring import adapters

log = logging.getLogger("slipway.api")

# Paths and ids of ours are far shorter; what a caller makes up is not kept whole.
_MOST_CHARACTERS = 300
_EDGE_KEY = "x-slipway-edge"  # infra/edge.yaml has CloudFront send it, over whatever a caller sends under that name


def entry_of(request: ChaliceRequest, caller: Caller, request_id: str, *, is_dry: bool) -> AuditEntry:
    """The line of a write that is about to be carried out, refused, or only shown: `is_dry`."""
    objects = list((request.uri_params or {}).values())
    return AuditEntry(
        id=new_id("aud"),
        at=now(),
        token_id=caller.token_id,
        token_name=caller.token_name,
        role=caller.role,
        method=request.method,
        path=path_of(request)[:_MOST_CHARACTERS],
        object_id=objects[0][:_MOST_CHARACTERS] if objects else None,
        dry_run=is_dry,
        source_ip=_address_of(request),
        request_id=request_id,
    )


def end(entry: AuditEntry, reply: Reply) -> None:
    """Note what became of it."""
    made = reply.headers.get("Location", "").rpartition("/")[2]
    ended = entry.model_copy(
        update={
            "status": reply.status,
            "code": reply.code,
            "object_id": made or entry.object_id,
            "job_id": reply.headers.get("X-Job-Id"),
            "replayed": reply.replayed,
        }
    )
    try:
        adapters().audit.end(ended)
    except Unavailable as error:
        # The line that it was begun is there, and what the caller is told is true all the same.
        log.warning("the audit trail lacks the end of request %s: %s", entry.request_id, error.message)


def _address_of(request: ChaliceRequest) -> str:
    """The caller's address: who connected to API Gateway, or to the edge where that shows its key."""
    connected = (request.context.get("identity") or {}).get("sourceIp") or "unknown"
    known = adapters().settings.edge_key_sha256
    if not known or not hmac.compare_digest(hash_of(request.headers.get(_EDGE_KEY, "")), known):
        return connected
    # CloudFront adds its caller's address to what that one claims, and API Gateway may add CloudFront's.
    said = [address.strip() for address in request.headers.get("x-forwarded-for", "").split(",")]
    addresses = said[:-1] if said[-1] == connected else said
    return addresses[-1] if addresses and _is_address(addresses[-1]) else connected


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def path_of(request: ChaliceRequest) -> str:
    """The path that was asked for; `request.path` is the route's pattern."""
    given = request.uri_params or {}
    return "/".join(given.get(part[1:-1], part) if part.startswith("{") else part for part in request.path.split("/"))

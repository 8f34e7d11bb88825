"""Who is calling, and what they may touch: the one place where tenants are kept apart.

A token is looked up at most every 15 s in each process, so a revoked one stops working everywhere within that time.
"""

import time

from chalicelib.domain.errors import NotFound, Unauthorized
from chalicelib.domain.panel import Agent, Caller, Token, parse_agent_token, parse_token
from chalicelib.domain.words import now
from chalicelib.wiring import adapters

REMEMBERED_SECONDS = 15
_MOST_REMEMBERED = 1000
_remembered: dict[str, tuple[Token, float]] = {}
_agents: dict[str, tuple[Agent, float]] = {}


def caller_of(authorization: str | None) -> Caller:
    """The caller behind an Authorization header. Raise `Unauthorized` alike for every way a token can be wrong."""
    scheme, _, text = (authorization or "").partition(" ")
    parsed = parse_token(text.strip()) if scheme.lower() == "bearer" else None
    if parsed is None:
        raise Unauthorized("send a token: Authorization: Bearer aap_k1_…")
    token_id, secret = parsed
    token = _token(token_id)
    if token is None or not token.matches(secret) or not _is_valid(token):
        raise Unauthorized("this token is unknown, expired or revoked")
    return Caller(
        token_id=token.id,
        role=token.role,
        customer_id=token.customer_id,
        token_name=token.name,
        requests_per_minute=token.requests_per_minute,
    )


def agent_of(authorization: str | None) -> str:
    """The id of the host whose agent this is. Raise `Unauthorized` alike for every way its token can be wrong."""
    scheme, _, text = (authorization or "").partition(" ")
    parsed = parse_agent_token(text.strip()) if scheme.lower() == "bearer" else None
    if parsed is None:
        raise Unauthorized("send the agent's token: Authorization: Bearer aap_h1_…")
    host_id, secret = parsed
    agent = _agent(host_id)
    if agent is not None and not agent.accepts(secret):  # it may have been given a new one since
        forget_agent(host_id)
        agent = _agent(host_id)
    if agent is None or not agent.accepts(secret):
        raise Unauthorized("this token is unknown or revoked")
    return host_id


def must_see(caller: Caller, customer_id: str, word: str) -> None:
    """Raise the very `NotFound` that a missing one gets, if this belongs to another customer."""
    if not caller.may_see(customer_id):
        raise NotFound(f"no such {word}")


def forget(token_id: str) -> None:
    """Have this process look the token up again."""
    _remembered.pop(token_id, None)


def forget_agent(host_id: str) -> None:
    """Have this process look the host's agent up again."""
    _agents.pop(host_id, None)


def _agent(host_id: str) -> Agent | None:
    known = _agents.get(host_id)
    if known and time.monotonic() - known[1] < REMEMBERED_SECONDS:
        return known[0]
    agent = adapters().agents.get(host_id)
    if agent is not None:
        _agents[host_id] = (agent, time.monotonic())
    return agent


def _token(token_id: str) -> Token | None:
    known = _remembered.get(token_id)
    if known and time.monotonic() - known[1] < REMEMBERED_SECONDS:
        return known[0]
    try:
        token = adapters().tokens.get(token_id)
    except NotFound:
        return None
    if len(_remembered) >= _MOST_REMEMBERED:
        _remembered.clear()
    _remembered[token_id] = (token, time.monotonic())
    return token


def _is_valid(token: Token) -> bool:
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now())

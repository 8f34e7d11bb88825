"""The panel's own nouns: hosts and their agents, customers, tokens."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from chalicelib.domain.words import Noun, new_id, parse_time

Role = Literal["admin", "deployer", "viewer"]
_RANK: dict[Role, int] = {"viewer": 0, "deployer": 1, "admin": 2}
_TOKEN = re.compile(r"aap_k1_([a-z0-9]{16})_([A-Za-z0-9]{40})")
_AGENT_TOKEN = re.compile(r"aap_h1_([a-z0-9]{16})_([A-Za-z0-9]{40})")
# An agent sends its figures every 15 s; one that missed three of them is silent.
SILENT_SECONDS = 45


class KeyPair(Noun):
    """A key for logging in on a host; its private half is sealed for that host."""

    public_key: str
    sealed_private_key: bytes


class NextKey(KeyPair):
    """What a host is to be entered by once it was proved to work. `was_there`: its line is not of our making."""

    was_there: bool = False


class RetiredKey(KeyPair):
    """What is to be taken off a host; `problem` is why that did not go."""

    problem: str = ""


class Host(Noun):
    """A Docker host reached by SSH. `facts` is what its last check found.

    `machine` is the one that its Docker says it runs on: no other host may be the same.

    `next_key` and `retired_keys` are a rotation that is under way, or was cut off; `key_claim` is the version that the
    last rotation began with, which tells it from all others, here and on the host.
    """

    id: str
    name: str
    address: str
    port: int
    user: str
    host_key: str
    public_key: str
    sealed_private_key: bytes
    next_key: NextKey | None = None
    retired_keys: tuple[RetiredKey, ...] = ()
    key_claim: int = 0
    labels: dict[str, str] = {}
    draining: bool = False
    status: Literal["new", "ready", "not_ready"] = "new"
    problems: tuple[dict[str, Any], ...] = ()
    facts: dict[str, Any] = {}
    machine: str | None = None
    check_due: bool = False  # asked for, and not made yet
    checked_at: str | None = None
    created_at: str
    updated_at: str
    version: int = 1

    def is_where(self, other: "Host") -> bool:
        """Whether both are the same user of the same machine: what was found there is true of both."""
        return _place(self) == _place(other)

    def answers_at(self, address: str, port: int) -> bool:
        """Whether that is where it is reached, whoever logs in there."""
        return (self.address.lower(), self.port) == (address.lower(), port)


class Agent(Noun):
    """What pushes a host's logs and figures: its one token, and where it was last heard of."""

    host_id: str
    token_hash: str
    token_id: str  # the beginning of the hash: which token it is, without being of any use
    created_at: str
    revoked_at: str | None = None
    version: str | None = None
    boot: str | None = None
    last_seen: str | None = None
    connection_id: str | None = None

    def accepts(self, secret: str) -> bool:
        return self.revoked_at is None and hmac.compare_digest(self.token_hash, hash_of(secret))

    def is_silent(self, moment: datetime) -> bool:
        return self.last_seen is None or moment - parse_time(self.last_seen) >= timedelta(seconds=SILENT_SECONDS)


class CustomerLimits(Noun):
    """What a customer may have in all; None: as much as there is."""

    services: int | None = None
    cpu_millis: int | None = None
    memory_mb: int | None = None


class Customer(Noun):
    id: str
    name: str
    email: str | None = None
    limits: CustomerLimits = CustomerLimits()
    status: Literal["active", "suspended"] = "active"
    created_at: str
    updated_at: str
    version: int = 1


class Token(Noun):
    """A credential; only a hash of its secret is kept. The secret has 238 random bits, so one SHA-256 is enough."""

    id: str
    name: str
    role: Role
    customer_id: str | None = None
    secret_hash: str
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    requests_per_minute: int | None = None  # None: the installation's limit; 0: none

    def matches(self, secret: str) -> bool:
        return hmac.compare_digest(self.secret_hash, hash_of(secret))


class Caller(Noun):
    """Who makes a request, and what they may touch."""

    token_id: str
    role: Role
    customer_id: str | None
    token_name: str = ""
    requests_per_minute: int | None = None
    request_id: str = ""  # of what is asked now: it goes with the job that comes of it

    def at_least(self, role: Role) -> bool:
        return _RANK[self.role] >= _RANK[role]

    @property
    def sees_all(self) -> bool:
        return self.customer_id is None

    def may_see(self, customer_id: str) -> bool:
        return self.sees_all or self.customer_id == customer_id


def machine_of(facts: Mapping[str, Any]) -> str | None:
    """Which machine a check was made on, by what its Docker says; None where that said nothing.

    An image with Docker in it makes machines with one engine id, as it makes them with one SSH host key: what such
    clones are given of their own is a host name.
    """
    return f"{facts['engine_id']} on {facts['hostname']}" if facts.get("engine_id") else None


def _place(host: Host) -> tuple[str, int, str, str]:
    return host.address, host.port, host.user, host.host_key


def new_token(
    name: str,
    role: Role,
    customer_id: str | None,
    expires_at: str | None,
    created_at: str,
    requests_per_minute: int | None = None,
) -> tuple[Token, str]:
    """A token and the text that its holder sends, which is shown once."""
    token_id = new_id("tok")
    secret = _new_secret()
    token = Token(
        id=token_id,
        name=name,
        role=role,
        customer_id=customer_id,
        secret_hash=hash_of(secret),
        created_at=created_at,
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
    )
    return token, f"aap_k1_{token_id.removeprefix('tok_')}_{secret}"


def parse_token(text: str) -> tuple[str, str] | None:
    """The token's id and its secret, or None if this is not the text of one."""
    match = _TOKEN.fullmatch(text)
    return (f"tok_{match[1]}", match[2]) if match else None


def new_agent_token(host_id: str) -> tuple[str, str]:
    """The text that the host's agent sends, and the hash by which it is known here."""
    secret = _new_secret()
    return f"aap_h1_{host_id.removeprefix('host_')}_{secret}", hash_of(secret)


def parse_agent_token(text: str) -> tuple[str, str] | None:
    """The host's id and the secret, or None if this is not the text of an agent's token."""
    match = _AGENT_TOKEN.fullmatch(text)
    return (f"host_{match[1]}", match[2]) if match else None


def _new_secret() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40))


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

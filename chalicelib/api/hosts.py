"""/hosts: the Docker hosts that services run on."""

import base64
import ipaddress
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from chalicelib.api import auth, views
from chalicelib.api.contract import ASKS_HOST, Says
from chalicelib.api.http import Answer, Request, Routes, TrueOrFalse, WireIn
from chalicelib.api.pages import Paged
from chalicelib.api.versions import etag
from chalicelib.deploy.placing import capacity_view
from chalicelib.deploy.upkeep import forget_removals
from chalicelib.domain.errors import Conflict, SlipwayError, ValidationFailed
from chalicelib.domain.panel import Agent, Host
from chalicelib.domain.reach import is_anothers, is_away
from chalicelib.domain.words import DnsLabel, finding, new_id, now
from chalicelib.live import following
from chalicelib.store.hosts import taken
from chalicelib.wiring import adapters

routes = Routes(__name__)
log = logging.getLogger("slipway.hosts")

_SHOWN = Says(views.Host, ("ETag",))


def _is_no_bad_ipv4(text: str) -> str:
    """Digits and dots that are no IPv4 address are no name either, yet resolvers read them as an address.

    Some take a number with a leading zero for an octal one: which machine is meant would depend on who looks it up.
    """
    if set(text) <= set("0123456789."):
        try:
            ipaddress.IPv4Address(text)
        except ipaddress.AddressValueError:
            raise ValueError("must be an IPv4 address such as 10.0.0.1, four numbers without leading zeros") from None
    return text


Address = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9:]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$", max_length=253),
    AfterValidator(_is_no_bad_ipv4),
]
User = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
_HOST_KEY_PATTERN = r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,2}( .*)?$"


def _is_host_key(text: str) -> str:
    """A public key as sshd writes it: the word before it stands inside it too (RFC 4253, section 6.6)."""
    kind, body = (*text.split(), "", "")[:2]
    try:
        blob = base64.b64decode(body, validate=True)
    except ValueError:
        blob = b""
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != kind.encode() or len(blob) <= 4 + length + 4:
        raise ValueError("is cut short, or no public key: give the line that ssh-keyscan prints, without the host")
    return text


LabelPart = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$")]
HostKey = Annotated[
    str,
    AfterValidator(_is_host_key),
    Field(pattern=_HOST_KEY_PATTERN, max_length=4096),
]


class CreateHost(WireIn):
    name: DnsLabel
    address: Address
    port: int = Field(22, ge=1, le=65535)
    user: User
    private_key: str | None = Field(None, max_length=20_000)
    host_key: HostKey | None = None
    trust_on_first_use: bool = False
    labels: dict[LabelPart, LabelPart] = Field(default_factory=dict, max_length=50)


class DeleteHost(WireIn):
    give_up_removals: TrueOrFalse = False


class Sweep(WireIn):
    service_ids: list[Annotated[str, Field(pattern=r"^svc_[a-z0-9]{16}$")]] = Field(min_length=1, max_length=20)


class ChangeHost(WireIn):
    name: DnsLabel | None = None
    address: Address | None = None
    port: int | None = Field(None, ge=1, le=65535)
    user: User | None = None
    host_key: HostKey | None = None
    trust_on_first_use: bool = False
    labels: dict[LabelPart, LabelPart] | None = Field(None, max_length=50)

    @model_validator(mode="after")
    def _changes_something(self) -> "ChangeHost":
        if not self.model_dump(exclude_none=True, exclude_defaults=True):
            raise ValueError(f"nothing to change: give one of {', '.join(ChangeHost.model_fields)}")
        return self


class RotateKey(WireIn):
    private_key: Annotated[str | None, Field(max_length=20_000)] = None


@routes.on("GET", "/hosts", role="admin", query=Paged, answers={200: views.HostPage})
def list_hosts(request: Request) -> views.HostPage:
    """Hosts with what each has, and what of it is promised; oldest first."""
    wanted = request.parameters(Paged)
    hosts = sorted(adapters().hosts.all(), key=lambda host: host.created_at)
    shown = [_view(host) for host in wanted.of(hosts)]
    return views.HostPage(data=shown, total=len(hosts), page=wanted.page, per_page=wanted.per_page)


@routes.on(
    "POST",
    "/hosts",
    role="admin",
    body=CreateHost,
    answers={201: Says(views.Host, ("Location", "ETag"))},
    raises=ASKS_HOST,
)
def create_host(request: Request) -> Answer:
    """Register a host. Without `private_key` one is made, and its public half returned to be put on the host."""
    wanted = request.body(CreateHost)
    if wanted.host_key is None and not wanted.trust_on_first_use:
        raise ValidationFailed(
            "host_key: give the host's public key, or set trust_on_first_use",
            [
                finding(
                    "host_key",
                    "missing",
                    "give the host's public key (ssh-keyscan prints it), or set trust_on_first_use",
                )
            ],
        )
    _refuse_taken_name(wanted.name)
    _refuse_taken_place(wanted.address, wanted.port)
    made = adapters().host_calls.ask(
        "prepare_host",
        private_key=wanted.private_key,
        scan=None if wanted.host_key else [wanted.address, wanted.port],
        host_id=(host_id := new_id("host")),
    )
    host = Host(
        id=host_id,
        name=wanted.name,
        address=wanted.address,
        port=wanted.port,
        user=wanted.user,
        host_key=_without_comment(wanted.host_key or made["host_key"]),
        public_key=made["public_key"],
        labels=wanted.labels,
        sealed_private_key=bytes.fromhex(made["sealed_private_key"]),
        check_due=bool(wanted.private_key),
        created_at=now(),
        updated_at=now(),
    )
    adapters().hosts.add(host)
    if wanted.private_key:
        adapters().host_calls.tell("check_host", host_id=host.id)
    return Answer(_view(host), 201, {"Location": f"/api/hosts/{host.id}", **etag(host.version)})


@routes.on("GET", "/hosts/{host_id}", role="admin", answers={200: _SHOWN})
def get_host(request: Request, host_id: str) -> Answer:
    """One host."""
    return _shown(adapters().hosts.get(host_id))


@routes.on("POST", "/hosts/{host_id}/check", role="admin", answers={200: views.Host}, raises=ASKS_HOST)
def check_host(request: Request, host_id: str) -> views.Host:
    """Look whether the host can take services, and put the host kit and the edge there."""
    adapters().hosts.get(host_id)
    adapters().host_calls.ask("check_host", host_id=host_id)
    return _view(adapters().hosts.get(host_id))


@routes.on(
    "PATCH",
    "/hosts/{host_id}",
    role="admin",
    body=ChangeHost,
    conditional=True,
    answers={200: _SHOWN},
    raises=ASKS_HOST,
)
def change_host(request: Request, host_id: str) -> Answer:
    """Rename a host, give it other labels, or say how it is reached now: it is checked again then.

    With `trust_on_first_use`, and no `host_key`, the key that it shows is pinned in place of the present one.
    """
    host = adapters().hosts.get(host_id)
    request.must_match(host.version)
    wanted = request.body(ChangeHost)
    given = wanted.model_dump(exclude_none=True, exclude={"trust_on_first_use"})
    address, port = wanted.address or host.address, wanted.port or host.port
    if not host.answers_at(address, port):
        _refuse_taken_place(address, port)
    if wanted.host_key or wanted.trust_on_first_use:
        place = {"address": address, "port": port}
        shown = wanted.host_key or adapters().host_calls.ask("scan_host", **place)["host_key"]
        given["host_key"] = _without_comment(shown)
    changes = {name: value for name, value in given.items() if value != getattr(host, name)}
    if not changes:
        return _shown(host)
    if "name" in changes:
        _refuse_taken_name(changes["name"])
    is_moved = not host.is_where(host.model_copy(update=changes))
    if is_moved:  # what was found of it was found elsewhere; what it can take is reckoned by that until it is checked
        changes |= {"status": "new", "problems": (), "check_due": True}
    changed = adapters().hosts.change(host, **changes, updated_at=now())
    if is_moved:
        adapters().host_calls.tell("check_host", host_id=host_id)
    return _shown(changed)


@routes.on(
    "POST",
    "/hosts/{host_id}/rotate_key",
    role="admin",
    body=RotateKey,
    body_is_required=False,
    conditional=True,
    answers={200: _SHOWN},
    raises=ASKS_HOST,
)
def rotate_key(request: Request, host_id: str) -> Answer:
    """Have the host entered by another SSH key: by this one, or by one that is made.

    The new key gets its line in the user's `~/.ssh/authorized_keys`, is proved to log in, and only then takes the place
    of the present one, whose line is taken away. What was cut off in between is gone on with by asking again.
    """
    host = adapters().hosts.get(host_id)
    request.must_match(host.version)
    if is_anothers(host):
        raise Conflict("it is a host of another installation of Slipway, which may enter it by the same key")
    wanted = request.body(RotateKey) if request.raw_body else RotateKey()
    seen = host.version if request.if_match else None
    adapters().host_calls.ask("rotate_key", host_id=host_id, private_key=wanted.private_key, seen=seen)
    return _shown(adapters().hosts.get(host_id))


@routes.on("POST", "/hosts/{host_id}/drain", role="admin", conditional=True, answers={200: _SHOWN})
def drain_host(request: Request, host_id: str) -> Answer:
    """Place nothing new on the host. What runs there stays."""
    return _drained(request, host_id, draining=True)


@routes.on("DELETE", "/hosts/{host_id}/drain", role="admin", conditional=True, answers={200: _SHOWN})
def undrain_host(request: Request, host_id: str) -> Answer:
    """Place services on the host again."""
    return _drained(request, host_id, draining=False)


@routes.on(
    "GET",
    "/hosts/{host_id}/orphans",
    role="admin",
    query=Paged,
    answers={200: views.OrphanPage},
    raises=(*ASKS_HOST, Conflict),
)
def list_orphans(request: Request, host_id: str) -> views.OrphanPage:
    """What the host holds, by our labels, of services that live nowhere. 409 on another installation's host."""
    adapters().hosts.get(host_id)
    wanted = request.parameters(Paged)
    found = adapters().host_calls.ask("orphans", host_id=host_id)["orphans"]
    shown = [_orphan_view(service_id, what) for service_id, what in wanted.of(list(found.items()))]
    return views.OrphanPage(data=shown, total=len(found), page=wanted.page, per_page=wanted.per_page)


@routes.on("POST", "/hosts/{host_id}/sweep", role="admin", body=Sweep, answers={200: views.Swept}, raises=ASKS_HOST)
def sweep_host(request: Request, host_id: str) -> views.Swept:
    """Remove orphans from the host: those that are named, and nothing else."""
    adapters().hosts.get(host_id)
    wanted = request.body(Sweep)
    swept = adapters().host_calls.ask("sweep", host_id=host_id, service_ids=wanted.service_ids)
    return views.Swept(removed=swept["removed"], left=swept["left"])


@routes.on(
    "DELETE",
    "/hosts/{host_id}",
    role="admin",
    conditional=True,
    query=DeleteHost,
    answers={204: Says(None)},
)
def delete_host(request: Request, host_id: str) -> Answer:
    """Forget a host that holds nothing of ours. `?give_up_removals=true`: though services are still being removed."""
    host = adapters().hosts.get(host_id)
    request.must_match(host.version)
    give_up = request.parameters(DeleteHost).give_up_removals
    living = sorted(row["id"] for row in adapters().services.rows() if row["host_id"] == host_id)
    if living:
        raise Conflict("services live on this host; delete them first", {"service_ids": living})
    leaving = sorted(
        removal["service_id"] for removal in adapters().services.removals() if removal["host_id"] == host_id
    )
    if leaving and not give_up:
        message = "services are still being removed from it; ?give_up_removals=true forgets what it holds of them"
        raise Conflict(message, {"service_ids": leaving})
    forget_removals(host_id)
    _leave(host)
    adapters().hosts.remove(host)
    _end_agent(host_id)
    return Answer(None, 204)


def _leave(host: Host) -> None:
    """Have the agent and the edge go, if the host is there: one that is lost is forgotten all the same."""
    if host.machine is None or is_away(host):
        return
    try:
        adapters().host_calls.ask("leave_host", host_id=host.id)
    except SlipwayError as error:
        log.warning("host %s is forgotten with agent and edge still on it: %s", host.name, error.message)


@routes.on("DELETE", "/hosts/{host_id}/agent", role="admin", answers={204: Says(None)})
def revoke_agent(request: Request, host_id: str) -> Answer:
    """Revoke the token of the host's agent and end its connection. The next check gives it a new one."""
    adapters().hosts.get(host_id)
    _end_agent(host_id)
    return Answer(None, 204)


def _end_agent(host_id: str) -> None:
    adapters().agents.revoke(host_id)
    auth.forget_agent(host_id)
    following.close_agent(host_id)


def _without_comment(host_key: str) -> str:
    return " ".join(host_key.split()[:2])


def _refuse_taken_name(name: str) -> None:
    """Before the host is asked for anything; the write that follows is what decides."""
    if any(host.name == name for host in adapters().hosts.all()):
        raise taken(name)


def _refuse_taken_place(address: str, port: int) -> None:
    """One machine is one host. By which other names and addresses it is reached, its check tells."""
    for host in adapters().hosts.all():
        if host.answers_at(address, port):
            message = f"the machine at {address}, port {port}, is registered already, as {host.name}"
            raise Conflict(message, {"host_id": host.id})


def _drained(request: Request, host_id: str, *, draining: bool) -> Answer:
    host = adapters().hosts.get(host_id)
    request.must_match(host.version)
    if host.draining == draining:
        return _shown(host)
    return _shown(adapters().hosts.change(host, draining=draining, updated_at=now()))


def _shown(host: Host) -> Answer:
    return Answer(_view(host), headers=etag(host.version))


def _agent_view(agent: Agent | None) -> views.HostAgent | None:
    if agent is None or agent.revoked_at:
        return None
    # The connection of a host that lost power, or was cut off, stays open on this side for a long time.
    connected = bool(agent.connection_id) and not agent.is_silent(datetime.now(UTC))
    return views.HostAgent(version=agent.version, last_seen=agent.last_seen, connected=connected)


def _orphan_view(service_id: str, what: Mapping[str, list[str]]) -> views.Orphan:
    return views.Orphan(
        service_id=service_id,
        containers=what.get("containers", []),
        volumes=what.get("volumes", []),
        networks=what.get("networks", []),
        files=what.get("files", []),
        routes=what.get("routes", []),
    )


def _found(host: Host) -> Iterator[views.HostProblem]:
    """What its last check found."""
    for problem in host.problems:
        shown = views.HostProblem(check=problem["check"], message=problem["message"])
        if "since" in problem:
            shown["since"] = problem["since"]
        yield shown


def _left_of_rotations(host: Host) -> Iterator[views.HostProblem]:
    if host.next_key:
        message = f"{host.next_key.public_key} is about to take its key's place; if that was cut off, ask for it again"
        yield views.HostProblem(check="key_rotation", message=message)
    for key in host.retired_keys:
        why = key.problem or "it was not taken off the host yet"
        message = f"{key.public_key}, its key of before, may still log in ({why}); rotate_key again goes on with it"
        yield views.HostProblem(check="old_key", message=message)


def _view(host: Host) -> views.Host:
    promise = capacity_view(host)
    return views.Host(
        id=host.id,
        name=host.name,
        address=host.address,
        port=host.port,
        user=host.user,
        host_key=host.host_key,
        public_key=host.public_key,
        status=host.status,
        labels=host.labels,
        draining=host.draining,
        capacity=promise["capacity"],
        reserved=promise["reserved"],
        problems=[*_found(host), *_left_of_rotations(host)],
        agent=_agent_view(adapters().agents.get(host.id)),
        facts=host.facts,
        checked_at=host.checked_at,
        created_at=host.created_at,
        updated_at=host.updated_at,
    )

"""Beginning and ending to follow: what is stored of a follower, and how its host's agent gets to know."""

import json
import secrets
import time
from typing import Any

from chalicelib.domain.following import LIFETIME_SECONDS, Follower, Format
from chalicelib.domain.job import Job
from chalicelib.domain.panel import Caller
from chalicelib.domain.service import Service
from chalicelib.domain.words import now
from chalicelib.store.followers import Socket
from chalicelib.wiring import adapters

# JavaScript's numbers, and everybody's: exact up to here.
_NUMBER_BITS = 48
_SYNC = json.dumps({"type": "sync"})


def begin(subject: Service | Job, caller: Caller, connection_id: str, start: dict[str, Any], form: Format) -> Follower:
    """Have this connection follow a service's logs or a job's output."""
    follower = Follower(
        connection_id=connection_id,
        number=secrets.randbits(_NUMBER_BITS),
        host_id=subject.host_id,
        token_id=caller.token_id,
        service_id=subject.id if isinstance(subject, Service) else None,
        job_id=subject.id if isinstance(subject, Job) else None,
        format=form,
        start=start,
        connected_at=now(),
        expires=int(time.time()) + LIFETIME_SECONDS,
    )
    adapters().followers.add(follower)
    tell_agent(follower.host_id)
    return follower


def begin_agent(host_id: str, connection_id: str) -> None:
    """The host's agent listens on this connection."""
    adapters().followers.add_agent(connection_id, host_id, int(time.time()) + LIFETIME_SECONDS)
    adapters().agents.connected(host_id, connection_id)


def end(connection_id: str) -> None:
    """The connection is gone. Nothing if it is not known any more."""
    socket = adapters().followers.socket(connection_id)
    if socket is not None:
        forget(socket)


def forget(socket: Socket) -> None:
    adapters().followers.forget(socket)
    if socket.number is None:
        adapters().agents.disconnected(socket.host_id, socket.connection_id)
    else:
        tell_agent(socket.host_id)


def cut(follower: Follower) -> None:
    """End a follower's connection from our side: it comes back with the cursor it has."""
    adapters().gateway.close(follower.connection_id)
    adapters().followers.forget(socket_of(follower))


def close_all(token_id: str) -> None:
    """End every connection that this token opened."""
    panel = adapters()
    for connection_id in panel.followers.of_token(token_id):
        panel.gateway.close(connection_id)
        end(connection_id)


def close_agent(host_id: str) -> None:
    """End the connection of a host's agent."""
    close_all(f"agent-{host_id}")


def tell_agent(host_id: str) -> None:
    """Have the host's agent look at once. If it does not hear, it looks with its next batch anyway."""
    agent = adapters().agents.get(host_id)
    if agent is not None and agent.connection_id:
        adapters().gateway.post(agent.connection_id, _SYNC)


def socket_of(follower: Follower) -> Socket:
    return Socket(follower.connection_id, follower.host_id, follower.token_id, follower.number)

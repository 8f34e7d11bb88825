"""What an agent that is silent cannot do for its host's followers: tell them so, and end the output of jobs.

Looked after each minute. A host whose agent speaks is left to it.
"""

import time
from datetime import UTC, datetime, timedelta

from chalicelib.domain.following import Follower, messages, system_entry
from chalicelib.domain.words import now, timestamp
from chalicelib.live import following, kept, relay
from chalicelib.store.table import Lost
from chalicelib.wiring import adapters


def keep() -> list[str]:
    """Look after the followers of every host whose agent is silent, and have that agent looked after too.

    Answer the ids of the hosts that should have one that speaks.
    """
    silent = []
    for host in adapters().hosts.all():
        agent = adapters().agents.get(host.id)
        if agent is not None and not agent.is_silent(datetime.now(UTC)):
            continue
        # Not those that a process remembers: what they were told last is no change that it would notice.
        for follower in list(adapters().followers.of_host(host.id, int(time.time()))):
            _look_after(follower, agent.last_seen if agent else None)
        if host.status == "ready" and adapters().settings.public_url:
            adapters().host_calls.tell("ensure_agent", host_id=host.id)
            silent.append(host.id)
    return silent


def _look_after(follower: Follower, last_seen: str | None) -> None:
    if follower.job_id and adapters().jobs.is_over(follower.job_id):
        _end_job(follower, follower.job_id)
    elif _is_due(follower):
        since = f"since {last_seen}" if last_seen else "yet"
        told = f"the host's agent has not been heard of {since}; what is written meanwhile follows when it is back"
        if relay.say(follower, system_entry(now(), told)):
            _was_told(follower)
        else:
            following.forget(following.socket_of(follower))


def _end_job(follower: Follower, job_id: str) -> None:
    entries, _ = kept.output_entries(job_id)
    for message in messages(entries, follower.format):
        if adapters().gateway.post(follower.connection_id, message.text) != "sent":
            break
    relay.end_job(follower, adapters().jobs.get(job_id))


def _is_due(follower: Follower) -> bool:
    """Told once, and again as a sign of life: API Gateway ends what is idle."""
    again = timedelta(seconds=adapters().settings.sign_of_life_seconds)
    return follower.told_at is None or follower.told_at < timestamp(datetime.now(UTC) - again)


def _was_told(follower: Follower) -> None:
    try:
        adapters().followers.change(follower, told_at=now())
    except Lost:  # it went meanwhile
        return

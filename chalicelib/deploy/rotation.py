"""A host's SSH key is replaced while its services run, and whatever breaks in between, the stored key logs in.

The new key is stored beside the present one before it gets its line on the host; it becomes the present one once the
host let it in; the one of before is stored until the host is seen to refuse it. So a repeat finds, after a crash
anywhere, what there was to do, and goes on with it. Each rotation begins with a claim: a later one takes the claim
over, and then neither the table nor the host takes anything more of the earlier one.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chalicelib.commands import kit
from chalicelib.domain.errors import Changed, CommandFailed, Conflict, HostRefused, SlipwayError, ValidationFailed
from chalicelib.domain.panel import Host, NextKey, RetiredKey
from chalicelib.domain.words import finding, now
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.ssh import RemoteHost

log = logging.getLogger("slipway.hosts")

_SECONDS = 15.0
_ATTEMPTS = 5
_ELSEWHERE = "has its line in ~/.ssh/authorized_keys; sshd reads keys elsewhere (AuthorizedKeysFile or -Command)"


def rotate_key(host_id: str, private_key: str | None, seen: int | None) -> dict[str, Any]:
    """Have the host entered by another key: the given one, or one that is made.

    What an earlier call left is gone on with: where no key is given, that is all. Raise `Changed` if `seen` is a
    version that the host no longer has.
    """
    host = adapters().hosts.get(host_id)
    public = _public_half(host, private_key) if private_key is not None else None
    remote = adapters().connected(host)
    host = _claim(host, _wanted(host, private_key, public, remote), seen)
    if host.next_key:
        host = _replaced(host, host.next_key, remote)
    host = _taken_away(host)
    return {"public_key": host.public_key, "left": [key.public_key for key in host.retired_keys]}


def _public_half(host: Host, private_key: str) -> str:
    # The API does without paramiko; this function has it.
    from chalicelib.ssh import public_of  # noqa: PLC0415

    public = public_of(private_key)
    if public == host.public_key and not host.retired_keys:
        message = "is the key that the host is entered by already"
        raise ValidationFailed(f"private_key {message}", [finding("private_key", "unchanged", message)])
    return public


def _wanted(host: Host, private_key: str | None, public: str | None, remote: "RemoteHost") -> NextKey | None:
    """None: no further key, where an earlier rotation has only its last step to do."""
    from chalicelib.ssh import generate_key  # noqa: PLC0415

    # Asked whatever the key: a host that cannot tell cannot be given one either, and nothing was begun then.
    standing = _standing(remote, public or host.public_key)
    if private_key is None or public is None:
        if host.next_key or host.retired_keys:
            return host.next_key
        return _sealed(host, *generate_key(), was_there=False)
    if public == host.public_key:
        return None
    if host.next_key and host.next_key.public_key == public:
        return host.next_key
    ours = public in {key.public_key for key in host.retired_keys}
    return _sealed(host, private_key, public, was_there=standing and not ours)


def _standing(remote: "RemoteHost", public_key: str) -> bool:
    return bool(remote.kit(kit.authorized([public_key]), _SECONDS)["standing"])


def _sealed(host: Host, private: str, public: str, *, was_there: bool) -> NextKey:
    sealed = adapters().sealer.seal(private.encode(), host.id)
    return NextKey(public_key=public, sealed_private_key=sealed, was_there=was_there)


def _claim(host: Host, wanted: NextKey | None, seen: int | None) -> Host:
    given_up = host.next_key if host.next_key and host.next_key != wanted else None
    retired = [*host.retired_keys, *_retired(given_up)]
    kept = {host.public_key, wanted.public_key if wanted else None}

    def claimed(present: Host) -> dict[str, Any]:
        if seen is not None and present.version != seen:
            raise Changed("the host was changed meanwhile; read it again")
        return {
            "next_key": wanted,
            "retired_keys": tuple(key for key in retired if key.public_key not in kept),
            "key_claim": present.version + 1,
        }

    return _change(host, claimed)


def _replaced(host: Host, fresh: NextKey, remote: "RemoteHost") -> Host:
    """The host, entered by the fresh key. Raise `HostRefused` if it does not let it in: all is as it was then."""
    line = kit.authorize(host.id, host.key_claim, like=host.public_key, add=[fresh.public_key])
    try:
        remote.kit(line, _SECONDS)
        adapters().log_in(host, fresh.sealed_private_key)
    except CommandFailed:  # the file cannot be changed
        _give_up(host, fresh, remote)
        raise
    except HostRefused as error:
        _give_up(host, fresh, remote)
        raise HostRefused(f"{host.id}: the host does not accept the new key, though it {_ELSEWHERE}") from error
    before = RetiredKey(public_key=host.public_key, sealed_private_key=host.sealed_private_key)
    entered = {
        "public_key": fresh.public_key,
        "sealed_private_key": fresh.sealed_private_key,
        "next_key": None,
        "retired_keys": (*host.retired_keys, before),
    }
    return _change(host, lambda _: entered)


def _give_up(host: Host, fresh: NextKey, remote: "RemoteHost") -> None:
    added = _retired(fresh) if _standing(remote, fresh.public_key) else ()
    _taken_away(_change(host, lambda _: {"next_key": None, "retired_keys": (*host.retired_keys, *added)}))


def _retired(key: NextKey | None) -> tuple[RetiredKey, ...]:
    if key is None or key.was_there:
        return ()
    return (RetiredKey(public_key=key.public_key, sealed_private_key=key.sealed_private_key),)


def _taken_away(host: Host) -> Host:
    """The host without the lines of retired keys; those that it still lets in it keeps, with the reason."""
    if not host.retired_keys:
        return host
    lines = [key.public_key for key in host.retired_keys]
    try:
        remote = adapters().connected(host)
        remote.kit(kit.authorize(host.id, host.key_claim, like=host.public_key, remove=lines), _SECONDS)
        left = tuple(key for key in map(_still_let_in(host), host.retired_keys) if key)
    except SlipwayError as error:  # the host is entered by the new key all the same, and a repeat tries this again
        log.warning("%s: keys of before were not taken away: %s", host.id, error.message)
        left = tuple(key.model_copy(update={"problem": error.message}) for key in host.retired_keys)
    return _change(host, lambda _: {"retired_keys": left})


def _still_let_in(host: Host) -> Callable[[RetiredKey], RetiredKey | None]:
    def look(key: RetiredKey) -> RetiredKey | None:
        try:
            adapters().log_in(host, key.sealed_private_key)
        except HostRefused:
            return None
        return key.model_copy(update={"problem": f"the host accepts it, though it no longer {_ELSEWHERE}"})

    return look


def _change(host: Host, changes: Callable[[Host], dict[str, Any]]) -> Host:
    """Save changes to the host's keys, whatever else of it was changed.

    Raise `Conflict` if another rotation began meanwhile, or the host was moved: it may not know the key there.
    """
    for _ in range(_ATTEMPTS):
        present = adapters().hosts.get(host.id)
        if _keys(present) != _keys(host):
            raise Conflict("another rotation of this host's key has begun")
        if not present.is_where(host):
            raise Conflict("the host's address, user or host key was changed while its key was rotated; ask again")
        changed = changes(present)
        try:
            return adapters().hosts.change(present, **changed, updated_at=now())
        except Changed:  # a check of the host ended, perhaps
            continue
    raise Conflict("the host is being changed by others all the time")


def _keys(host: Host) -> tuple[Any, ...]:
    return host.key_claim, host.public_key, host.next_key, host.retired_keys

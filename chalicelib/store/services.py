"""Services with all that belongs to one: releases, timeline, lease, its row in the list, what was measured of it.

A service, its name, its list row, its first job and its lease are written in one transaction, so a crash leaves all or
nothing. The list row is a projection: it changes in the same transaction as the service (`directory` says how).
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import Changed, Conflict, LeaseLost, NoRoom, NotFound, OverLimit
from chalicelib.domain.job import FENCE_STRIDE, Job, Lease
from chalicelib.domain.listing import Listing, Row
from chalicelib.domain.panel import CustomerLimits
from chalicelib.domain.placement import Amount
from chalicelib.domain.service import Event, Observation, Release, Service
from chalicelib.domain.words import now
from chalicelib.store.directory import Directory
from chalicelib.store.figures import Figures
from chalicelib.store.jobs import key_of as job_key
from chalicelib.store.jobs import open_key, over
from chalicelib.store.promises import on_host, to_customer
from chalicelib.store.rebuild import Rebuilt, rebuild
from chalicelib.store.records import attributes
from chalicelib.store.replies import bound
from chalicelib.store.table import Item, Key, Lost, Table, check, delete, put, update

ROW_FIELDS = (
    "id",
    "name",
    "status",
    "customer_id",
    "host_id",
    "template",
    "deploy_method",
    "has_url",
    "suspended",
    "created_at",
    "updated_at",
)


@dataclass(frozen=True)
class Room:
    """How much may be promised: of the host, and to the customer."""

    capacity: Amount
    limits: CustomerLimits


class ServiceStore:
    def __init__(self, table: Table) -> None:
        self._table = table
        self._directory = Directory(table)
        self._figures = Figures(table)

    # Reading

    def get(self, service_id: str) -> Service:
        """Raise `NotFound` if there is none, or it was deleted."""
        service = self.find(service_id)
        if service is None or service.deleted_at:
            raise NotFound("no such service")
        return service

    def find(self, service_id: str) -> Service | None:
        """The service even if it is being torn down."""
        item = self._table.get(_meta(service_id))
        return _service(item) if item else None

    def find_many(self, service_ids: Sequence[str]) -> dict[str, Service]:
        """By id: those that there are, even if they are being torn down."""
        found = self._table.get_many([_meta(service_id) for service_id in service_ids])
        return {service.id: service for service in map(_service, found.values())}

    def at_rest(self, service_ids: Sequence[str]) -> dict[str, Service]:
        """By id: those that no job holds and that are not going."""
        keys = [key for service_id in service_ids for key in (_meta(service_id), _lease(service_id))]
        found = self._table.get_many(keys)
        moment = now()
        rest = {}
        for service_id in service_ids:
            lease = found.get(_lease(service_id))
            service = _service(item) if (item := found.get(_meta(service_id))) else None
            if service and not service.deleted_at and not (lease and lease["deadline"] > moment):
                rest[service_id] = service
        return rest

    def running_releases(self, services: Sequence[Service]) -> dict[str, Release]:
        """By service id: the release that each runs, or last ran; those that never ran have none."""
        found = self._table.get_many([_release(service.id, service.release) for service in services if service.release])
        return {release.service_id: release for release in map(Release.model_validate, found.values())}

    def listing(self) -> Listing:
        """Every service's list row, in any order: a read unit, and another for each shard that changed."""
        return self._directory.listing()

    def rows(self) -> list[Row]:
        """Every service's list row."""
        return list(self.listing().rows)

    def id_of_name(self, name: str) -> str | None:
        item = self._table.get(_name(name))
        return item["service_id"] if item else None

    def release(self, service_id: str, number: int) -> Release:
        item = self._table.get(_release(service_id, number))
        if item is None:
            raise NotFound(f"no release {number}")
        return Release.model_validate(item)

    def with_release(self, service_id: str, number: int) -> tuple[Service, Release]:
        """Both in one read; the service may be one that is being torn down."""
        found = self._table.get_many([_meta(service_id), _release(service_id, number)])
        if len(found) < 2:  # noqa: PLR2004
            raise NotFound(f"no service {service_id} with a release {number}")
        return _service(found[_meta(service_id)]), Release.model_validate(found[_release(service_id, number)])

    def source(self, service_id: str, number: int) -> bytes:
        """What the release was made of, sealed."""
        item = self._table.get(_source(service_id, number))
        if item is None:
            raise NotFound(f"no release {number}")
        return bytes(item["sealed"])

    def releases(self, service_id: str) -> list[Release]:
        """Every kept release, newest first."""
        found = self._table.query(f"SVC#{service_id}", "REL#", newest_first=True)
        return [Release.model_validate(item) for item in found]

    def forget_releases(self, service_id: str, keep: int, running: int) -> None:
        """Drop what is older than the last `keep` good releases, but for the one that runs."""
        releases = self.releases(service_id)
        good = [release.number for release in releases if release.state == "good"]
        oldest = good[:keep][-1]
        for release in releases:
            if release.number >= oldest or release.number == running:
                continue
            self._table.write(delete(_source(service_id, release.number)))
            self._table.write(delete(_release(service_id, release.number)))

    def events(self, service_id: str, page: int, per_page: int) -> tuple[list[Event], int]:
        """One page of the timeline, newest first, and how long it is."""
        total = self._table.count(f"SVC#{service_id}", "EVT#")
        newest = self._table.query(f"SVC#{service_id}", "EVT#", newest_first=True, limit=page * per_page)
        return [Event.model_validate(item) for item in newest][(page - 1) * per_page :], total

    def newest_events(self, service_id: str, most: int) -> list[Event]:
        """The end of the timeline, newest first."""
        newest = self._table.query(f"SVC#{service_id}", "EVT#", newest_first=True, limit=most)
        return [Event.model_validate(item) for item in newest]

    def lease(self, service_id: str) -> Lease | None:
        item = self._table.get(_lease(service_id))
        return Lease.model_validate(item) if item else None

    # Beginning a job

    def add(self, service: Service, release: Release, sealed_source: bytes, job: Job, event: Event, room: Room) -> None:
        """A new service with its first job, and what it is promised. One that is being removed already takes no name.

        Raise `Conflict` if the name is taken, or the customer went away while this was prepared; `NoRoom` if the host
        did, or is full by now; `OverLimit` if the customer's limits are reached.
        """
        gone = {"service_id": service.id, "host_id": service.host_id, "job_id": job.id}
        known = put(_name(service.name), {"service_id": service.id}, "attribute_not_exists(pk)")
        try:
            self._commit(
                service,
                put(_removal(service.id), gone) if service.deleted_at else known,
                check(("CUSTOMERS", service.customer_id), "#status = :active", active="active"),
                check(("HOSTS", service.host_id), "attribute_exists(pk)"),
                on_host(service.host_id, service.promised, 1, room.capacity),
                to_customer(service.customer_id, service.promised, 1, room.limits),
                put(_meta(service.id), _stored(service), "attribute_not_exists(pk)"),
                *self._release_writes(release, sealed_source),
                *self._job_writes(job, None),
                _event(service.id, event),
                *bound(job.requested_by, service_id=service.id, job_id=job.id),
            )
        except Lost as error:
            if {2, 3} & set(error.failed):  # the places of the writes above
                raise NoRoom("the host was removed, or has no room left") from error
            reasons = {1: "the customer is no longer active"}
            if 4 in error.failed and not reasons.keys() & set(error.failed):  # noqa: PLR2004  # as above
                raise OverLimit("the customer's limits are reached") from error
            reason = next((reasons[n] for n in error.failed if n in reasons), None)
            raise Conflict(reason or f"a service named {service.name} exists already") from error

    def begin(
        self,
        service: Service,
        job: Job,
        events: tuple[Event, ...] = (),
        new_release: tuple[Release, bytes] | None = None,
        room: Room | None = None,
        once: tuple[dict[str, Any], ...] = (),
        **changes: Any,
    ) -> Service:
        """A further job on a service, with the changes it makes at once, and the writes of `once`.

        Raise `Conflict` if the service is busy, or the name that its new release shall have is taken; `NoRoom` if its
        host, `OverLimit` if its customer's limits have no `room` for what it is promised more.
        """
        changed = service.model_copy(update={**changes, "version": service.version + 1, "updated_at": now()})
        writes = [
            put(_meta(service.id), _stored(changed), "version = :seen", seen=service.version),
            *self._job_writes(job, self.lease(service.id)),
        ]
        if changed.deleted_at:
            if not service.deleted_at:
                writes.append(delete(_name(service.name), "service_id = :id", id=service.id))
            gone = {"service_id": service.id, "host_id": service.host_id, "job_id": job.id}
            writes.append(put(_removal(service.id), gone))
        if new_release:
            writes += self._release_writes(*new_release)
            if new_release[0].name != service.name:
                taken = put(_name(new_release[0].name), {"service_id": service.id}, "attribute_not_exists(pk)")
                writes.insert(0, taken)
        more = changed.promised.minus(service.promised)
        if room and more != Amount():
            writes += [
                on_host(service.host_id, more, 0, room.capacity),
                to_customer(service.customer_id, more, 0, room.limits),
            ]
        placed = range(len(writes) - 2, len(writes)) if room and more != Amount() else range(0)
        writes += [*(_event(service.id, event) for event in events), *once]
        writes += bound(job.requested_by, service_id=service.id, job_id=job.id)
        try:
            self._commit(changed, *writes)
        except Lost as error:
            if placed and placed[0] in error.failed:
                raise NoRoom("the host has no room for so much more") from error
            if placed and placed[1] in error.failed:
                raise OverLimit("the customer's limits have no room for so much more") from error
            if new_release and new_release[0].name != service.name and 0 in error.failed:
                raise Conflict(f"a service named {new_release[0].name} exists already") from error
            self.refuse_if_busy(service.id)
            raise Changed("the service was changed meanwhile; read it again") from error
        return changed

    def refuse_if_busy(self, service_id: str) -> None:
        """Raise `Conflict`, naming the job, while one holds the service."""
        lease = self.lease(service_id)
        if lease and lease.deadline > now():
            raise Conflict(f"job {lease.job_id} is working on this service", {"job_id": lease.job_id})

    def removals(self) -> list[Item]:
        """Services that are gone from every read and not yet from their hosts: {service_id, host_id, job_id}."""
        return list(self._table.query("REMOVALS"))

    def next_fence(self, service_id: str, now_ms: int) -> int:
        """Where a new job's fencing numbers start: above every one given before, and above the clock (design: §6)."""
        lease = self._table.get(_lease(service_id))
        return max(lease["fence"] + FENCE_STRIDE if lease else 0, now_ms)

    def _job_writes(self, job: Job, held: Lease | None) -> list[dict[str, Any]]:
        """The job, its entry among those not over, and its lease: free, or held by one whose deadline passed."""
        lease = Lease(service_id=job.service_id, job_id=job.id, fence=job.fence, deadline=job.deadline)
        return [
            put(job_key(job.id), attributes(job), "attribute_not_exists(pk)"),
            put(open_key(job.id), {"job_id": job.id, "deadline": job.deadline}),
            put(
                _lease(job.service_id),
                attributes(lease),
                "attribute_not_exists(pk) OR deadline < :now AND fence < :fence",
                now=now(),
                fence=job.fence,
            )
            if held is None or held.deadline > now()
            else put(_lease(job.service_id), attributes(lease), "job_id = :old AND fence < :fence",
                     old=held.job_id, fence=job.fence),
        ]  # fmt: skip

    def _release_writes(self, release: Release, sealed_source: bytes) -> list[dict[str, Any]]:
        key = _release(release.service_id, release.number)
        return [
            put(key, attributes(release), "attribute_not_exists(pk)"),
            put(_source(release.service_id, release.number), {"sealed": sealed_source}),
        ]

    # Ending a job

    def finish(
        self,
        service: Service,
        job: Job,
        events: tuple[Event, ...],
        changed_release: Release | None = None,
        *,
        freed_name: str | None = None,
        **changes: Any,
    ) -> None:
        """The job's end: service, release, timeline, lease and job in one write.

        Raise `LeaseLost` if another job holds the service now. A repeat after success raises it too; callers look at
        the job first.
        """
        changed = service.model_copy(update={**changes, "version": service.version + 1, "updated_at": now()})
        writes = [
            put(_meta(service.id), _stored(changed), "version = :seen", seen=service.version),
            *over(job),
            _free(job),
        ]
        if changed_release:
            writes.append(put(_release(service.id, changed_release.number), attributes(changed_release)))
        if freed_name:
            writes.append(delete(_name(freed_name), "service_id = :id", id=service.id))
        less = changed.promised.minus(service.promised)
        if less != Amount():
            writes += [
                on_host(service.host_id, less, 0, None),
                to_customer(service.customer_id, less, 0, CustomerLimits()),
            ]
        writes += [_event(service.id, event) for event in events]
        with _lease_held():
            if changed.deleted_at:  # its row went when the removal began
                self._table.transact(*writes)
            else:
                self._commit(changed, *writes)

    def purge(self, service: Service, job: Job) -> None:
        """A deleted service's end: its job is over and nothing of it stays but that job."""
        last = self._last_writes(service)
        with _lease_held():
            self._table.transact(*last, delete(_lease(service.id), "job_id = :job", job=job.id), *over(job))

    def give_up(self, service: Service) -> None:
        """A deleted service's end, whoever holds its lease: its host is gone for good."""
        self._table.transact(*self._last_writes(service), delete(_lease(service.id)))

    def _last_writes(self, service: Service) -> list[dict[str, Any]]:
        """What ends a service, but for its lease, once all that nobody reads any more is deleted.

        That goes first, so that a crash in between leaves the removal to be repeated; what was promised is given back
        once, with the service itself.
        """
        self._table.write(delete(("OBSERVED#" + service.host_id, service.id)))
        last = (_meta(service.id), _lease(service.id))
        for item in list(self._table.query(f"SVC#{service.id}")):
            if (item["pk"], item["sk"]) not in last:
                self._table.write(delete((item["pk"], item["sk"])))
        nothing = Amount().minus(service.promised)
        return [
            delete(_meta(service.id), "attribute_exists(pk)"),
            delete(_removal(service.id)),
            on_host(service.host_id, nothing, -1, None),
            to_customer(service.customer_id, nothing, -1, CustomerLimits()),
        ]

    def _commit(self, service: Service, *writes: dict[str, Any]) -> None:
        """The writes, and the service's row in the list with them."""
        self._directory.commit(service.id, None if service.deleted_at else _row_of(service), writes)

    def rebuild_list(self) -> Rebuilt:
        """Make the list anew from the services: an operator's repair, which reads the whole table."""
        return rebuild(self._table, _row_of_item)

    # Telemetry and timeline: items of their own, so that they never contend with a deploy

    def note(self, service_id: str, event: Event) -> None:
        self._table.write(_event(service_id, event))

    def change_release(self, release: Release, **changes: Any) -> Release:
        changed = release.model_copy(update=changes)
        self._table.write(
            put(_release(release.service_id, release.number), attributes(changed), "attribute_exists(pk)")
        )
        return changed

    def settle(self, service: Service, release: Release, sealed_source: bytes, promised: Amount, room: Room) -> Service:
        """What was found out of a release once its sources were there, with what it is promised more for it.

        Raise `NoRoom` if its host, `OverLimit` if its customer's limits have no `room` for so much.
        """
        key, more = _release(service.id, release.number), promised.minus(service.promised)
        writes = [
            put(key, attributes(release), "attribute_exists(pk)"),
            put(_source(service.id, release.number), {"sealed": sealed_source}, "attribute_exists(pk)"),
        ]
        if more == Amount():
            self._table.transact(*writes)
            return service
        changed = service.model_copy(update={"promised": promised, "version": service.version + 1})
        writes += [
            put(_meta(service.id), _stored(changed), "version = :seen", seen=service.version),
            on_host(service.host_id, more, 0, room.capacity),
            to_customer(service.customer_id, more, 0, room.limits),
        ]
        try:
            self._table.transact(*writes)
        except Lost as error:
            if 3 in error.failed:  # noqa: PLR2004  # the places of the writes above
                raise NoRoom("the host has no room for what it needs") from error
            if 4 in error.failed:  # noqa: PLR2004  # as above
                raise OverLimit("the customer's limits have no room for what it needs") from error
            raise Changed("the service was changed meanwhile") from error
        return changed

    def correct(self, service: Service, status: str, event: Event) -> None:
        """A status that was found to be untrue. Raise `Conflict` if the service was changed since it was read."""
        changed = service.model_copy(update={"status": status, "version": service.version + 1, "updated_at": now()})
        try:
            self._commit(
                changed,
                put(_meta(service.id), _stored(changed), "version = :seen", seen=service.version),
                _event(service.id, event),
            )
        except Lost as error:
            raise Conflict("the service was changed meanwhile; read it again") from error

    def observe(self, host_id: str, observations: dict[str, Observation]) -> None:
        self._figures.keep(host_id, observations)

    def observations(self, pairs: Sequence[tuple[str, str]], *, consistent: bool = True) -> dict[str, Observation]:
        """What was last measured, by service id, for (host id, service id) pairs: a read unit each, or half a one."""
        return self._figures.of(pairs, consistent=consistent)

    def recent_observations(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Observation]:
        """As `observations`, for a list: they may be two seconds old."""
        return self._figures.recent(pairs)


@contextmanager
def _lease_held() -> Iterator[None]:
    try:
        yield
    except Lost as error:
        raise LeaseLost("another job holds this service now") from error


def _free(job: Job) -> dict[str, Any]:
    """The lease stays as the record of the last fence, with a deadline that lets anyone take it."""
    return update(_lease(job.service_id), {"deadline": "", "fence": job.fence}, "job_id = :job", job=job.id)


def _meta(service_id: str) -> Key:
    return (f"SVC#{service_id}", "META")


def _lease(service_id: str) -> Key:
    return (f"SVC#{service_id}", "LEASE")


def _removal(service_id: str) -> Key:
    return ("REMOVALS", service_id)


def _release(service_id: str, number: int) -> Key:
    return (f"SVC#{service_id}", f"REL#{number:06d}")


def _source(service_id: str, number: int) -> Key:
    return (f"SVC#{service_id}", f"SRC#{number:06d}")


def _name(name: str) -> Key:
    return (f"NAME#{name}", "NAME")


def _event(service_id: str, event: Event) -> dict[str, Any]:
    return put((f"SVC#{service_id}", f"EVT#{event.timestamp}#{event.id}"), attributes(event))


def _row_of(service: Service) -> Row:
    return {name: getattr(service, name) for name in ROW_FIELDS}


def _row_of_item(item: Item) -> Row | None:
    service = _service(item)
    return None if service.deleted_at else _row_of(service)


def _stored(service: Service) -> dict[str, Any]:
    """The author's text may be large, and an item may not: it is kept compressed."""
    return {**attributes(service), "compose": zlib.compress(service.compose.encode())}


def _service(item: Item) -> Service:
    return Service.model_validate({**item, "compose": zlib.decompress(item["compose"]).decode()})
